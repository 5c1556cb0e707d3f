"""Trials as rows of our own table, and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, Select, case, select

from sweeper.records import Observation, Trial, TrialState
from sweeper.store.tables import TRIALS
from trainer.errors import FailureKind

if TYPE_CHECKING:
    from collections.abc import Mapping


def trial_row(trial: Trial, *, study_uuid: str, trial_id: int, changed_at: float) -> dict[str, Any]:
    """The columns of a trial."""
    return {
        "uuid": trial.uuid,
        "study_uuid": study_uuid,
        "trial_id": trial_id,
        "number": trial.number,
        "state": trial.state.value,
        "score": trial.score,
        "cost_seconds": trial.cost_seconds,
        "agent_steps": trial.agent_steps,
        "total_agent_steps": trial.total_agent_steps,
        "failure_kind": trial.failure_kind.value if trial.failure_kind else None,
        "failure_message": trial.failure_message,
        "parameters": to_json(trial.values),
        "attributes": to_json(trial.attributes),
        "curve": json.dumps([[o.agent_steps, o.cost_seconds, o.score] for o in trial.curve]),
        "changed_at": changed_at,
    }


def trial_of(row: Row[Any]) -> Trial:
    """The trial of a row."""
    return Trial(
        number=row.number,
        uuid=row.uuid,
        state=TrialState(row.state),
        values=json.loads(row.parameters),
        curve=tuple(Observation(int(steps), cost, score) for steps, cost, score in json.loads(row.curve)),
        score=row.score,
        cost_seconds=row.cost_seconds,
        agent_steps=row.agent_steps,
        total_agent_steps=row.total_agent_steps,
        failure_kind=FailureKind(row.failure_kind) if row.failure_kind else None,
        failure_message=row.failure_message,
        attributes=json.loads(row.attributes),
    )


def read_trials(
    connection: Connection, study_uuid: str, *, ended_curves: bool = True
) -> list[tuple[int, Trial]]:
    """Optuna's id and snapshot of every trial of a study, by number.

    Args:
        connection: to the database.
        study_uuid: the study.
        ended_curves: False leaves out the observations of trials that no longer run, most of what there is to read.
    """
    runs = TRIALS.c.state == TrialState.RUNNING.value
    curve = TRIALS.c.curve if ended_curves else case((runs, TRIALS.c.curve), else_="[]").label("curve")
    others = (column for column in TRIALS.c if column.name != "curve")
    query: Select[Any] = (
        select(*others, curve).where(TRIALS.c.study_uuid == study_uuid).order_by(TRIALS.c.number)
    )
    return [(row.trial_id, trial_of(row)) for row in connection.execute(query)]


def to_json(values: Mapping[str, object]) -> str:
    """A mapping of plain data as JSON; what JSON does not know is written as text."""
    return json.dumps(dict(values), default=str)
