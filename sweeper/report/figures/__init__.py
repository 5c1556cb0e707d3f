"""Figures of a study, each a Plotly figure: `from sweeper.report import figures; figures.pareto(study)`.

Every function takes a `StudyView` and draws something for every study, however young: a figure that lacks its data
says so in words.
"""

from __future__ import annotations

from sweeper.report.figures.contour import figure as contour
from sweeper.report.figures.effects import figure as effect
from sweeper.report.figures.effects import figures as effects
from sweeper.report.figures.history import figure as history
from sweeper.report.figures.importance import figure as importance
from sweeper.report.figures.learning_curves import figure as learning_curves
from sweeper.report.figures.parallel import figure as parallel
from sweeper.report.figures.pareto import figure as pareto
from sweeper.report.figures.repeats import figure as repeats
from sweeper.report.figures.timeline import figure as timeline

__all__ = [
    "contour",
    "effect",
    "effects",
    "history",
    "importance",
    "learning_curves",
    "parallel",
    "pareto",
    "repeats",
    "timeline",
]
