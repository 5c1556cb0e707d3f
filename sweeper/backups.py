"""Backups of a SQLite database: at the start of a sweep, and after every so many trials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweeper.errors import StorageError
from sweeper.store.sqlite import back_up

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sweeper.store.writer import Writer

TRIALS_PER_BACKUP = 50


class Backups:
    """Copies the database in the writer's thread, so that nothing is written while a page is read.

    Args:
        path: the database's file; None where it is no file, and nothing is done.
        writer: the thread that writes.
        num_ended: trials that have ended so far.
        on_note: told when a backup cannot be written; the sweep goes on.
        trials_per_backup: how often.
    """

    def __init__(
        self,
        path: Path | None,
        writer: Writer,
        num_ended: int,
        on_note: Callable[[str], None],
        trials_per_backup: int = TRIALS_PER_BACKUP,
    ) -> None:
        self._path = path
        self._writer = writer
        self._on_note = on_note
        self._trials_per_backup = trials_per_backup
        self._backed_up_at = num_ended
        if num_ended:
            self._back_up()

    def look(self, num_ended: int, *, held: bool) -> None:
        """Back up if it is time to; never while the disk is full."""
        if not held and num_ended - self._backed_up_at >= self._trials_per_backup:
            self._backed_up_at = num_ended
            self._back_up()

    def _back_up(self) -> None:
        path = self._path
        if path is not None:
            self._writer.between(lambda: self._copy(path))

    def _copy(self, path: Path) -> None:
        try:
            back_up(path)
        except StorageError as error:
            self._on_note(str(error))
