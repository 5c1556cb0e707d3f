"""Several studies side by side: score over cost, the best so far over time, and their best values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeper.formatting import format_number, format_seconds, format_value
from sweeper.report.hover import describe
from sweeper.report.study_view import score_of
from sweeper.report.theme import BLUE, ORANGE, PURPLE, RUNNERS_UP, TEAL, empty_figure, new_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    import plotly.graph_objects as go

    from sweeper.report.study_view import StudyView

COLORS = (BLUE, ORANGE, TEAL, PURPLE, RUNNERS_UP[3])
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x")


@dataclass(frozen=True, slots=True)
class ComparedRow:
    """One line of the table: a name and its text for each study."""

    name: str
    cells: tuple[str, ...]
    differs: bool = False


def pareto(studies: Sequence[StudyView]) -> go.Figure:
    """Complete trials of all studies by score and cost, with each study's front."""
    if not any(study.complete for study in studies):
        return empty_figure("No study has a complete trial yet.")
    drawing = new_figure(height=420)
    for place, study in enumerate(studies):
        color, symbol = COLORS[place % len(COLORS)], SYMBOLS[place % len(SYMBOLS)]
        drawing.add_scatter(
            x=[study.cost(trial) for trial in study.complete],
            y=[trial.score for trial in study.complete],
            mode="markers",
            showlegend=False,
            legendgroup=study.name,
            marker={"size": 7, "symbol": symbol, "color": color, "opacity": 0.4},
            hovertext=[describe(study, trial) for trial in study.complete],
            hoverinfo="text",
        )
        drawing.add_scatter(
            x=[study.cost(trial) for trial in study.pareto_front],
            y=[trial.score for trial in study.pareto_front],
            mode="lines+markers",
            name=study.name,
            legendgroup=study.name,
            line={"color": color, "width": 2, "shape": "hv"},
            marker={"size": 8, "symbol": symbol, "color": color},
            hoverinfo="skip",
        )
    drawing.update_xaxes(title_text=studies[0].cost_label)
    drawing.update_yaxes(title_text=studies[0].metric_label)
    return drawing


def progress(studies: Sequence[StudyView]) -> go.Figure:
    """The best score so far over the training time that the search had spent."""
    if not any(study.complete for study in studies):
        return empty_figure("No study has a complete trial yet.")
    drawing = new_figure(height=420)
    for place, study in enumerate(studies):
        complete = {trial.number for trial in study.complete}
        spent, best, xs, ys = 0.0, None, [], []
        for trial in study.trials:
            spent += trial.cost_seconds
            if trial.number in complete and (
                best is None or study.sign * score_of(trial) > study.sign * best
            ):
                best = score_of(trial)
                xs.append(spent)
                ys.append(best)
        if best is not None:
            xs.append(spent)
            ys.append(best)
        drawing.add_scatter(
            x=xs,
            y=ys,
            mode="lines",
            name=study.name,
            line={"color": COLORS[place % len(COLORS)], "width": 2.2, "shape": "hv"},
            hovertemplate="%{y:.4g} after %{x:.0f} s<extra></extra>",
        )
    drawing.update_xaxes(title_text="training time of all trials (seconds)")
    drawing.update_yaxes(title_text=f"best {studies[0].metric_label} so far")
    return drawing


def compared_rows(studies: Sequence[StudyView]) -> list[ComparedRow]:
    """What the studies are, what they found, and the values of their best trials."""
    bests = [study.best for study in studies]
    rows = [
        ComparedRow("environment", tuple(study.environment for study in studies)),
        ComparedRow("method", tuple(study.method for study in studies)),
        ComparedRow(
            "trials", tuple(f"{len(study.trials)}, {len(study.complete)} complete" for study in studies)
        ),
        ComparedRow(
            "training time", tuple(format_seconds(sum(t.cost_seconds for t in s.trials)) for s in studies)
        ),
        ComparedRow("best trial", tuple("–" if best is None else str(best.number) for best in bests)),
        ComparedRow(
            "best score", tuple(format_number(None if best is None else best.score) for best in bests)
        ),
        ComparedRow(
            "its time", tuple(format_seconds(None if best is None else best.cost_seconds) for best in bests)
        ),
    ]
    if any(study.repeats for study in studies):
        rows.append(ComparedRow("mean over fresh seeds", tuple(_confirmed(study) for study in studies)))
    names = dict.fromkeys(parameter.name for study in studies for parameter in study.parameters)
    for name in names:
        cells = tuple(
            "–" if best is None or name not in best.values else format_value(best.values[name])
            for best in bests
        )
        rows.append(ComparedRow(name, cells, differs=len(set(cells)) > 1))
    return rows


def _confirmed(study: StudyView) -> str:
    if not study.repeats:
        return "–"
    first = study.repeats[0]
    low, high = (format_number(bound) for bound in first.interval)
    return f"{format_number(first.mean)} ({low} to {high}), trial {first.trial_number}"
