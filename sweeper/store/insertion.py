"""A new trial in Optuna's tables, in the transaction that adds it to ours."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from optuna.distributions import BaseDistribution, distribution_to_json
from sqlalchemy import Connection, func, insert, select

from sweeper.records import Trial, TrialState
from sweeper.store import optuna_rows
from sweeper.store.attributes import failure_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping


def next_number(connection: Connection, study_id: int) -> int:
    """The number that the next trial of a study gets: Optuna counts them without gaps."""
    mine = (
        select(func.count()).select_from(optuna_rows.TRIALS).where(optuna_rows.TRIALS.c.study_id == study_id)
    )
    return int(connection.execute(mine).scalar_one())


def insert_trial(
    connection: Connection,
    trial: Trial,
    *,
    study_id: int,
    number: int,
    distributions: Mapping[str, BaseDistribution],
    now: float,
) -> int:
    """Add a trial with its parameters and attributes; Optuna's id of it.

    Args:
        connection: in a transaction.
        trial: new.
        study_id: Optuna's.
        number: that it gets in Optuna.
        distributions: by name, for the trial's values.
        now: wall clock, seconds since the epoch.
    """
    moment = datetime.fromtimestamp(now, UTC).replace(tzinfo=None)
    result = connection.execute(
        insert(optuna_rows.TRIALS).values(
            study_id=study_id,
            number=number,
            state=optuna_rows.OPTUNA_STATES[trial.state],
            datetime_start=moment,
            datetime_complete=moment if trial.state is TrialState.INFEASIBLE else None,
        )
    )
    trial_id = int(result.inserted_primary_key[0])  # type: ignore[index]
    parameters = [
        {
            "trial_id": trial_id,
            "param_name": name,
            "param_value": distributions[name].to_internal_repr(value),
            "distribution_json": distribution_to_json(distributions[name]),
        }
        for name, value in trial.values.items()
    ]
    if parameters:
        connection.execute(insert(optuna_rows.PARAMETERS), parameters)
    optuna_rows.write_attributes(connection, trial_id, {**trial.attributes, **failure_attributes(trial)})
    return trial_id
