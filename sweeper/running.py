"""A trial in a slot, and one that is on its way into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from sweeper.limits import Stopwatch
    from sweeper.records import CurvePoint
    from trainer.config import Config


@dataclass(slots=True)
class Running:
    """A trial in a slot.

    Attributes:
        slot: the lowest number that no other running trial has.
        config: what it was launched with.
        watch: how long it has run.
        pause_at: agent steps at which it shall pause; None for its full length.
        began_at: wall clock, seconds since the epoch.
        interrupted: whether it was told to pause because the sweep stops or waits.
        judged: whether the method has told it to pause. Where nobody has, the one that ran it had to leave.
        known: its whole curve so far, until it has begun.
    """

    slot: int
    config: Config
    watch: Stopwatch
    pause_at: int | None
    began_at: float
    interrupted: bool = False
    judged: bool = False
    known: Sequence[CurvePoint] = ()


@dataclass(frozen=True, slots=True)
class Resuming:
    """A trial that goes on as soon as the database has told its curve.

    Attributes:
        uuid: the trial.
        config: resolved, without its seed.
        pause_at: agent steps at which it shall pause; None for its full length.
        curve: the whole curve so far.
    """

    uuid: str
    config: Config
    pause_at: int | None
    curve: Future[list[CurvePoint]]
