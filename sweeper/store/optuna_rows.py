"""The same trials in Optuna's tables, for optuna-dashboard and everything else that reads Optuna.

Optuna's own storage commits each attribute and each intermediate value by itself: a trial of 50 reports costs
hundreds of milliseconds. Here they go, through Optuna's own table definitions, into the transaction that also
writes our rows, so that both always say the same. What is written is read back through Optuna's interface in the tests.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from optuna.storages._rdb import models
from optuna.trial import TrialState as OptunaState
from sqlalchemy import Connection, delete, insert, select, update

from sweeper.records import Observation, TrialState
from sweeper.store.tables import UUID_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TRIALS = models.TrialModel.__table__
PARAMETERS = models.TrialParamModel.__table__
VALUES = models.TrialValueModel.__table__
INTERMEDIATE = models.TrialIntermediateValueModel.__table__
TRIAL_ATTRIBUTES = models.TrialUserAttributeModel.__table__
STUDIES = models.StudyModel.__table__
STUDY_ATTRIBUTES = models.StudyUserAttributeModel.__table__

OPTUNA_STATES: Mapping[TrialState, OptunaState] = {
    TrialState.QUEUED: OptunaState.WAITING,
    TrialState.PAUSED: OptunaState.WAITING,
    TrialState.RUNNING: OptunaState.RUNNING,
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.PRUNED: OptunaState.PRUNED,
    TrialState.FAILED: OptunaState.FAIL,
    TrialState.INFEASIBLE: OptunaState.FAIL,
}

_LARGEST_QUERY = 500

LARGEST_STEP = 2**31 - 1
"""Optuna's column for the step has 32 bits in PostgreSQL and MySQL."""


def step_of(agent_steps: int, total_agent_steps: int) -> int:
    """The step under which an observation is reported: agent steps, in thousands where those would not fit."""
    if max(agent_steps, total_agent_steps) <= LARGEST_STEP:
        return agent_steps
    return agent_steps // 1000


def write_observations(
    connection: Connection, trial_id: int, observations: Sequence[Observation], total_agent_steps: int
) -> None:
    """Make a trial's intermediate values exactly these."""
    connection.execute(delete(INTERMEDIATE).where(INTERMEDIATE.c.trial_id == trial_id))
    add_observations(connection, trial_id, observations, total_agent_steps)


def add_observations(
    connection: Connection, trial_id: int, observations: Sequence[Observation], total_agent_steps: int
) -> None:
    """Add intermediate values that are not there yet."""
    if not observations:
        return
    to_stored = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr
    rows = []
    for observation in observations:
        value, kind = to_stored(observation.score)
        rows.append(
            {
                "trial_id": trial_id,
                "step": step_of(observation.agent_steps, total_agent_steps),
                "intermediate_value": value,
                "intermediate_value_type": kind,
            }
        )
    connection.execute(insert(INTERMEDIATE), rows)


def write_attributes(connection: Connection, trial_id: int, attributes: Mapping[str, object]) -> None:
    """Set user attributes of a trial; others stay."""
    if not attributes:
        return
    connection.execute(
        delete(TRIAL_ATTRIBUTES).where(
            TRIAL_ATTRIBUTES.c.trial_id == trial_id, TRIAL_ATTRIBUTES.c.key.in_(list(attributes))
        )
    )
    rows = [
        {"trial_id": trial_id, "key": key, "value_json": json.dumps(value, default=str)}
        for key, value in attributes.items()
    ]
    connection.execute(insert(TRIAL_ATTRIBUTES), rows)


def write_state(
    connection: Connection, trial_id: int, state: TrialState, values: Sequence[float] | None, wall: float
) -> None:
    """Set a trial's state, and its objective values where it has them."""
    optuna_state = OPTUNA_STATES[state]
    moment = datetime.fromtimestamp(wall, UTC).replace(tzinfo=None)
    columns: dict[str, Any] = {"state": optuna_state}
    if optuna_state.is_finished():
        columns["datetime_complete"] = moment
    connection.execute(update(TRIALS).where(TRIALS.c.trial_id == trial_id).values(columns))
    if values is None or not all(map(math.isfinite, values)):
        return
    connection.execute(delete(VALUES).where(VALUES.c.trial_id == trial_id))
    rows = []
    for objective, number in enumerate(values):
        value, kind = models.TrialValueModel.value_to_stored_repr(number)
        rows.append({"trial_id": trial_id, "objective": objective, "value": value, "value_type": kind})
    connection.execute(insert(VALUES), rows)


def write_study_attributes(connection: Connection, study_id: int, attributes: Mapping[str, object]) -> None:
    """Set user attributes of a study; others stay."""
    if not attributes:
        return
    connection.execute(
        delete(STUDY_ATTRIBUTES).where(
            STUDY_ATTRIBUTES.c.study_id == study_id, STUDY_ATTRIBUTES.c.key.in_(list(attributes))
        )
    )
    rows = [
        {"study_id": study_id, "key": key, "value_json": json.dumps(value, default=str)}
        for key, value in attributes.items()
    ]
    connection.execute(insert(STUDY_ATTRIBUTES), rows)


def remove_trials(connection: Connection, uuids: Sequence[str]) -> None:
    """Remove what is left of trials whose study is gone.

    Optuna deletes the trials that it has seen: one that was added in that moment stays, and SQLite would give it to
    the next study, which gets the same id.

    Args:
        connection: in a transaction.
        uuids: ours, by which the trials are known.
    """
    keys = TRIAL_ATTRIBUTES.c
    for first in range(0, len(uuids), _LARGEST_QUERY):
        wanted = [json.dumps(uuid) for uuid in uuids[first : first + _LARGEST_QUERY]]
        query = select(keys.trial_id).where(keys.key == UUID_KEY, keys.value_json.in_(wanted))
        left = list(connection.execute(query).scalars())
        for table in (PARAMETERS, VALUES, INTERMEDIATE, TRIAL_ATTRIBUTES, TRIALS):
            connection.execute(delete(table).where(table.c.trial_id.in_(left)))


def study_is_there(connection: Connection, study_id: int, study_uuid: str) -> bool:
    """Whether the study still exists: SQLite gives a deleted study's id to the next one, so its uuid must fit too."""
    query = select(STUDY_ATTRIBUTES.c.value_json).where(
        STUDY_ATTRIBUTES.c.study_id == study_id, STUDY_ATTRIBUTES.c.key == UUID_KEY
    )
    found = connection.execute(query).scalar_one_or_none()
    return found is not None and json.loads(found) == study_uuid
