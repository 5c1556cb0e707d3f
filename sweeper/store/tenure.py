"""The time for which one process holds a study's lock: signs of life, hours that count, and giving it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import update

from sweeper.errors import StudyLockedError
from sweeper.store import lock
from sweeper.store.tables import STUDIES

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from sweeper.clock import Clock
    from sweeper.store.study import StoredStudy
    from sweeper.store.writer import Write


class Tenure:
    """The lock of a study, taken.

    Args:
        study: the study.
        clock: the sweep's.
        holder: who takes it; None for this process.

    Raises:
        StudyLockedError: another process holds it.
    """

    def __init__(self, study: StoredStudy, clock: Clock, holder: lock.Holder | None = None) -> None:
        self._uuid, self._name = study.uuid, study.name
        self._clock = clock
        with study.engine.begin() as connection:
            self._token = lock.take_lock(
                connection, study.uuid, study.name, holder or lock.this_process(), clock
            )
        self._beaten_at = self._counted_at = clock.monotonic()

    def is_due(self) -> bool:
        """Whether it is time for a sign of life."""
        return self._clock.monotonic() - self._beaten_at >= lock.BEAT_INTERVAL_SECONDS

    def beat(self) -> Write:
        """What writes a sign of life and the time since the last one; raises StudyLockedError if the lock is lost."""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        more = monotonic - self._counted_at
        self._beaten_at = self._counted_at = monotonic

        def write(connection: Connection) -> None:
            if not lock.beat(connection, self._uuid, self._token, now):
                raise StudyLockedError(f"Another process has taken over study {self._name!r}.")
            mine = update(STUDIES).where(STUDIES.c.uuid == self._uuid)
            connection.execute(mine.values(elapsed_seconds=STUDIES.c.elapsed_seconds + more, changed_at=now))

        return write

    def give_back(self, connection: Connection) -> None:
        """Give the lock back."""
        lock.give_back(connection, self._uuid, self._token)
