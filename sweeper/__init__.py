"""puffer-sweep's sweeper: searches, orchestrates, stores and shows.

    from sweeper import Sweep, open_study
    from trainer import load_config

    outcome = Sweep(load_config("CartPole-v1")).run()
    study = open_study(outcome.study_name)
    study.dataframe()

Importing this package is light: Optuna, Plotly and torch are loaded when something needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeper.loop import Sweep
    from sweeper.notebook import Study, open_study

__all__ = ["Study", "Sweep", "open_study"]

_HOMES = {
    "Study": "sweeper.notebook",
    "Sweep": "sweeper.loop",
    "open_study": "sweeper.notebook",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
