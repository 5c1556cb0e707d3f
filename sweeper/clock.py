"""Time, handed in wherever it matters, so that a night passes in a second when a test wants it to."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings of time; both in seconds."""

    def now(self) -> float:
        """Wall clock since the epoch: for people and for the study. It may jump."""

    def monotonic(self) -> float:
        """Never goes backwards: for limits and durations."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Wall clock since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some fixed moment, suspended time not counted on Linux."""
        return time.monotonic()


class VirtualClock:
    """A clock that goes only when it is told to.

    Args:
        start: the wall clock's first reading.
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._wall = start
        self._monotonic = 0.0

    def now(self) -> float:
        """Wall clock since the epoch."""
        return self._wall

    def monotonic(self) -> float:
        """Seconds advanced so far."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            ValueError: for a negative duration.
        """
        if seconds < 0:
            raise ValueError(f"time cannot pass backwards: {seconds}")
        self._wall += seconds
        self._monotonic += seconds

    def set_wall(self, now: float) -> None:
        """Set the wall clock, forwards or back, as an administrator or NTP does; durations do not notice."""
        self._wall = now
