"""One database, as SQLAlchemy's engine for us and as Optuna's storage for Optuna.

Looking at a study needs no more than the engine; Optuna's storage, which takes half a second to import, is made
when somebody asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError

from sweeper.errors import StorageError
from sweeper.store import sqlite

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.storages import RDBStorage


class Connections:
    """The ways into one database.

    Args:
        url: SQLAlchemy's.
        path: the file, for SQLite.
        at_once: make Optuna's storage now, with its tables where they are missing.

    Raises:
        StorageError: a driver is missing, or the database refuses.
    """

    def __init__(self, url: str, path: Path | None, *, at_once: bool) -> None:
        self._url = url
        self._path = path
        self._storage = _make_storage(url, path) if at_once else None
        self.engine: Engine = self._storage.engine if self._storage is not None else _make_engine(url, path)

    @property
    def storage(self) -> RDBStorage:
        """Optuna's storage.

        Raises:
            StorageError: Optuna does not take this database.
        """
        if self._storage is None:
            self._storage = _make_storage(self._url, self._path)
        return self._storage

    def close(self) -> None:
        """Give back the connections."""
        if self._storage is not None:
            self._storage.remove_session()
            self._storage.engine.dispose()
        self.engine.dispose()


def storage_error(error: DatabaseError, path: Path | None) -> StorageError:
    """What a database driver's complaint means to a person."""
    text = str(error.orig or error).strip()
    if sqlite.is_malformed(text):
        return sqlite.damaged(path, text)
    if "locked" in text.lower():
        return sqlite.locked(path)
    if "unable to open database file" in text or "readonly" in text:
        return StorageError(
            "The database cannot be opened for writing.",
            value=str(path),
            remedy="Check the folder's permissions.",
        )
    return StorageError(f"The database answers: {text.splitlines()[0]}.", remedy="Check --storage.")


def _make_engine(url: str, path: Path | None) -> Engine:
    try:
        engine = create_engine(url, **engine_options(url, path))
    except ImportError as error:
        raise _no_driver(url) from error
    if path is not None:
        sqlite.prepare_engine(engine)
    return engine


def _make_storage(url: str, path: Path | None) -> RDBStorage:
    from optuna.storages import RDBStorage

    try:
        storage = RDBStorage(url, engine_kwargs=engine_options(url, path))
    except ImportError as error:
        raise _no_driver(url) from error
    except DatabaseError as error:
        raise storage_error(error, path) from error
    except RuntimeError as error:
        raise StorageError(
            f"Optuna does not take this database: {error}",
            value=str(path or url),
            remedy="Install the version of Optuna that wrote it, or run `optuna storage upgrade`.",
        ) from error
    if path is not None:
        sqlite.prepare_engine(storage.engine)
    return storage


def engine_options(url: str, path: Path | None) -> dict[str, Any]:
    """What SQLAlchemy is told of a database: how long to wait for a file, whether to try a connection first."""
    if path is not None:
        return {"connect_args": {"timeout": sqlite.BUSY_TIMEOUT_SECONDS}}
    return {} if url.startswith("sqlite") else {"pool_pre_ping": True}


def _no_driver(url: str) -> StorageError:
    return StorageError(
        "The driver for this database is not installed.",
        value=make_url(url).drivername,
        remedy="For PostgreSQL: pip install 'puffer-sweep[postgres]'.",
    )
