"""What each worker did when: one row a slot, one bar a run of a trial."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

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
)


def figure(study: StudyView) -> go.Figure:
    """Bars from each trial's start to its end, packed into as many rows as ran side by side."""
    spans = [(trial, *span) for trial in study.trials if (span := span_of(trial)) is not None]
    if not spans:
        return empty_figure("No trial has both a start and an end yet.")
    rows = _rows(spans)
    num_rows = max(rows.values()) + 1
    drawing = new_figure(height=110 + 44 * min(num_rows, 12), bargap=0.25, barmode="overlay")
    for state in _ORDER:
        chosen = [(trial, start, end) for trial, start, end in spans if trial.state is state]
        if not chosen:
            continue
        drawing.add_bar(
            orientation="h",
            y=[f"slot {rows[trial.number] + 1}" for trial, _, _ in chosen],
            base=[_iso(start) for _, start, _ in chosen],
            x=[(end - start) * 1000 for _, start, end in chosen],
            name=state.value,
            marker={"color": STATE_COLORS[state], "line": {"width": 0.8, "color": SURFACE}},
            hovertext=[describe(study, trial, parameters=False) for trial, _, _ in chosen],
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


def span_of(trial: Trial) -> tuple[float, float] | None:
    """Start and end of a trial in seconds since the epoch; None while either is unknown."""
    start, end = trial.attributes.get("started_at"), trial.attributes.get("finished_at")
    if isinstance(start, int | float) and isinstance(end, int | float) and end >= start:
        return float(start), float(end)
    return None


def _rows(spans: list[tuple[Trial, float, float]]) -> dict[int, int]:
    """Trial number → row: the slot it says it ran in, else the first row that was free."""
    rows: dict[int, int] = {}
    free_from: list[float] = []
    for trial, start, end in sorted(spans, key=lambda span: span[1]):
        slot = trial.attributes.get("slot")
        if isinstance(slot, int):
            row = slot
        else:
            row = next((row for row, free in enumerate(free_from) if free <= start), len(free_from))
        free_from += [0.0] * (row + 1 - len(free_from))
        free_from[row] = max(free_from[row], end)
        rows[trial.number] = row
    return rows


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")
