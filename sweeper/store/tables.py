"""Our tables beside Optuna's, and their versions.

sweep_schema    the version of these tables
sweep_studies   what makes a study itself (space, settings, config), its budget and what it has used of it
sweep_trials    one row a trial: everything a `Trial` snapshot holds, quick to load
sweep_curves    whole learning curves, in chunks
sweep_requests  what other terminals ask for
sweep_locks     who runs a study

Optuna's own tables hold the same trials for its dashboard and tools; both are written in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    inspect,
    select,
)

from sweeper.errors import StorageError
from sweeper.provenance import own_version

SCHEMA_VERSION = 1

UUID_KEY = "uuid"
"""The user attribute of Optuna's study that ties it to our rows."""

METADATA = MetaData()

SCHEMA = Table(
    "sweep_schema",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    Column("written_by", String(64), nullable=False),
)

STUDIES = Table(
    "sweep_studies",
    METADATA,
    Column("uuid", String(36), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("study_id", Integer, nullable=False),
    Column("environment", String(255), nullable=False),
    Column("metric", String(255), nullable=False),
    Column("goals", Text, nullable=False),
    Column("objectives", Text, nullable=False),
    Column("space", Text, nullable=False),
    Column("settings", Text, nullable=False),
    Column("config", Text, nullable=False),
    Column("artifacts_folder", Text, nullable=False),
    Column("max_runs", Integer),
    Column("elapsed_seconds", Float, nullable=False, default=0.0),
    Column("created_at", Float, nullable=False),
    Column("changed_at", Float, nullable=False),
    Column("attributes", Text, nullable=False, default="{}"),
)

TRIALS = Table(
    "sweep_trials",
    METADATA,
    Column("uuid", String(36), primary_key=True),
    Column("study_uuid", String(36), nullable=False),
    Column("trial_id", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("score", Float),
    Column("cost_seconds", Float, nullable=False, default=0.0),
    Column("agent_steps", BigInteger, nullable=False, default=0),
    Column("total_agent_steps", BigInteger, nullable=False, default=0),
    Column("failure_kind", String(32)),
    Column("failure_message", Text, nullable=False, default=""),
    Column("parameters", Text, nullable=False),
    Column("attributes", Text, nullable=False, default="{}"),
    Column("curve", Text, nullable=False, default="[]"),
    Column("changed_at", Float, nullable=False),
    Index("ix_sweep_trials_study_number", "study_uuid", "number", unique=True),
)

CURVES = Table(
    "sweep_curves",
    METADATA,
    Column("trial_uuid", String(36), primary_key=True),
    Column("first_steps", BigInteger, primary_key=True, autoincrement=False),
    Column("last_steps", BigInteger, nullable=False),
    Column("num_points", Integer, nullable=False),
    Column("points", LargeBinary, nullable=False),
)

REQUESTS = Table(
    "sweep_requests",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("study_uuid", String(36), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("argument", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("answered_at", Float),
    Column("answer", Text),
)

LOCKS = Table(
    "sweep_locks",
    METADATA,
    Column("study_uuid", String(36), primary_key=True),
    Column("token", String(36), nullable=False),
    Column("host", String(255), nullable=False),
    Column("machine", String(128), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("beat_at", Float, nullable=False),
)

Migration = Callable[[Connection], None]

MIGRATIONS: Mapping[int, Migration] = {}
"""Version → the step that leads from the one before to it. Version 1 is where it began."""


def has_own_tables(engine: Engine) -> bool:
    """Whether this database has ever been used by this project."""
    return bool(inspect(engine).has_table(SCHEMA.name))


def schema_version(connection: Connection) -> int:
    """The version of our tables in a database that has them."""
    return int(connection.execute(select(SCHEMA.c.version)).scalar_one())


def ensure_schema(
    engine: Engine, *, migrations: Mapping[int, Migration] = MIGRATIONS, version: int = SCHEMA_VERSION
) -> None:
    """Create our tables, or bring older ones up to date, each step in a transaction of its own.

    Raises:
        StorageError: they were written by a newer version of the project.
    """
    if not has_own_tables(engine):
        with engine.begin() as connection:
            METADATA.create_all(connection)
            connection.execute(SCHEMA.insert().values(id=1, version=version, written_by=own_version()))
        return
    check_schema(engine, version=version)
    with engine.connect() as connection:
        found = schema_version(connection)
    for step in range(found + 1, version + 1):
        with engine.begin() as connection:
            migrations[step](connection)
            connection.execute(SCHEMA.update().values(version=step, written_by=own_version()))


def check_schema(engine: Engine, *, version: int = SCHEMA_VERSION) -> None:
    """Refuse tables that are newer than this code.

    Raises:
        StorageError: with both versions.
    """
    with engine.connect() as connection:
        row = connection.execute(select(SCHEMA.c.version, SCHEMA.c.written_by)).one()
    if row.version > version:
        raise StorageError(
            f"This database was written by puffer-sweep {row.written_by}, which is newer than {own_version()}.",
            value=f"schema version {row.version}",
            rule=f"This version reads schema versions up to {version}.",
            remedy="Install the newer puffer-sweep, or name another --storage.",
        )
