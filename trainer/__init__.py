"""puffer-sweep's trainer: PPO from an INI file. It knows nothing of sweeps.

    from trainer import load_config, train

    result = train(load_config("CartPole-v1"), print)

Importing this package is light: torch is loaded when something trains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.config import load_config, load_config_file
    from trainer.evaluation import evaluate
    from trainer.loop import train
    from trainer.recording import record

__all__ = ["evaluate", "load_config", "load_config_file", "record", "train"]

_HOMES = {
    "evaluate": "trainer.evaluation",
    "load_config": "trainer.config",
    "load_config_file": "trainer.config",
    "record": "trainer.recording",
    "train": "trainer.loop",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
