"""One study: its trials, curves, requests and lock. Reading needs no lock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, Row, func, select

from sweeper.errors import StudyNotFoundError
from sweeper.records import Trial, TrialState
from sweeper.store.curves import read_curves
from sweeper.store.lock import read_lock, refuse_if_held
from sweeper.store.names import trial_folder_name
from sweeper.store.records import CurvePoint, LockInfo, Request, RequestKind, StudyInfo, StudySpec
from sweeper.store.requests import add_request, read_requests
from sweeper.store.rows import read_trials, trial_of
from sweeper.store.tables import STUDIES, TRIALS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import optuna
    from optuna.storages import RDBStorage

    from sweeper.clock import Clock
    from sweeper.store.connections import Connections


class StoredStudy:
    """A handle on one study.

    Attributes:
        name: the study's name.
        uuid: another one of the same name, after this is deleted, has another.
        study_id: Optuna's.
        spec: space, settings, metric, goals and the config as written.
        engine: the database.
    """

    def __init__(self, connections: Connections, row: Row[Any], clock: Clock) -> None:
        self.name: str = row.name
        self.uuid: str = row.uuid
        self.study_id: int = row.study_id
        self.engine: Engine = connections.engine
        self.spec = StudySpec(
            name=row.name,
            goals=tuple(json.loads(row.goals)),
            objectives=tuple(json.loads(row.objectives)),
            metric=row.metric,
            space=json.loads(row.space),
            settings=json.loads(row.settings),
            config=row.config,
            artifacts_folder=Path(row.artifacts_folder),
            environment=row.environment,
        )
        self._connections = connections
        self._clock = clock

    @property
    def storage(self) -> RDBStorage:
        """Optuna's storage of this database."""
        return self._connections.storage

    @property
    def path(self) -> Path | None:
        """The database's file, for SQLite."""
        url = self.engine.url
        return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None

    @property
    def optuna_study(self) -> optuna.Study:
        """The same study as Optuna sees it: to read and to draw, never to ask or tell."""
        import optuna

        return optuna.load_study(study_name=self.name, storage=self._connections.storage)

    @property
    def max_runs(self) -> int | None:
        """The budget as it stands, `extend` included."""
        budget = self._row().max_runs
        return None if budget is None else int(budget)

    @property
    def elapsed_seconds(self) -> float:
        """Wall-clock seconds that sweeps have run on this study."""
        return float(self._row().elapsed_seconds)

    @property
    def folder(self) -> Path:
        """`<artifacts>/<study>`."""
        return self.spec.artifacts_folder / self.name

    def trial_folder(self, number: int) -> Path:
        """`<artifacts>/<study>/trial-0007`."""
        return self.folder / trial_folder_name(number)

    def trials(self, *, ended_curves: bool = True) -> list[Trial]:
        """Snapshots of all trials by number; `ended_curves` = False is several times as quick.

        Args:
            ended_curves: False leaves out the observations of trials that no longer run.
        """
        with self.engine.connect() as connection:
            return [trial for _, trial in read_trials(connection, self.uuid, ended_curves=ended_curves)]

    def trial(self, number: int) -> Trial:
        """One trial.

        Raises:
            StudyNotFoundError: no trial of that number.
        """
        query = select(TRIALS).where(TRIALS.c.study_uuid == self.uuid, TRIALS.c.number == number)
        with self.engine.connect() as connection:
            row = connection.execute(query).one_or_none()
            if row is not None:
                return trial_of(row)
            highest = connection.execute(
                select(func.max(TRIALS.c.number)).where(TRIALS.c.study_uuid == self.uuid)
            ).scalar_one_or_none()
        rule = "It has no trials yet." if highest is None else f"Its trials are numbered 0 to {highest}."
        raise StudyNotFoundError(f"Study {self.name!r} has no trial of this number.", value=number, rule=rule)

    def best(self) -> Trial | None:
        """The complete trial of the best score; the earlier one among equals."""
        order = TRIALS.c.score.asc() if self.spec.goal == "minimize" else TRIALS.c.score.desc()
        query = (
            select(TRIALS)
            .where(
                TRIALS.c.study_uuid == self.uuid,
                TRIALS.c.state == TrialState.COMPLETE.value,
                TRIALS.c.score.is_not(None),
            )
            .order_by(order, TRIALS.c.number)
            .limit(1)
        )
        with self.engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else trial_of(row)

    def curve(self, uuid: str) -> list[CurvePoint]:
        """The whole learning curve of a trial; empty if it has none."""
        return self.curves([uuid]).get(uuid, [])

    def curves(self, uuids: Sequence[str] | None = None) -> dict[str, list[CurvePoint]]:
        """Whole learning curves by trial uuid; of all trials when none are named."""
        with self.engine.connect() as connection:
            if uuids is None:
                query = select(TRIALS.c.uuid).where(TRIALS.c.study_uuid == self.uuid)
                uuids = list(connection.execute(query).scalars())
            return read_curves(connection, uuids)

    def info(self) -> StudyInfo:
        """Counts and the best, without loading trials."""
        row = self._row()
        mine = TRIALS.c.study_uuid == self.uuid
        totals = select(
            TRIALS.c.state, func.count(), func.sum(TRIALS.c.cost_seconds), func.sum(TRIALS.c.agent_steps)
        )
        order = TRIALS.c.score.asc() if self.spec.goal == "minimize" else TRIALS.c.score.desc()
        best = (
            select(TRIALS.c.score, TRIALS.c.number)
            .where(mine, TRIALS.c.state == TrialState.COMPLETE.value, TRIALS.c.score.is_not(None))
            .order_by(order, TRIALS.c.number)
            .limit(1)
        )
        with self.engine.connect() as connection:
            groups = connection.execute(totals.where(mine).group_by(TRIALS.c.state)).all()
            top = connection.execute(best).one_or_none()
            lock = read_lock(connection, self.uuid, self._clock)
        return StudyInfo(
            name=self.name,
            uuid=self.uuid,
            environment=self.spec.environment,
            metric=self.spec.metric,
            goals=self.spec.goals,
            counts={TrialState(group[0]): int(group[1]) for group in groups},
            best_score=None if top is None else float(top.score),
            best_number=None if top is None else int(top.number),
            max_runs=row.max_runs,
            created_at=row.created_at,
            changed_at=row.changed_at,
            cost_seconds=float(sum(group[2] or 0.0 for group in groups)),
            agent_steps=int(sum(group[3] or 0 for group in groups)),
            lock=lock,
        )

    def lock_info(self) -> LockInfo | None:
        """Who runs this study, alive or not; None if the lock is free."""
        with self.engine.connect() as connection:
            return read_lock(connection, self.uuid, self._clock)

    def refuse_if_locked(self) -> None:
        """Refuse a study that another process runs.

        Raises:
            StudyLockedError: with its host, pid and start.
        """
        with self.engine.connect() as connection:
            refuse_if_held(connection, self.uuid, self.name, self._clock)

    def request(self, kind: RequestKind, argument: Mapping[str, Any] | None = None) -> int:
        """Leave a request for the lock holder, or for whoever takes the lock next; its id."""
        with self.engine.begin() as connection:
            return add_request(connection, self.uuid, kind, argument or {}, self._clock.now())

    def requests(self, *, open_only: bool = True) -> list[Request]:
        """Requests in the order they came."""
        with self.engine.connect() as connection:
            return read_requests(connection, self.uuid, open_only=open_only)

    def attributes(self) -> dict[str, Any]:
        """The study's own notes: versions, commit, command and what else the sweep has written down."""
        return dict(json.loads(self._row().attributes))

    def _row(self) -> Row[Any]:
        with self.engine.connect() as connection:
            row = connection.execute(select(STUDIES).where(STUDIES.c.uuid == self.uuid)).one_or_none()
        if row is None:
            raise StudyNotFoundError(f"Study {self.name!r} has been deleted.")
        return row
