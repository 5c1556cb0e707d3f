"""Leaders trained again with fresh seeds: every score, the mean and its interval, and the score of the sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweeper.formatting import format_number
from sweeper.report.theme import BLUE, GREY, INK, ORANGE, PURPLE, empty_figure, new_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from sweeper.report.study_view import StudyView


def figure(study: StudyView) -> go.Figure:
    """One row a configuration, the best mean on top."""
    if not study.repeats:
        return empty_figure("No configuration has been repeated; puffer-sweep confirm does that.")
    repeats = study.repeats[::-1]
    rows = [f"trial {repeat.trial_number}" for repeat in repeats]
    drawing = new_figure(height=110 + 44 * len(rows))
    drawing.add_scatter(
        x=[score for repeat in repeats for score in repeat.scores],
        y=[row for row, repeat in zip(rows, repeats, strict=True) for _ in repeat.scores],
        mode="markers",
        name="one seed",
        marker={"symbol": "line-ns-open", "size": 13, "color": GREY, "line": {"width": 1.6}},
        hovertemplate="%{y}: %{x:.4g}<extra></extra>",
    )
    swept = {trial.number: trial.score for trial in study.scored}
    drawing.add_scatter(
        x=[swept.get(repeat.trial_number) for repeat in repeats],
        y=rows,
        mode="markers",
        name="in the sweep",
        marker={"symbol": "diamond-open", "size": 9, "color": PURPLE, "line": {"width": 1.5}},
        hovertemplate="%{y}, in the sweep: %{x:.4g}<extra></extra>",
    )
    drawing.add_scatter(
        x=[repeat.mean for repeat in repeats],
        y=rows,
        mode="markers",
        name="mean and 95 % interval",
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [repeat.interval[1] - repeat.mean for repeat in repeats],
            "arrayminus": [repeat.mean - repeat.interval[0] for repeat in repeats],
            "color": INK,
            "thickness": 1.6,
            "width": 5,
        },
        marker={"size": 10, "color": [ORANGE if repeat is study.repeats[0] else BLUE for repeat in repeats]},
        hovertext=[f"{row}: {format_number(repeat.mean)}" for row, repeat in zip(rows, repeats, strict=True)],
        hoverinfo="text",
    )
    drawing.update_xaxes(title_text=study.metric_label)
    drawing.update_yaxes(type="category", categoryorder="array", categoryarray=rows, showgrid=False)
    return drawing
