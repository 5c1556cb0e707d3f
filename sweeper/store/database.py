"""Opening a database and finding studies in it."""

from __future__ import annotations

import contextlib
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from sqlalchemy import column, delete, insert, select, table
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from sweeper.clock import Clock, SystemClock
from sweeper.errors import StorageError, StudyLockedError, StudyMismatchError, StudyNotFoundError
from sweeper.store import sqlite
from sweeper.store.connections import Connections, storage_error
from sweeper.store.fingerprint import differences
from sweeper.store.names import check_study_name
from sweeper.store.study import StoredStudy
from sweeper.store.tables import (
    CURVES,
    LOCKS,
    REQUESTS,
    STUDIES,
    TRIALS,
    UUID_KEY,
    check_schema,
    ensure_schema,
    has_own_tables,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sweeper.store.records import StudyInfo, StudySpec

DEFAULT_STORAGE = "studies/studies.db"

# What is read of Optuna's tables to find a study. Its own definitions take as long to import as all else together.
_OPTUNA_STUDIES = table("studies", column("study_id"), column("study_name"))
_OPTUNA_STUDY_ATTRIBUTES = table(
    "study_user_attributes", column("study_id"), column("key"), column("value_json")
)


class Store:
    """One database of studies.

    Attributes:
        url: SQLAlchemy's.
        path: the file, for SQLite.
        notes: sentences that a person should read.
    """

    def __init__(
        self, connections: Connections, url: str, path: Path | None, clock: Clock, notes: tuple[str, ...]
    ) -> None:
        self.url = url
        self.path = path
        self.notes = notes
        self._connections = connections
        self._clock = clock

    def studies(self) -> list[StudyInfo]:
        """All studies of this project in the database, the latest change first, without loading their trials."""
        infos = [study.info() for study in self._all()]
        return sorted(infos, key=lambda info: info.changed_at, reverse=True)

    def latest(self) -> str:
        """The name of the study that changed last.

        Raises:
            StudyNotFoundError: there is none.
        """
        studies = self.studies()
        if not studies:
            raise StudyNotFoundError(
                "There is no study yet.", value=self._label(), remedy="Make one: puffer-sweep start CONFIG."
            )
        return studies[0].name

    def open(self, name: str) -> StoredStudy:
        """A study by name, for reading.

        Raises:
            StudyNotFoundError: names those there are.
        """
        study = self._find(name)
        if study is None:
            names = sorted(other.name for other in self._all())
            rule = f"It has {', '.join(names)}" if names else "It has none yet"
            raise StudyNotFoundError(f"{self._label()} has no study of this name.", value=name, rule=rule)
        return study

    def create(self, spec: StudySpec) -> StoredStudy:
        """A new study, or the one of that name if its space and settings are the same.

        Raises:
            StudyNameError: the name is not plain.
            StudyMismatchError: it exists with another space or other settings; shows the difference.
        """
        import optuna

        check_study_name(spec.name)
        found = self._find(spec.name)
        if found is not None:
            refuse_differences(found.spec, spec)
            return found
        directions = [optuna.study.StudyDirection[goal.upper()] for goal in spec.goals]
        with quiet_optuna():
            try:
                study_id = self._connections.storage.create_new_study(directions, spec.name)
            except optuna.exceptions.DuplicatedStudyError as error:
                raise StudyMismatchError(
                    f"A study named {spec.name!r} exists in this database and was not made by puffer-sweep.",
                    remedy="Choose another name with --study.",
                ) from error
            study = optuna.load_study(study_name=spec.name, storage=self._connections.storage)
            study.set_metric_names([spec.metric, *spec.objectives[1:]])
        uuid = str(uuid4())
        now = self._clock.now()
        with self._connections.engine.begin() as connection:
            connection.execute(
                insert(STUDIES).values(
                    uuid=uuid,
                    name=spec.name,
                    study_id=study_id,
                    environment=spec.environment,
                    metric=spec.metric,
                    goals=json.dumps(spec.goals),
                    objectives=json.dumps(spec.objectives),
                    space=json.dumps(spec.space, default=str),
                    settings=json.dumps(spec.settings, default=str),
                    config=spec.config,
                    artifacts_folder=str(spec.artifacts_folder),
                    elapsed_seconds=0.0,
                    created_at=now,
                    changed_at=now,
                    attributes="{}",
                )
            )
            from sweeper.store import optuna_rows

            optuna_rows.write_study_attributes(
                connection, study_id, {UUID_KEY: uuid, "environment": spec.environment}
            )
        return self.open(spec.name)

    def delete(self, name: str) -> None:
        """Drop a study with all its rows; its folders stay.

        Raises:
            StudyNotFoundError: no such study.
            StudyLockedError: it is being run.
        """
        study = self.open(name)
        holder = study.lock_info()
        if holder is not None and holder.alive:
            raise StudyLockedError(
                f"Study {name!r} is being run by process {holder.pid} on {holder.host}.",
                remedy=f"End it first: puffer-sweep stop {name}.",
            )
        with quiet_optuna():
            self._connections.storage.delete_study(study.study_id)
        self._drop_rows([study.uuid])

    def purge(self) -> int:
        """Drop our rows of studies that were deleted elsewhere (in the dashboard, say); how many studies."""
        living = {study.uuid for study in self._all()}
        with self._connections.engine.connect() as connection:
            gone = [
                uuid for uuid in connection.execute(select(STUDIES.c.uuid)).scalars() if uuid not in living
            ]
        self._drop_rows(gone)
        return len(gone)

    def close(self) -> None:
        """Give back the connections."""
        self._connections.close()

    def _drop_rows(self, uuids: list[str]) -> None:
        with self._connections.engine.begin() as connection:
            for uuid in uuids:
                trials = select(TRIALS.c.uuid).where(TRIALS.c.study_uuid == uuid)
                connection.execute(delete(CURVES).where(CURVES.c.trial_uuid.in_(trials)))
                for table in (TRIALS, REQUESTS, LOCKS):
                    connection.execute(delete(table).where(table.c.study_uuid == uuid))
                connection.execute(delete(STUDIES).where(STUDIES.c.uuid == uuid))

    def _all(self) -> list[StoredStudy]:
        """Our studies that Optuna still has; one of the dashboard's making up is not ours."""
        keys = _OPTUNA_STUDY_ATTRIBUTES
        with self._connections.engine.connect() as connection:
            query = select(keys.c.study_id, keys.c.value_json).where(keys.c.key == UUID_KEY)
            known = {(row.study_id, json.loads(row.value_json)) for row in connection.execute(query)}
            rows = connection.execute(select(STUDIES).order_by(STUDIES.c.created_at)).all()
            names: Mapping[int, str] = {
                row.study_id: row.study_name
                for row in connection.execute(
                    select(_OPTUNA_STUDIES.c.study_id, _OPTUNA_STUDIES.c.study_name)
                )
            }
        return [
            StoredStudy(self._connections, row, self._clock)
            for row in rows
            if (row.study_id, row.uuid) in known and names.get(row.study_id) == row.name
        ]

    def _find(self, name: str) -> StoredStudy | None:
        return next((study for study in self._all() if study.name == name), None)

    def _label(self) -> str:
        return (
            str(self.path)
            if self.path is not None
            else make_url(self.url).render_as_string(hide_password=True)
        )


def open_store(
    storage: str | Path = DEFAULT_STORAGE,
    *,
    must_exist: bool = False,
    thorough: bool = False,
    clock: Clock | None = None,
) -> Store:
    """Open (or, unless `must_exist`, create) a database.

    Args:
        storage: a path to a SQLite file or any SQLAlchemy URL that Optuna takes.
        must_exist: refuse instead of creating: for commands that only read.
        thorough: read the whole SQLite file once and refuse a damaged one.
        clock: None for the system's.

    Raises:
        StorageError: missing, broken, foreign, newer, or out of reach.
    """
    url, path = storage_url(storage)
    notes: list[str] = []
    if path is not None:
        if must_exist and not path.exists():
            raise StorageError(
                "There is no database here.",
                value=str(path),
                remedy="Name the right one with --storage, or make a study: puffer-sweep start CONFIG.",
            )
        sqlite.check_file(path, thorough=thorough)
        path.parent.mkdir(parents=True, exist_ok=True)
        network = sqlite.network_system(path.parent)
        if network is not None:
            notes.append(
                f"{path} lies on a network file system ({network}), where SQLite's locks cannot be relied on: "
                "run this study from one machine only, or use PostgreSQL."
            )
    connections = Connections(url, path, at_once=not must_exist)
    engine = connections.engine
    try:
        if must_exist and not has_own_tables(engine):
            raise StorageError(
                "This database has never been used by puffer-sweep.",
                value=str(path or make_url(url).render_as_string(hide_password=True)),
                remedy="Name the right one with --storage.",
            )
        if must_exist:
            check_schema(engine)
        else:
            ensure_schema(engine)
    except OperationalError as error:
        raise storage_error(error, path) from error
    return Store(connections, url, path, clock or SystemClock(), tuple(notes))


def storage_url(storage: str | Path) -> tuple[str, Path | None]:
    """A storage as a URL, and its file if it is SQLite's.

    Raises:
        StorageError: it is no URL that SQLAlchemy reads.
    """
    text = str(storage)
    if "://" not in text:
        path = Path(text).expanduser().resolve()
        return f"sqlite:///{path}", path
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise StorageError(
            "The storage is no URL.",
            value=text,
            rule="As in sqlite:///studies/studies.db or postgresql://host/name.",
        ) from error
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        path = Path(url.database).expanduser().resolve()
        return str(url.set(database=str(path))), path
    if url.get_backend_name() == "postgresql" and "+" not in url.drivername:
        url = url.set(drivername="postgresql+psycopg")
    return url.render_as_string(hide_password=False), None


def refuse_differences(before: StudySpec, now: StudySpec) -> None:
    """Refuse to mix scores that do not compare.

    Raises:
        StudyMismatchError: with every difference.
    """
    lines = differences(before, now)
    if lines:
        raise StudyMismatchError(
            f"Study {now.name!r} exists and was made with other settings: " + " ".join(lines),
            rule="Scores within a study must compare.",
            remedy="Give the new one another name with --study, or undo the change.",
        )


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keeps Optuna from announcing studies and experimental corners."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
