"""The trial table as data; the page's script draws, sorts and filters it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweeper.formatting import format_count, format_number, format_seconds, format_value

if TYPE_CHECKING:
    from sweeper.records import Trial
    from sweeper.report.study_view import StudyView


def trial_table(study: StudyView) -> dict[str, Any]:
    """The trial table as data: columns of (key, label, is number); cells are values, or (value, as shown)."""
    columns: list[tuple[str, str, bool]] = [
        ("trial", "trial", True),
        ("state", "state", False),
        ("score", study.metric_label, True),
        ("cost", "time", True),
        ("steps", "steps", True),
        ("speed", "steps/s", True),
    ]
    columns += [(p.name, p.name.rpartition(".")[2], not p.is_categorical) for p in study.parameters]
    columns += [("seed", "seed", True), ("reason", "reason", False)]
    rows = [_row(study, trial) for trial in study.trials]
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    best = study.best
    return {
        "columns": columns,
        "rows": rows,
        "best": None if best is None else best.number,
        "down": study.sign > 0,
    }


def _row(study: StudyView, trial: Trial) -> list[object]:
    speed, seed = trial.steps_per_second, trial.attributes.get("seed")
    cells: list[object] = [
        trial.number,
        trial.state.value,
        None if trial.score is None else (float(format(trial.score, ".6g")), format_number(trial.score)),
        (round(trial.cost_seconds, 1), format_seconds(trial.cost_seconds)),
        (trial.agent_steps, format_count(trial.agent_steps)),
        None if speed is None else (round(speed), format_count(speed)),
    ]
    for parameter in study.parameters:
        value = trial.values.get(parameter.name)
        if isinstance(value, float):
            cells.append((float(format(value, ".6g")), format_value(value)))
        elif isinstance(value, int) and not isinstance(value, bool):
            cells.append((value, format_value(value)))
        else:
            cells.append(None if value is None else str(value))
    reason = trial.failure_message.strip().splitlines()[0][:160] if trial.failure_message.strip() else ""
    return [*cells, seed if isinstance(seed, int) else None, reason]
