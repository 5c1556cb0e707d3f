"""The main effect of one parameter on its natural, warped axis, with the region where the best tenth lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweeper.report.hover import describe
from sweeper.report.response import FEWEST_TRIALS, Response, response_of
from sweeper.report.theme import BAND, BLUE, INK, ORANGE, empty_figure, new_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from sweeper.report.axes import Axis
    from sweeper.report.study_view import StudyView

HEIGHT = 250


def figure(study: StudyView, parameter: str = "") -> go.Figure:
    """Scores over one parameter (the most important one by default) with the forest's mean prediction."""
    response = response_of(study)
    if response is None:
        return empty_figure(f"Main effects need at least {FEWEST_TRIALS} trials that can be compared.")
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
    if response.axes[index].kind == "categorical":
        return None
    places = response.positions[response.best_rows(study.sign), index]
    return float(places.min()), float(places.max())


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
        y=response.scores.round(6).tolist(),
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
    best_score = None if best is None else response.score_of(best)
    if best is not None and best_score is not None:
        drawing.add_scatter(
            x=[axis.position(best.values[name])],
            y=[best_score],
            mode="markers",
            marker={"symbol": "star", "size": 12, "color": ORANGE},
            hovertext=[describe(study, best, parameters=False)],
            hoverinfo="text",
        )
    warp(drawing, axis)
    drawing.update_layout(margin={"l": 52, "r": 22, "t": 8, "b": 30})
    drawing.update_yaxes(nticks=5)
    return drawing


def warp(drawing: go.Figure, axis: Axis, *, vertical: bool = False, padding: float = 0.03) -> None:
    """Labels a figure's axis of positions with natural values."""
    positions, labels = axis.ticks()
    pad = padding * (axis.high - axis.low)
    update = drawing.update_yaxes if vertical else drawing.update_xaxes
    update(tickmode="array", tickvals=positions, ticktext=labels, range=[axis.low - pad, axis.high + pad])
