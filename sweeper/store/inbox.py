"""What other terminals ask of a study, as its lock holder reads and answers it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweeper.store.requests import answer_request, read_requests

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from sweeper.clock import Clock
    from sweeper.store.records import Request
    from sweeper.store.writer import Writer


class Inbox:
    """Open requests of one study.

    The writer's thread reads them, so that a database that somebody else has locked never holds up the loop.

    Args:
        writer: of the study.
        study_uuid: the study.
        clock: the sweep's.
    """

    def __init__(self, writer: Writer, study_uuid: str, clock: Clock) -> None:
        self._writer = writer
        self._study_uuid = study_uuid
        self._clock = clock
        self._heard: list[Request] = []
        self._listening = False
        # An answer may still be on its way to the database.
        self._answered: set[int] = set()

    def read(self) -> list[Request]:
        """Open requests in the order they came; waits for the database."""
        requests: list[Request] = self._writer.call(
            lambda connection: read_requests(connection, self._study_uuid)
        )
        return [request for request in requests if request.id not in self._answered]

    def hear(self) -> list[Request]:
        """Open requests as far as they have been read by now; they are read again for the next time."""
        heard, self._heard = self._heard, []
        if not self._listening:
            self._listening = True
            self._writer.put(self._listen)
        return [request for request in heard if request.id not in self._answered]

    def answer(self, request: Request, text: str) -> None:
        """Close a request with what came of it."""
        now = self._clock.now()
        self._answered.add(request.id)
        self._writer.put(lambda connection: answer_request(connection, request.id, text, now))

    def _listen(self, connection: Connection) -> None:
        self._heard = read_requests(connection, self._study_uuid)
        self._listening = False
