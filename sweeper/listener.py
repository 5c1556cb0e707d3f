"""What a sweep tells those who look on, and what it comes to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sweeper.records import Reported, Trial, TrialState
    from sweeper.repeats import Repeat


class EndReason(StrEnum):
    """Why a sweep ended, when it ended well."""

    RUNS = "runs"
    HOURS = "hours"
    COST = "cost"
    EXHAUSTED = "exhausted"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class SweepOutcome:
    """What `Sweep.run` returns.

    Attributes:
        reason: why it ended.
        best: the best complete trial of the study, None while there is none.
        counts: trials of the study by state.
        study_name: the study.
        artifacts_folder: the study's folder.
        elapsed_seconds: of this call.
        repeats: what `[sweep] confirm_top` found, best mean first; empty where it was not asked for.
        furthest: the trial that has come furthest, which leads while none is complete.
    """

    reason: EndReason
    best: Trial | None
    counts: Mapping[TrialState, int]
    study_name: str
    artifacts_folder: Path
    elapsed_seconds: float
    repeats: tuple[Repeat, ...] = ()
    furthest: Trial | None = None


UNHURRIED = (EndReason.RUNS, EndReason.HOURS, EndReason.COST, EndReason.EXHAUSTED)
"""Reasons after which there is time for what belongs to the end of a sweep: a film, a confirmation."""


@dataclass(frozen=True, slots=True)
class SweepStart:
    """What a listener is told first.

    Attributes:
        goal: `maximize` or `minimize`.
        trials: those already in the study.
        backend: what the environments run on, which `auto` leaves open; empty where nobody knows.
        max_runs: the budget, None where there is none.
        deadline: wall clock, seconds since the epoch; None where there is none.
    """

    study_name: str
    storage: str
    artifacts_folder: Path
    metric: str
    goal: str
    slots: int
    max_runs: int | None
    deadline: float | None
    trials: tuple[Trial, ...]
    backend: str = ""


class SweepListener(Protocol):
    """Who looks on. Called from the loop's thread: quick, and never raising."""

    def on_sweep_started(self, start: SweepStart) -> None:
        """Slots are there and the study is open."""

    def on_started(self, trial: Trial) -> None:
        """A trial has been launched, for the first time or again."""

    def on_reported(self, trial: Trial, report: Reported) -> None:
        """An epoch of a running trial."""

    def on_finished(self, trial: Trial) -> None:
        """A trial has ended or paused: see its state."""

    def on_note(self, text: str) -> None:
        """Something a person should know, as one sentence. May come from another thread: the one that writes."""

    def on_sweep_finished(self, outcome: SweepOutcome) -> None:
        """The sweep is over."""


class Silence:
    """A listener that does nothing."""

    def on_sweep_started(self, start: SweepStart) -> None:
        """See `SweepListener.on_sweep_started`."""

    def on_started(self, trial: Trial) -> None:
        """See `SweepListener.on_started`."""

    def on_reported(self, trial: Trial, report: Reported) -> None:
        """See `SweepListener.on_reported`."""

    def on_finished(self, trial: Trial) -> None:
        """See `SweepListener.on_finished`."""

    def on_note(self, text: str) -> None:
        """See `SweepListener.on_note`."""

    def on_sweep_finished(self, outcome: SweepOutcome) -> None:
        """See `SweepListener.on_sweep_finished`."""
