"""Parallel coordinates: each trial a line across its parameters, coloured by rank of score.

Drawn as plain lines rather than Plotly's own parallel plot, which needs WebGL and cannot be printed.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from sweeper.formatting import format_number
from sweeper.report.axes import Axis, axis_of, spread_ticks
from sweeper.report.response import comparable_scores, response_of
from sweeper.report.theme import GRID, INK, MUTED, ORANGE, SCALE, SURFACE, empty_figure, new_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    import plotly.graph_objects as go

    from sweeper.records import Trial
    from sweeper.report.study_view import StudyView

    Scored = tuple[Trial, float]

_MOST_PARAMETERS = 8
_MOST_TRIALS = 400
_MOST_IN_ONE_ROW = 5
"""Names of more axes stand in two rows, by turns, so that they do not run into each other."""

_NARROWEST_AXIS = 70
"""Pixels that an axis needs for its ticks, and half of its name."""


def figure(study: StudyView) -> go.Figure:
    """The most important parameters from left to right, the score at the right end."""
    compared, _ = comparable_scores(study)
    ranked = sorted(compared, key=lambda pair: (-study.sign * pair[1], pair[0].number))
    if len(ranked) < 2:
        return empty_figure("Parallel coordinates need two trials that can be compared.")
    names = _names(study)
    by_name = {parameter.name: parameter for parameter in study.parameters}
    axes = [
        axis_of(by_name[name], [trial.values[name] for trial, _ in ranked if name in trial.values])
        for name in names
    ]
    scores = [score for _, score in ranked]
    axes.append(Axis("linear", min(scores), max(scores)))
    drawing = new_figure(height=430, legend=False)
    stride = -(-len(ranked) // _MOST_TRIALS)
    # Where trials are compared early, the study's best may not lead yet, and stays the orange one all the same.
    best, best_score = next((pair for pair in ranked if pair[0] == study.best), ranked[0])
    for color, bucket in _buckets([pair for pair in ranked[::stride] if pair[0] != best]):
        xs: list[float | None] = []
        ys: list[float | None] = []
        for trial, score in bucket:
            xs += [*range(len(axes)), None]
            ys += [*_heights(trial, score, names, axes), None]
        drawing.add_scatter(
            x=xs, y=ys, mode="lines", line={"color": color, "width": 1}, opacity=0.8, hoverinfo="skip"
        )
    drawing.add_scatter(
        x=list(range(len(axes))),
        y=_heights(best, best_score, names, axes),
        mode="lines+markers",
        line={"color": ORANGE, "width": 2.6},
        marker={"size": 7, "color": ORANGE},
        hovertemplate=f"trial {best.number}, best: {format_number(best_score)}<extra></extra>",
    )
    _add_scales(drawing, [*names, study.metric_label], axes)
    return drawing


def _names(study: StudyView) -> list[str]:
    response = response_of(study)
    if response is None:
        return [parameter.name for parameter in study.parameters][:_MOST_PARAMETERS]
    return [response.parameters[index].name for index in response.ordered()][:_MOST_PARAMETERS]


def _buckets(ranking: Sequence[Scored]) -> list[tuple[str, list[Scored]]]:
    """Trials by rank in as many groups as the scale has colours, the worst first so that the best lie on top."""
    buckets: list[list[Scored]] = [[] for _ in SCALE]
    for rank, scored in enumerate(ranking):
        share = 1 - rank / len(ranking)
        buckets[min(int(share * len(SCALE)), len(SCALE) - 1)].append(scored)
    return [(color, bucket) for color, bucket in zip(SCALE, buckets, strict=True) if bucket]


def _heights(trial: Trial, score: float, names: list[str], axes: list[Axis]) -> list[float | None]:
    heights: list[float | None] = [
        round(axis.unit(trial.values[name]), 4) if name in trial.values else None
        for name, axis in zip(names, axes, strict=False)
    ]
    return [*heights, round(axes[-1].unit(score), 4)]


def _add_scales(drawing: go.Figure, titles: list[str], axes: list[Axis]) -> None:
    by_turns = len(axes) > _MOST_IN_ONE_ROW
    for place, (title, (positions, labels)) in enumerate(zip(titles, spread_ticks(axes), strict=True)):
        drawing.add_shape(
            type="line", x0=place, x1=place, y0=0, y1=1, line={"color": MUTED, "width": 1}, layer="above"
        )
        section, _, key = title.rpartition(".")
        drawing.add_annotation(
            x=place,
            y=1,
            yref="paper",
            text=f"<span style='font-size:10px'>{escape(section)}</span><br>{escape(key)}",
            showarrow=False,
            font={"size": 11.5, "color": INK},
            yanchor="bottom",
            yshift=30 if by_turns and place % 2 else 0,
        )
        for position, label in zip(positions, labels, strict=True):
            drawing.add_annotation(
                x=place,
                y=position,
                text=label,
                showarrow=False,
                xanchor="left",
                xshift=3,
                font={"size": 10.5, "color": INK},
                bgcolor=SURFACE,
                opacity=0.85,
                borderpad=1,
            )
    drawing.update_xaxes(visible=False, range=[-0.25, len(axes) - 0.55])
    drawing.update_yaxes(visible=False, range=[-0.04, 1.06], gridcolor=GRID)
    drawing.update_layout(
        margin={"l": 16, "r": 24, "t": 76 if by_turns else 46, "b": 12},
        meta={"min_width": _NARROWEST_AXIS * len(axes)},
    )
