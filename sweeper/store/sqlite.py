"""What SQLite needs: a look at the file before anything is written, a busy timeout, integrity checks, backups."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from sweeper.errors import StorageError

BUSY_TIMEOUT_SECONDS = 60.0

BACKUP_SUFFIX = ".backup"

MOUNTS = Path("/proc/self/mounts")
"""Where Linux tells what lies where."""

_MAGIC = b"SQLite format 3\x00"
_NETWORK_SYSTEMS = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "fuse.sshfs",
        "afs",
        "9p",
        "ceph",
        "glusterfs",
        "lustre",
        "beegfs",
    }
)
_MALFORMED = ("malformed", "not a database", "disk i/o error", "database corruption")


def backup_path(path: Path) -> Path:
    """Where the backup of a database lies."""
    return path.with_name(path.name + BACKUP_SUFFIX)


def prepare_engine(engine: Engine) -> None:
    """Give every new connection the busy timeout; the rollback journal and full synchronisation stay as they are.

    With one writer a write-ahead log would bring little, and SQLite before 3.51.3 can corrupt one.
    """

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_SECONDS * 1000)}")


def check_file(path: Path, *, thorough: bool = False) -> None:
    """Look at a database file without changing it; a missing or empty file is fine.

    Args:
        path: the file.
        thorough: read every page (`PRAGMA quick_check`), which takes some seconds per gigabyte.

    Raises:
        StorageError: it is a folder, cannot be read, is no SQLite database, is damaged, or belongs to something else.
    """
    if path.is_dir():
        raise StorageError("The storage is a folder, not a database.", value=str(path))
    if not path.exists() or path.stat().st_size == 0:
        return
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise StorageError(f"The database cannot be read: {error.strerror}.", value=str(path)) from error
    if magic != _MAGIC:
        raise _damaged(path, "it is no SQLite database, or its beginning has been overwritten")
    try:
        with closing(_open_for_reading(path)) as connection:
            tables = {
                row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }
            if thorough:
                verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
                if verdict != "ok":
                    raise _damaged(path, str(verdict))
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            raise locked(path) from error
        raise _damaged(path, str(error)) from error
    except sqlite3.DatabaseError as error:
        raise _damaged(path, str(error)) from error
    if tables and not {"studies", "trials"} <= tables:
        raise StorageError(
            "This SQLite database belongs to another program.",
            value=str(path),
            rule="A storage holds Optuna studies, or is a new file.",
            remedy="Name another file with --storage.",
        )


def back_up(path: Path) -> Path:
    """Copy a live database to its backup by SQLite's own interface; the copy before stays until this one is whole.

    Returns:
        The backup's path.

    Raises:
        StorageError: the copy cannot be written.
    """
    target = backup_path(path)
    partial = target.with_name(target.name + ".partial")
    try:
        partial.unlink(missing_ok=True)
        with closing(_open_for_reading(path)) as source, closing(sqlite3.connect(partial)) as copy:
            source.backup(copy)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(target)
    except (sqlite3.Error, OSError) as error:
        partial.unlink(missing_ok=True)
        raise StorageError(f"The backup cannot be written: {error}.", value=str(target)) from error
    return target


def network_system(path: Path) -> str | None:
    """The kind of network file system that a path lies on; None for a local one or where that cannot be told."""
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    resolved = path.resolve()
    best: tuple[int, str] = (-1, "")
    for line in lines:
        fields = line.split()
        if len(fields) < 3:
            continue
        mount = Path(fields[1].replace("\\040", " "))
        if resolved.is_relative_to(mount) and len(mount.parts) > best[0]:
            best = (len(mount.parts), fields[2])
    return best[1] if best[1] in _NETWORK_SYSTEMS else None


def locked(path: Path | None) -> StorageError:
    """Somebody else holds the database."""
    return StorageError(
        "The database is locked by another process.",
        value=str(path) if path else None,
        rule=f"It was waited for {BUSY_TIMEOUT_SECONDS:.0f} seconds.",
        remedy="Close whatever holds it (an editor, a backup, another tool) and run the same command again.",
    )


def is_malformed(message: str) -> bool:
    """Whether an error of SQLite's says that the file is broken."""
    lowered = message.lower()
    return any(sign in lowered for sign in _MALFORMED)


def _open_for_reading(path: Path) -> sqlite3.Connection:
    # A plain connection, not `mode=ro`: a hot journal left by a kill must be rolled back before anything is read.
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS)


def _damaged(path: Path, what: str) -> StorageError:
    backup = backup_path(path)
    if backup.exists():
        remedy = f"Move the file away and copy the backup in its place: cp '{backup}' '{path}'."
    else:
        remedy = "There is no backup beside it; move the file away or name another --storage."
    return StorageError(f"The database is damaged: {what}.", value=str(path), remedy=remedy)


def damaged(path: Path | None, what: str) -> StorageError:
    """The database is broken: with the way to the backup, where there is one."""
    if path is None:
        return StorageError(f"The database is damaged: {what}.")
    return _damaged(path, what)
