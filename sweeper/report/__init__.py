"""The report of a study: a summary in words and figures, in one HTML file that needs no network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeper.repeats import Repeat
    from sweeper.report.page import render_page
    from sweeper.report.study_view import StudyView

__all__ = ["Repeat", "StudyView", "render_page"]

_HOMES = {
    "Repeat": "sweeper.repeats",
    "StudyView": "sweeper.report.study_view",
    "render_page": "sweeper.report.page",
}


def __getattr__(name: str) -> Any:
    # Plotly and scikit-learn cost a second to import: only who draws pays for them.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
