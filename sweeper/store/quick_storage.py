"""Optuna's storage with a quicker way to read all trials of a study, for people who look at large studies.

Optuna reads trials through SQLAlchemy's object mapper: 60,000 objects for 2,000 trials. Here the same rows are read as
tuples, and every distribution is parsed once. The trials are the same.
"""

from __future__ import annotations

import copy
import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.distributions import json_to_distribution
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy import Connection, Table, select

from sweeper.store import sqlite
from sweeper.store.connections import engine_options
from sweeper.store.dashboard_rows import is_trial_note_key

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from optuna.distributions import BaseDistribution
    from optuna.study._frozen import FrozenStudy
    from optuna.trial import TrialState

_TRIALS = models.TrialModel.__table__
_PARAMETERS = models.TrialParamModel.__table__
_VALUES = models.TrialValueModel.__table__
_INTERMEDIATE = models.TrialIntermediateValueModel.__table__
_USER_ATTRIBUTES = models.TrialUserAttributeModel.__table__
_SYSTEM_ATTRIBUTES = models.TrialSystemAttributeModel.__table__


class QuickStorage(RDBStorage):
    """Another way into the database of a storage, for reading; what is written goes Optuna's usual way.

    Args:
        storage: whose database this is; it has Optuna's tables.
    """

    def __init__(self, storage: RDBStorage) -> None:
        database = storage.engine.url.database
        is_file = storage.engine.url.get_backend_name() == "sqlite" and database
        path = Path(database) if is_file and database else None
        super().__init__(
            storage.url,
            engine_kwargs=engine_options(storage.url, path),
            skip_compatibility_check=True,
            skip_table_creation=True,
        )
        if path is not None:
            sqlite.prepare_engine(self.engine)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,  # noqa: ARG002, FBT001 - Optuna's; there is nothing to copy here
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """All trials of a study by number, made anew at each call.

        Raises:
            KeyError: there is no such study.
        """
        self.get_study_name_from_id(study_id)
        with self.engine.connect() as connection:
            trials = read_frozen_trials(connection, study_id)
        return [trial for trial in trials if states is None or trial.state in states]

    def get_all_studies(self) -> list[FrozenStudy]:
        """All studies, without the notes of their trials.

        optuna-dashboard walks through these attributes once for each trial: with a note for each, 2,000 trials
        take millions of steps. `trial_notes` has the notes.
        """
        studies = []
        for study in super().get_all_studies():
            lean = copy.copy(study)
            lean.system_attrs = {
                key: value for key, value in study.system_attrs.items() if not is_trial_note_key(key)
            }
            studies.append(lean)
        return studies


def read_frozen_trials(connection: Connection, study_id: int) -> list[FrozenTrial]:
    """Optuna's trials of one study, in the order of their ids."""
    parts: dict[int, dict[str, Any]] = {}
    query = select(
        _TRIALS.c.trial_id,
        _TRIALS.c.number,
        _TRIALS.c.state,
        _TRIALS.c.datetime_start,
        _TRIALS.c.datetime_complete,
    )
    query = query.where(_TRIALS.c.study_id == study_id).order_by(_TRIALS.c.trial_id)
    for trial_id, number, state, began, ended in connection.execute(query):
        parts[trial_id] = {
            "number": number,
            "trial_id": trial_id,
            "state": state,
            "datetime_start": began,
            "datetime_complete": ended,
            "value": None,
            "values": [],
            "params": {},
            "distributions": {},
            "user_attrs": {},
            "system_attrs": {},
            "intermediate_values": {},
        }

    def rows(table: Table, *columns: str, order: str | None = None) -> Iterator[Any]:
        # A trial that has come since the first query is for the next look.
        return (row for row in _rows(connection, table, study_id, columns, order) if row[0] in parts)

    columns = ("param_name", "param_value", "distribution_json")
    for trial_id, name, value, text in rows(_PARAMETERS, *columns, order="param_id"):
        distribution = _distribution(text)
        parts[trial_id]["params"][name] = distribution.to_external_repr(value)
        parts[trial_id]["distributions"][name] = distribution
    to_value = models.TrialValueModel.stored_repr_to_value
    for trial_id, _, value, kind in rows(_VALUES, "objective", "value", "value_type", order="objective"):
        parts[trial_id]["values"].append(to_value(value, kind))
    to_intermediate = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value
    columns = ("step", "intermediate_value", "intermediate_value_type")
    for trial_id, step, value, kind in rows(_INTERMEDIATE, *columns, order="trial_intermediate_value_id"):
        parts[trial_id]["intermediate_values"][step] = to_intermediate(value, kind)
    for table, key in ((_USER_ATTRIBUTES, "user_attrs"), (_SYSTEM_ATTRIBUTES, "system_attrs")):
        for trial_id, name, text in rows(table, "key", "value_json"):
            parts[trial_id][key][name] = json.loads(text)
    return [FrozenTrial(**{**part, "values": part["values"] or None}) for part in parts.values()]


def _rows(
    connection: Connection, table: Table, study_id: int, columns: tuple[str, ...], order: str | None
) -> Iterator[Any]:
    query = (
        select(table.c.trial_id, *(table.c[name] for name in columns))
        .join(_TRIALS, _TRIALS.c.trial_id == table.c.trial_id)
        .where(_TRIALS.c.study_id == study_id)
    )
    yield from connection.execute(query if order is None else query.order_by(table.c[order]))


@lru_cache(maxsize=1024)
def _distribution(text: str) -> BaseDistribution:
    return json_to_distribution(text)
