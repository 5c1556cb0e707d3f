"""Opening a database and finding studies in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeper.store.records import StudyInfo, StudySpec
    from sweeper.store.study import StoredStudy

DEFAULT_STORAGE = "studies/studies.db"


class Store:
    """One database of studies.

    Attributes:
        url: SQLAlchemy's.
        path: the file, for SQLite.
    """

    url: str
    path: Path | None

    def studies(self) -> list[StudyInfo]:
        """All studies of this project in the database, latest first, without loading their trials."""
        raise NotImplementedError

    def latest(self) -> str:
        """The name of the study that changed last.

        Raises:
            StudyNotFoundError: there is none.
        """
        raise NotImplementedError

    def open(self, name: str) -> StoredStudy:
        """A study by name, for reading.

        Raises:
            StudyNotFoundError: names those there are.
        """
        raise NotImplementedError

    def create(self, spec: StudySpec) -> StoredStudy:
        """A new study, or the one of that name if its space and settings are the same.

        Raises:
            StudyMismatchError: it exists with another space or other settings; shows the difference.
        """
        raise NotImplementedError

    def delete(self, name: str) -> None:
        """Drop a study with all its rows (not its folders)."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back the connections."""
        raise NotImplementedError


def open_store(storage: str | Path = DEFAULT_STORAGE, *, must_exist: bool = False) -> Store:
    """Open (or, unless `must_exist`, create) a database.

    Args:
        storage: a path to a SQLite file or any SQLAlchemy URL that Optuna takes.
        must_exist: refuse instead of creating: for commands that only read.

    Raises:
        StorageError: missing, broken, foreign, newer, or on a file system where SQLite cannot lock.
    """
    raise NotImplementedError
