"""Learning curves of all trials: the leaders in colour, the rest as a quiet background."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweeper.formatting import format_number
from sweeper.records import Observation, Trial, TrialState
from sweeper.report.theme import FAINT, ORANGE, RUNNERS_UP, TEAL, empty_figure, new_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    import plotly.graph_objects as go

    from sweeper.report.study_view import StudyView

_POINTS_IN_ALL = 16_000
_POINTS_OF_A_LEADER = 300
_LEADERS = 5


def figure(study: StudyView) -> go.Figure:
    """Score over agent steps, one line a trial."""
    with_curve = [trial for trial in study.trials if len(study.curve(trial)) > 1]
    if not with_curve:
        return empty_figure("No learning curve has two points yet.")
    drawing = new_figure(height=420)
    leaders = [trial for trial in study.ranking[:_LEADERS] if len(study.curve(trial)) > 1]
    running = [trial for trial in with_curve if trial.state is TrialState.RUNNING]
    in_front = {trial.number for trial in (*leaders, *running)}
    background = [trial for trial in with_curve if trial.number not in in_front]
    if background:
        share = max(8, _POINTS_IN_ALL // len(with_curve))
        steps, scores = _joined([thin(study.curve(trial), share) for trial in background])
        drawing.add_scatter(
            x=steps,
            y=scores,
            mode="lines",
            name=f"{len(background)} other trials" if len(background) > 1 else "another trial",
            line={"color": FAINT, "width": 1},
            hoverinfo="skip",
        )
    for trial in running:
        _add_line(drawing, study, trial, f"trial {trial.number}, running", TEAL, width=1.6, dash="dot")
    for rank, trial in reversed(list(enumerate(leaders))):
        name = f"trial {trial.number}, best" if rank == 0 else f"trial {trial.number}"
        color = ORANGE if rank == 0 else RUNNERS_UP[rank - 1]
        _add_line(drawing, study, trial, name, color, width=2.8 if rank == 0 else 1.4)
    drawing.update_layout(legend={"traceorder": "reversed"})
    drawing.update_xaxes(title_text="agent steps")
    drawing.update_yaxes(title_text=study.metric_label)
    return drawing


def _add_line(
    drawing: go.Figure,
    study: StudyView,
    trial: Trial,
    name: str,
    color: str,
    *,
    width: float,
    dash: str = "solid",
) -> None:
    curve = thin(study.curve(trial), _POINTS_OF_A_LEADER)
    drawing.add_scatter(
        x=[point.agent_steps for point in curve],
        y=[float(format(point.score, ".5g")) for point in curve],
        mode="lines",
        name=name,
        line={"color": color, "width": width, "dash": dash},
        hovertemplate=f"trial {trial.number}, score {format_number(trial.score)}<br>"
        "%{y:.4g} at %{x:,} steps<extra></extra>",
    )


def thin(curve: Sequence[Observation], most: int) -> Sequence[Observation]:
    """At most so many points of a curve, evenly chosen, the first and the last among them."""
    if len(curve) <= most:
        return curve
    return [curve[index] for index in np.unique(np.linspace(0, len(curve) - 1, most).round().astype(int))]


def _joined(curves: list[Sequence[Observation]]) -> tuple[list[int | None], list[float | None]]:
    """Several curves as one line with gaps: one path in the page instead of hundreds."""
    steps: list[int | None] = []
    scores: list[float | None] = []
    for curve in curves:
        steps += [*(point.agent_steps for point in curve), None]
        scores += [*(float(format(point.score, ".4g")) for point in curve), None]
    return steps, scores
