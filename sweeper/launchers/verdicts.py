"""Verdicts on their way to the one trial that a worker runs."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeper.records import Verdict


class Verdicts:
    """A letter box that one thread fills and another empties."""

    def __init__(self) -> None:
        self._letters: queue.SimpleQueue[tuple[str, Verdict]] = queue.SimpleQueue()
        self._uuid = ""

    def begin(self, uuid: str) -> None:
        """From now on verdicts are for this trial; those for an earlier one are dropped."""
        self._uuid = uuid

    def put(self, uuid: str, verdict: Verdict) -> None:
        """Hand in a verdict; from any thread."""
        self._letters.put((uuid, verdict))

    def get(self, *, wait: bool) -> Verdict | None:
        """The next verdict for the running trial; None if there is none (and `wait` is off)."""
        while True:
            try:
                uuid, verdict = self._letters.get(block=wait)
            except queue.Empty:
                return None
            if uuid == self._uuid:
                return verdict
