"""The main effect of one parameter on its natural, warped axis, with the region where the best tenth lies."""

from __future__ import annotations


from sweeper.report.hover import describe
from sweeper.report.response import FEWEST_TRIALS, Response, response_of
from sweeper.report.study_view import StudyView, score_of
from sweeper.report.theme import BAND, BLUE, INK, ORANGE, empty_figure, new_figure
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeper.report.axes import Axis
    import plotly.graph_objects as go

HEIGHT = 250


def figure(study: StudyView, parameter: str = "") -> go.Figure:
    """Scores over one parameter (the most important one by default) with the forest's mean prediction."""
    response = response_of(study)
    if response is None:
        return empty_figure(f"Main effects need at least {FEWEST_TRIALS} complete trials.")
    names = [known.name for known in response.parameters]
    index = names.index(parameter) if parameter else response.ordered()[0]
    return _draw(study, response, index)


def figures(study: StudyView, most: int = 16) -> dict[str, go.Figure]:
    """Full name → main effect of each parameter that varies, the most important first."""
    response = response_of(study)
    if response is None:
        return {}
    return {
        response.parameters[index].name: _draw(study, response, index) for index in response.ordered()[:most]
    }


def top_region(study: StudyView, response: Response, index: int) -> tuple[float, float] | None:
    """The stretch of an axis between the lowest and the highest position of the best tenth of the trials."""
    axis, name = response.axes[index], response.parameters[index].name
    if axis.kind == "categorical":
        return None
    places = [axis.position(trial.values[name]) for trial in study.top_tenth if name in trial.values]
    return (min(places), max(places)) if len(places) > 1 else None


def _draw(study: StudyView, response: Response, index: int) -> go.Figure:
    axis, name = response.axes[index], response.parameters[index].name
    drawing = new_figure(height=HEIGHT, legend=False)
    region = top_region(study, response, index)
    if region is not None:
        least = 0.012 * (axis.high - axis.low)
        low, high = min(region[0], region[1] - least), max(region[1], region[0] + least)
        drawing.add_vrect(x0=low, x1=high, fillcolor=BAND, line_width=0, layer="below")
    drawing.add_scatter(
        x=response.positions[:, index].round(5).tolist(),
        y=[score_of(trial) for trial in response.trials],
        mode="markers",
        marker={"size": 5, "color": BLUE, "opacity": 0.5},
        hovertext=[describe(study, trial, parameters=False) for trial in response.trials]
        if len(response.trials) <= 300
        else None,
        hoverinfo="text" if len(response.trials) <= 300 else "skip",
    )
    grid, effect = response.main_effect(index)
    drawing.add_scatter(
        x=grid.round(5).tolist(),
        y=effect.round(6).tolist(),
        mode="markers" if axis.kind == "categorical" else "lines",
        line={"color": INK, "width": 1.8},
        marker={"symbol": "line-ew-open", "size": 26, "color": INK, "line": {"width": 2.2}},
        hoverinfo="skip",
    )
    best = study.best
    if best is not None and name in best.values:
        drawing.add_scatter(
            x=[axis.position(best.values[name])],
            y=[score_of(best)],
            mode="markers",
            marker={"symbol": "star", "size": 12, "color": ORANGE},
            hovertext=[describe(study, best, parameters=False)],
            hoverinfo="text",
        )
    warp(drawing, axis)
    drawing.update_layout(margin={"l": 52, "r": 12, "t": 8, "b": 30})
    drawing.update_yaxes(nticks=5)
    return drawing


def warp(drawing: go.Figure, axis: Axis, *, vertical: bool = False, padding: float = 0.03) -> None:
    """Labels a figure's axis of positions with natural values."""
    positions, labels = axis.ticks()
    pad = padding * (axis.high - axis.low)
    update = drawing.update_yaxes if vertical else drawing.update_xaxes
    update(tickmode="array", tickvals=positions, ticktext=labels, range=[axis.low - pad, axis.high + pad])
