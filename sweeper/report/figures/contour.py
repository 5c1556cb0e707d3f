"""The predicted score over the two most important parameters, with the trials on top."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweeper.report.figures.effects import warp
from sweeper.report.hover import describe
from sweeper.report.response import FEWEST_TRIALS, response_of
from sweeper.report.theme import INK, MUTED, ORANGE, SURFACE, colorscale, empty_figure, new_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from sweeper.report.study_view import StudyView


def figure(study: StudyView) -> go.Figure:
    """A surface of the forest's mean prediction over the most important pair of numeric parameters."""
    response = response_of(study)
    if response is None:
        return empty_figure(
            f"The surface of a pair needs at least {FEWEST_TRIALS} trials that can be compared."
        )
    numeric = [index for index in response.ordered() if response.axes[index].kind != "categorical"]
    if len(numeric) < 2:
        return empty_figure("Fewer than two numeric parameters vary.")
    first, second = numeric[:2]
    across, upwards, heights = response.surface(first, second)
    drawing = new_figure(height=460, legend=False)
    drawing.add_contour(
        x=across.round(5).tolist(),
        y=upwards.round(5).tolist(),
        z=[[float(format(height, ".4g")) for height in row] for row in heights],
        colorscale=colorscale(),
        reversescale=study.sign < 0,
        ncontours=12,
        line={"width": 0.6, "color": SURFACE, "smoothing": 1},
        contours={"coloring": "fill"},
        colorbar={
            "title": {"text": study.metric_label, "side": "right", "font": {"size": 12, "color": MUTED}},
            "thickness": 12,
            "outlinewidth": 0,
            "tickfont": {"size": 11, "color": MUTED},
            "nticks": 6,
        },
        hoverinfo="skip",
    )
    drawing.add_scatter(
        x=response.positions[:, first].round(5).tolist(),
        y=response.positions[:, second].round(5).tolist(),
        mode="markers",
        cliponaxis=False,
        marker={"size": 6, "color": SURFACE, "opacity": 0.9, "line": {"width": 1.2, "color": INK}},
        hovertext=[describe(study, trial, parameters=False) for trial in response.trials],
        hoverinfo="text",
    )
    best = study.best
    if best is not None and response.score_of(best) is not None:
        drawing.add_scatter(
            x=[response.axes[first].position(best.values[response.parameters[first].name])],
            y=[response.axes[second].position(best.values[response.parameters[second].name])],
            mode="markers",
            marker={"symbol": "star", "size": 17, "color": ORANGE, "line": {"width": 1.2, "color": SURFACE}},
            hovertext=[describe(study, best)],
            hoverinfo="text",
        )
    warp(drawing, response.axes[first], padding=0)
    warp(drawing, response.axes[second], vertical=True, padding=0)
    drawing.update_xaxes(title_text=response.parameters[first].name)
    drawing.update_yaxes(title_text=response.parameters[second].name)
    drawing.update_xaxes(ticklabelstandoff=4)
    drawing.update_yaxes(ticklabelstandoff=4)
    drawing.update_layout(margin={"t": 16})
    return drawing
