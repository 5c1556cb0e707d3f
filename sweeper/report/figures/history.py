"""How the search went: every trial's score by number, the best so far as a stair, failures along the foot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweeper.records import TrialState
from sweeper.report.hover import describe
from sweeper.report.study_view import StudyView, score_of
from sweeper.report.theme import ORANGE, STATE_COLORS, STATE_SYMBOLS, SURFACE, empty_figure, new_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

_WITH_SCORE = (TrialState.PRUNED, TrialState.PAUSED, TrialState.COMPLETE)
_WITHOUT_SCORE = (TrialState.FAILED, TrialState.INFEASIBLE)


def figure(study: StudyView) -> go.Figure:
    """Optimisation history; pruned, paused and failed trials have marks of their own."""
    if not study.trials:
        return empty_figure("No trial has started yet.")
    drawing = new_figure()
    for state in _WITH_SCORE:
        trials = [trial for trial in study.scored if trial.state is state]
        if trials:
            solid = state is TrialState.COMPLETE
            drawing.add_scatter(
                x=[trial.number for trial in trials],
                y=[trial.score for trial in trials],
                mode="markers",
                name=state.value,
                marker={
                    "symbol": STATE_SYMBOLS[state],
                    "size": 8 if solid else 7,
                    "color": STATE_COLORS[state],
                    "opacity": 0.8 if solid else 1,
                    "line": {"width": 1, "color": SURFACE} if solid else {"width": 1.3},
                },
                hovertext=[describe(study, trial) for trial in trials],
                hoverinfo="text",
            )
    failed = study.in_state(*_WITHOUT_SCORE)
    if failed:
        scores = [score_of(trial) for trial in study.scored] or [0.0]
        foot = min(scores) - 0.06 * ((max(scores) - min(scores)) or 1.0)
        drawing.add_scatter(
            x=[trial.number for trial in failed],
            y=[foot] * len(failed),
            mode="markers",
            name=" or ".join(state.value for state in _WITHOUT_SCORE if study.in_state(state)),
            marker={
                "symbol": "x-thin",
                "size": 8,
                "line": {"width": 2, "color": STATE_COLORS[TrialState.FAILED]},
            },
            hovertext=[describe(study, trial) for trial in failed],
            hoverinfo="text",
        )
    if study.complete:
        numbers, best_so_far = _stair(study)
        drawing.add_scatter(
            x=numbers,
            y=best_so_far,
            mode="lines",
            name="best so far",
            line={"color": ORANGE, "width": 2, "shape": "hv"},
            hoverinfo="skip",
        )
    last = study.trials[-1].number
    drawing.update_xaxes(title_text="trial", range=[-0.02 * (last + 1) - 0.5, last + 0.02 * (last + 1) + 0.5])
    drawing.update_yaxes(title_text=study.metric_label)
    return drawing


def _stair(study: StudyView) -> tuple[list[int], list[float]]:
    numbers: list[int] = []
    heights: list[float] = []
    for trial in study.complete:
        score = score_of(trial)
        if not heights or study.sign * score > study.sign * heights[-1]:
            numbers.append(trial.number)
            heights.append(score)
    numbers.append(study.trials[-1].number)
    heights.append(heights[-1])
    return numbers, heights
