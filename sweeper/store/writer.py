"""All writing goes through one thread, behind the loop's back, a transaction for everything that has piled up.

The loop never waits for the disk except where it asks to. What is written is a list of functions of a connection; a
transaction that fails for a reason that can pass (a locked database, a full disk) is tried again whole, so nothing is
lost and nothing is written twice.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DatabaseError, OperationalError

from sweeper.errors import StudyNotFoundError
from sweeper.store import optuna_rows
from sweeper.store.connections import storage_error
from sweeper.store.sqlite import is_malformed

if TYPE_CHECKING:
    from pathlib import Path

Write = Callable[[Connection], Any]

LARGEST_BATCH = 256
GATHER_SECONDS = 0.05
"""What nobody waits for is held back a moment: the end of a trial and the start of the next share a transaction."""

RETRY_SECONDS = 2.0
PATIENCE_SECONDS = 900.0
"""How long a database may stay locked or full before the sweep gives up."""


ABANDON_SECONDS = 2.0


class StudyGoneError(StudyNotFoundError):
    """The study was deleted by somebody else while it was being run."""


@dataclass(frozen=True, slots=True)
class _Item:
    write: Write | None
    future: Future[Any] | None
    action: Callable[[], None] | None = None


class Writer:
    """The one thread that writes.

    Args:
        engine: the database.
        study_id: Optuna's id of the study.
        study_uuid: ours: every transaction first makes sure that the study is still there.
        path: the SQLite file, for messages.
        on_note: told when the database makes the sweep wait, and when it goes on; called from the writer's thread.
        retry_seconds: between two attempts.
        patience_seconds: how long to try.
    """

    def __init__(
        self,
        engine: Engine,
        study_id: int,
        study_uuid: str,
        *,
        path: Path | None = None,
        on_note: Callable[[str], None] | None = None,
        retry_seconds: float = RETRY_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._engine = engine
        self._study_id = study_id
        self._study_uuid = study_uuid
        self._path = path
        self._on_note = on_note or (lambda _text: None)
        self._retry_seconds = retry_seconds
        self._attempts = max(1, round(patience_seconds / retry_seconds))
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._blocked = threading.Event()
        self._waits_since: float | None = None
        self._abandon = threading.Event()
        self._thread = threading.Thread(target=self._run, name="puffer-sweep-writer", daemon=True)
        self._thread.start()

    @property
    def blocked(self) -> bool:
        """Whether the database is keeping us waiting now."""
        return self._blocked.is_set()

    @property
    def num_waiting(self) -> int:
        """Writes that nobody has begun yet."""
        return self._queue.qsize()

    def waiting_seconds(self) -> float:
        """How long the transaction has taken that is under way; 0 if none is."""
        since = self._waits_since
        return 0.0 if since is None else time.monotonic() - since

    def catch_up(self, most_seconds: float) -> None:
        """Wait for a writer that has far too much to do, unless the database keeps it; not longer than so many seconds.

        Raises:
            SweepError: an earlier write has failed for good.
        """
        if self.num_waiting >= LARGEST_BATCH and not self.blocked:
            with contextlib.suppress(TimeoutError):
                self.ask(lambda _connection: None).result(most_seconds)

    def put(self, write: Write) -> None:
        """Write soon.

        Raises:
            SweepError: an earlier write has failed for good.
        """
        self.check()
        self._queue.put(_Item(write, None))

    def between(self, action: Callable[[], None]) -> None:
        """Do something in the writer's thread between two transactions, behind everything that is waiting."""
        self.check()
        self._queue.put(_Item(None, None, action))

    def call(self, write: Write) -> Any:
        """Write, behind everything that is waiting, and hand back what `write` returns.

        Raises:
            SweepError: it could not be written.
        """
        return self.ask(write).result()

    def ask(self, write: Write) -> Future[Any]:
        """The same without waiting: the future holds what `write` returns, or the SweepError.

        Raises:
            SweepError: an earlier write has failed for good.
        """
        self.check()
        future: Future[Any] = Future()
        self._queue.put(_Item(write, future))
        return future

    def flush(self) -> None:
        """Wait until everything is written."""
        self.call(lambda _connection: None)

    def check(self) -> None:
        """Raise what has stopped the writer, if anything has.

        Raises:
            SweepError: a write has failed for good.
        """
        if self._failure is not None:
            raise self._failure

    def close(self, *, abandon: bool = False) -> None:
        """Write what is waiting (unless it shall be abandoned) and end. May be called twice."""
        if abandon:
            self._abandon.set()
        if self._thread.is_alive():
            self._queue.put(None)
            # A database that somebody else holds lets go of a thread after its timeout only: it ends with the process.
            self._thread.join(ABANDON_SECONDS if abandon else None)

    def _run(self) -> None:
        ending = False
        while not ending:
            batch, ending = self._gather()
            if not batch:
                continue
            if self._failure is None:
                try:
                    self._waits_since = time.monotonic()
                    self._commit_patiently(batch)
                    self._waits_since = None
                    if (action := batch[-1].action) is not None:
                        action()
                    continue
                except BaseException as error:  # noqa: BLE001 - carried to the loop, which raises it
                    self._failure = error
                    self._waits_since = None
            for item in batch:
                if item.future is not None and not item.future.done():
                    item.future.set_exception(self._failure)

    def _gather(self) -> tuple[list[_Item], bool]:
        item = self._queue.get()
        batch: list[_Item] = []
        deadline = time.monotonic() + GATHER_SECONDS
        while item is not None:
            batch.append(item)
            # Whoever waits gets an answer at once; a failure is told to the one whose write it was.
            if item.future is not None or item.action is not None or len(batch) >= LARGEST_BATCH:
                return batch, False
            try:
                item = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return batch, False
        return batch, True

    def _commit_patiently(self, batch: list[_Item]) -> None:
        for attempt in range(1, self._attempts + 1):
            try:
                results = self._commit(batch)
            except OperationalError as error:
                if not self._can_pass(error) or attempt == self._attempts or self._abandon.is_set():
                    raise storage_error(error, self._path) from error
                if not self._blocked.is_set():
                    self._blocked.set()
                    self._on_note(f"{storage_error(error, self._path)} Waiting; nothing is lost.")
                self._abandon.wait(self._retry_seconds)
            except DatabaseError as error:
                raise storage_error(error, self._path) from error
            else:
                if self._blocked.is_set():
                    self._blocked.clear()
                    self._on_note("The database takes writes again.")
                for item, result in zip(batch, results, strict=True):
                    if item.future is not None:
                        item.future.set_result(result)
                return

    def _commit(self, batch: list[_Item]) -> list[Any]:
        with self._engine.begin() as connection:
            if self._path is not None:
                # A look takes no lock by itself in SQLite: the study could go between it and the first write.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            if not optuna_rows.study_is_there(connection, self._study_id, self._study_uuid):
                raise StudyGoneError("The study was deleted while the sweep was running.")
            return [None if item.write is None else item.write(connection) for item in batch]

    @staticmethod
    def _can_pass(error: OperationalError) -> bool:
        return not is_malformed(str(error.orig))
