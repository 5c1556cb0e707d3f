"""What each worker did when: one row a slot, one bar a run of a trial."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sweeper.formatting import format_seconds
from sweeper.records import Trial, TrialState
from sweeper.report.hover import describe
from sweeper.report.theme import STATE_COLORS, SURFACE, empty_figure, new_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from sweeper.report.study_view import StudyView

_ORDER = (
    TrialState.COMPLETE,
    TrialState.PRUNED,
    TrialState.PAUSED,
    TrialState.FAILED,
    TrialState.RUNNING,
    TrialState.QUEUED,
)


@dataclass(frozen=True, slots=True)
class Span:
    """One run of a trial.

    Attributes:
        trial: that ran.
        start, end: seconds since the epoch.
        slot: where; None where nobody has noted it.
        index, count: which of the trial's runs it is, from 0, and how many there are.
    """

    trial: Trial
    start: float
    end: float
    slot: int | None = None
    index: int = 0
    count: int = 1


def figure(study: StudyView) -> go.Figure:
    """Bars from each run's start to its end, packed into as many rows as ran side by side."""
    spans = [span for trial in study.trials for span in spans_of(trial)]
    if not spans:
        return empty_figure("No trial has both a start and an end yet.")
    rows = _rows(spans)
    num_rows = max(rows) + 1
    drawing = new_figure(height=110 + 44 * min(num_rows, 12), bargap=0.25, barmode="overlay")
    for state in _ORDER:
        chosen = [(span, row) for span, row in zip(spans, rows, strict=True) if span.trial.state is state]
        if not chosen:
            continue
        drawing.add_bar(
            orientation="h",
            y=[f"slot {row + 1}" for _, row in chosen],
            base=[_iso(span.start) for span, _ in chosen],
            x=[round((span.end - span.start) * 1000) for span, _ in chosen],
            name=state.value,
            marker={"color": STATE_COLORS[state], "line": {"width": 0.8, "color": SURFACE}},
            hovertext=[_words(study, span) for span, _ in chosen],
            hoverinfo="text",
        )
    drawing.update_xaxes(type="date", tickformatstops=_DATE_FORMATS)
    drawing.update_yaxes(
        categoryorder="array",
        categoryarray=[f"slot {row}" for row in range(num_rows, 0, -1)],
        showgrid=False,
        range=[-0.6, num_rows - 0.4],
    )
    drawing.update_layout(margin={"b": 40})
    return drawing


_DATE_FORMATS = [
    {"dtickrange": [None, 60_000], "value": "%H:%M:%S"},
    {"dtickrange": [60_000, 86_400_000], "value": "%H:%M"},
    {"dtickrange": [86_400_000, None], "value": "%d %b"},
]


def spans_of(trial: Trial) -> list[Span]:
    """Every run of a trial, in order; of one whose runs nobody has noted, its start and end as a single one."""
    noted = trial.attributes.get("runs")
    runs = [run for run in noted if _is_run(run)] if isinstance(noted, list) else []
    if runs:
        return [
            Span(trial, float(start), float(end), int(slot), index, len(runs))
            for index, (slot, start, end) in enumerate(runs)
        ]
    start, end = trial.attributes.get("started_at"), trial.attributes.get("finished_at")
    if isinstance(start, int | float) and isinstance(end, int | float) and end >= start:
        slot = trial.attributes.get("slot")
        return [Span(trial, float(start), float(end), slot if isinstance(slot, int) else None)]
    return []


def _is_run(run: object) -> bool:
    return (
        isinstance(run, list | tuple)
        and len(run) == 3
        and all(isinstance(part, int | float) for part in run)
        and run[2] >= run[1]
    )


def _words(study: StudyView, span: Span) -> str:
    words = describe(study, span.trial, parameters=False)
    if span.count == 1:
        return words
    return f"{words}<br>run {span.index + 1} of {span.count}: {format_seconds(span.end - span.start)}"


def _rows(spans: list[Span]) -> list[int]:
    """The row of each span: the slot it says it ran in, else the first row that was free."""
    rows = [0] * len(spans)
    free_from: list[float] = []
    for place in sorted(range(len(spans)), key=lambda index: spans[index].start):
        span = spans[place]
        row = span.slot
        if row is None:
            row = next((row for row, free in enumerate(free_from) if free <= span.start), len(free_from))
        free_from += [0.0] * (row + 1 - len(free_from))
        free_from[row] = max(free_from[row], span.end)
        rows[place] = row
    return rows


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")
