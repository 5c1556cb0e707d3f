"""What a point says when the pointer rests on it. Names are escaped: a study may be called anything."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from sweeper.formatting import format_count, format_number, format_seconds, format_value

if TYPE_CHECKING:
    from sweeper.records import Trial
    from sweeper.report.study_view import StudyView

_MOST_PARAMETERS = 14
_MOST_TRIALS = 300
"""In larger studies the trial table tells the parameters: written behind every point they would be most of the page."""


def describe(study: StudyView, trial: Trial, *, parameters: bool = True) -> str:
    """A trial in a few lines of Plotly's HTML: state, score, cost and parameters."""
    lines = [
        f"<b>Trial {trial.number}</b>  {trial.state.value}",
        f"{escape(study.metric_label)}: {format_number(trial.score)}",
        f"{format_seconds(trial.cost_seconds)}, {format_count(trial.agent_steps)} steps",
    ]
    if trial.failure_message:
        first_line = trial.failure_message.strip().splitlines()[0]
        lines.append(escape(first_line[:90] + ("…" if len(first_line) > 90 else "")))
    if parameters and len(study.trials) <= _MOST_TRIALS:
        shown = list(trial.values.items())[:_MOST_PARAMETERS]
        lines += [
            f"{escape(name.rpartition('.')[2])}: {escape(format_value(value))}" for name, value in shown
        ]
        if len(trial.values) > len(shown):
            lines.append(f"and {len(trial.values) - len(shown)} more")
    return "<br>".join(lines)
