"""Score over cost, with the front of trials that nothing beats in both."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sweeper.records import TrialState
from sweeper.report.axes import Axis
from sweeper.report.hover import describe
from sweeper.report.study_view import ENDED_EARLY, StudyView, score_of
from sweeper.report.theme import BLUE, GREY, INK, ORANGE, SURFACE, empty_figure, new_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go


def figure(study: StudyView) -> go.Figure:
    """Score over cost: every trial with a score, the Pareto front as a stair, the best trial marked."""
    if not study.scored:
        return empty_figure("No trial has a score yet.")
    drawing = new_figure()
    early = [trial for trial in study.scored if trial.state in ENDED_EARLY]
    if early:
        drawing.add_scatter(
            x=[study.cost(trial) for trial in early],
            y=[trial.score for trial in early],
            mode="markers",
            name="stopped early",
            marker={"symbol": "circle-open", "size": 7, "color": GREY, "line": {"width": 1.3}},
            hovertext=[describe(study, trial, parameters=False) for trial in early],
            hoverinfo="text",
        )
    if study.complete:
        drawing.add_scatter(
            x=[study.cost(trial) for trial in study.complete],
            y=[trial.score for trial in study.complete],
            mode="markers",
            name=TrialState.COMPLETE.value,
            marker={"size": 8, "color": BLUE, "opacity": 0.75, "line": {"width": 1, "color": SURFACE}},
            hovertext=[describe(study, trial) for trial in study.complete],
            hoverinfo="text",
        )
        front = study.pareto_front
        drawing.add_scatter(
            x=[study.cost(trial) for trial in front],
            y=[trial.score for trial in front],
            mode="lines+markers",
            name="Pareto front",
            line={"color": INK, "width": 1.4, "shape": "hv"},
            marker={"size": 9, "color": BLUE, "line": {"width": 1.4, "color": INK}},
            hovertext=[describe(study, trial) for trial in front],
            hoverinfo="text",
        )
    if study.best is not None:
        drawing.add_scatter(
            x=[study.cost(study.best)],
            y=[score_of(study.best)],
            mode="markers",
            name="best",
            marker={"size": 15, "symbol": "star", "color": ORANGE, "line": {"width": 1.2, "color": SURFACE}},
            hovertext=[describe(study, study.best)],
            hoverinfo="text",
        )
    costs = [study.cost(trial) for trial in study.scored if study.cost(trial) > 0]
    if costs and max(costs) / min(costs) > 30:
        ticks, labels = Axis("log", math.log10(min(costs)), math.log10(max(costs))).ticks()
        drawing.update_xaxes(type="log", tickvals=[10**tick for tick in ticks], ticktext=labels)
    drawing.update_xaxes(title_text=study.cost_label)
    drawing.update_yaxes(title_text=study.metric_label)
    return drawing
