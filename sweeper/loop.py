"""Sweep.run: ask → launch → judge → tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sweeper.clock import Clock
    from sweeper.launchers import Launcher
    from sweeper.records import Reported, Trial, TrialState
    from trainer.config import Config


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
    """

    reason: EndReason
    best: Trial | None
    counts: Mapping[TrialState, int]
    study_name: str
    artifacts_folder: Path
    elapsed_seconds: float


@dataclass(frozen=True, slots=True)
class SweepStart:
    """What a listener is told first.

    Attributes:
        goal: `maximize` or `minimize`.
        trials: those already in the study.
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
        """Something a person should know, as one sentence."""

    def on_sweep_finished(self, outcome: SweepOutcome) -> None:
        """The sweep is over."""


class Sweep:
    """One sweep over one study.

    Args:
        config: as loaded, not yet resolved; its `[sweep]` section says everything else.
        storage_url: a SQLite path or an SQLAlchemy URL.
        study_name: a plain name; made from environment and config where None.
        artifacts_folder: under which the study's folder lies; None for the folder of a SQLite database,
            or `studies`.
        launcher: None for the one that the config asks for.
        clock: None for the system's.
        listener: None for nobody.
        command: the command line as typed, kept with each trial.
    """

    def __init__(
        self,
        config: Config,
        storage_url: str | Path,
        study_name: str | None = None,
        artifacts_folder: Path | None = None,
        *,
        launcher: Launcher | None = None,
        clock: Clock | None = None,
        listener: SweepListener | None = None,
        command: tuple[str, ...] = (),
    ) -> None:
        raise NotImplementedError

    def run(self) -> SweepOutcome:
        """Run until a budget is used up, the space is exhausted or somebody stops it.

        Raises:
            SweepError: see sweeper/errors.py.
        """
        raise NotImplementedError
