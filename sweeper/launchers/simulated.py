"""Trials that only pretend to run, on a virtual clock: a night of sixty-four workers in seconds, for tests."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sweeper.folder import CurveFile, newest_checkpoint
from sweeper.records import (
    Assignment,
    CurvePoint,
    Ending,
    Event,
    Finished,
    Observation,
    Reported,
    Started,
    Verdict,
)
from sweeper.score import Thinner, final_score
from sweeper.trial import Survey
from trainer.records import EnvironmentFacts

if TYPE_CHECKING:
    from pathlib import Path

    from sweeper.clock import VirtualClock
    from trainer.config import Config
    from trainer.errors import FailureKind


@dataclass(frozen=True, slots=True)
class Epoch:
    """An epoch of a pretended run.

    Attributes:
        agent_steps: at its end.
        seconds: it takes; infinite for a hang.
        score: None where no episode ends.
        failure: how the run fails at its end, if it does.
        metrics: beside the score.
    """

    agent_steps: int
    seconds: float
    score: float | None
    failure: FailureKind | None = None
    metrics: dict[str, float] = field(default_factory=dict)


Behaviour = Callable[[Assignment], Iterable[Epoch]]
"""A whole run from its beginning, as a function of the assignment; a resumed one leaves out what it has done."""


@dataclass(slots=True)
class PretendedRun:
    """One run of one assignment, epoch by epoch. Used by the simulated launcher and by tests' workers."""

    assignment: Assignment
    epochs: Iterator[Epoch]
    number: int = 0
    agent_steps: int = 0
    cost_seconds: float = 0.0
    curve: list[Observation] = field(default_factory=list)
    thinner: Thinner = field(default_factory=lambda: Thinner(1))
    file: CurveFile | None = None
    pause_asked: bool = False
    _kept: int = 0

    @classmethod
    def begin(cls, assignment: Assignment, behave: Behaviour) -> PretendedRun:
        """Begin, or go on from the checkpoint that the assignment names."""
        checkpoint = newest_checkpoint(assignment.folder) if assignment.resume_from is not None else None
        steps, cost = (0, 0.0) if checkpoint is None else read_checkpoint(checkpoint)
        done, rest = 0, []
        for epoch in behave(assignment):
            if epoch.agent_steps <= steps:
                done += 1
            else:
                rest.append(epoch)
        curve = [point for point in assignment.earlier if point.agent_steps <= steps]
        thinner, _ = Thinner.after(curve, assignment.config.train.total_timesteps)
        file = CurveFile(assignment.folder, steps)
        return cls(assignment, iter(rest), done, steps, cost, curve, thinner, file, _kept=done)

    def take(self, epoch: Epoch) -> Reported:
        """Live through an epoch and leave a checkpoint where one is due; what a worker would report of it."""
        assignment, total = self.assignment, self.assignment.config.train.total_timesteps
        self.number += 1
        self.agent_steps = epoch.agent_steps
        self.cost_seconds += epoch.seconds
        if epoch.score is not None:
            self.curve.append(Observation(self.agent_steps, self.cost_seconds, epoch.score))
        if self.file is not None:
            self.file.add(CurvePoint(self.agent_steps, self.cost_seconds, epoch.score, epoch.metrics))
        if self.number % assignment.config.train.checkpoint_interval == 0:
            self._leave_checkpoint()
        observation = self.thinner.add(self.agent_steps, self.cost_seconds, epoch.score)
        wants_verdict = self.agent_steps < total and (observation is not None or self._reaches_pause())
        return Reported(
            uuid=assignment.uuid,
            epoch=self.number,
            agent_steps=self.agent_steps,
            total_agent_steps=total,
            cost_seconds=self.cost_seconds,
            steps_per_second=self.agent_steps / self.cost_seconds if self.cost_seconds else 0.0,
            score=epoch.score,
            metrics=epoch.metrics,
            wants_verdict=wants_verdict,
        )

    def finished(self, ending: Ending, kind: FailureKind | None = None, message: str = "") -> Finished:
        """The last word; but for a failure, it leaves a checkpoint."""
        if self.file is not None:
            self.file.close()
        if ending is not Ending.FAILED:
            self._leave_checkpoint()
        config = self.assignment.config
        complete = ending is Ending.COMPLETE
        score = (
            final_score(config.sweep.score_rule, self.curve, config.train.total_timesteps)
            if complete
            else None
        )
        return Finished(
            uuid=self.assignment.uuid,
            ending=ending,
            score=0.0 if complete and score is None else score,
            agent_steps=self.agent_steps,
            cost_seconds=self.cost_seconds,
            checkpoint=newest_checkpoint(self.assignment.folder),
            failure_kind=kind,
            failure_message=message or ("" if kind is None else f"Pretended: {kind.value}."),
        )

    def _leave_checkpoint(self) -> None:
        if self.number != self._kept:
            write_checkpoint(self.assignment.folder, self.number, self.agent_steps, self.cost_seconds)
            self._kept = self.number

    def _reaches_pause(self) -> bool:
        pause_at = self.assignment.pause_at
        if self.pause_asked or pause_at is None or self.agent_steps < pause_at or not self.curve:
            return False
        self.pause_asked = True
        return True


def write_checkpoint(folder: Path, epoch: int, agent_steps: int, cost_seconds: float) -> None:
    """Leave a pretended checkpoint; only the newest stays."""
    places = folder / "checkpoints"
    places.mkdir(parents=True, exist_ok=True)
    path = places / f"epoch-{epoch:08d}.pt"
    partial = places / ".writing"
    partial.write_text(f"{agent_steps} {cost_seconds!r}", encoding="ascii")
    partial.replace(path)
    for old in places.glob("epoch-*.pt"):
        if old != path:
            old.unlink()


def read_checkpoint(path: Path) -> tuple[int, float]:
    """Agent steps and seconds of a pretended checkpoint."""
    steps, cost = path.read_text(encoding="ascii").split()
    return int(steps), float(cost)


class SimulatedLauncher:
    """Pretends to run trials in virtual time.

    Args:
        num_slots: trials side by side.
        clock: advanced by `events`.
        behave: what a run does.
        survey: what a survey finds.
    """

    token = "simulated"  # noqa: S105 - a mark, not a secret
    num_threads = 1

    def __init__(
        self, num_slots: int, clock: VirtualClock, behave: Behaviour, survey: Survey | None = None
    ) -> None:
        self.slots = num_slots
        self.closed = False
        self._clock = clock
        self._behave = behave
        self._survey = survey or Survey(EnvironmentFacts(), cuda_available=False)
        self._runs: dict[str, PretendedRun] = {}
        self._signs: dict[str, float] = {}
        self._asked: dict[str, Verdict] = {}
        self._blocked: set[str] = set()
        self._agenda: list[tuple[float, int, str, Epoch | None]] = []
        self._count = itertools.count()
        self._ready: list[Event] = []

    def free_slots(self) -> int:
        """See `Launcher.free_slots`."""
        return self.slots - len(self._runs)

    def survey(self, config: Config) -> Survey:
        """See `Launcher.survey`."""
        del config
        return self._survey

    def launch(self, assignment: Assignment) -> None:
        """See `Launcher.launch`."""
        if self.free_slots() <= 0:
            raise RuntimeError("no slot is free")
        assignment.folder.mkdir(parents=True, exist_ok=True)
        run = PretendedRun.begin(assignment, self._behave)
        self._runs[assignment.uuid] = run
        self._signs[assignment.uuid] = self._clock.monotonic()
        self._ready.append(Started(assignment.uuid, 0, run.agent_steps, run.number))
        self._plan_next(assignment.uuid)

    def answer(self, uuid: str, verdict: Verdict) -> None:
        """See `Launcher.answer`."""
        if uuid not in self._runs:
            return
        if uuid in self._blocked:
            self._blocked.discard(uuid)
            self._obey(uuid, verdict)
        elif verdict is not Verdict.CONTINUE:
            self._asked[uuid] = verdict

    def events(self, timeout_seconds: float) -> list[Event]:
        """See `Launcher.events`. Time passes here, and only here."""
        if not self._ready:
            deadline = self._clock.monotonic() + timeout_seconds
            if self._agenda and self._agenda[0][0] <= deadline:
                moment, _, uuid, epoch = heapq.heappop(self._agenda)
                self._clock.advance(max(0.0, moment - self._clock.monotonic()))
                self._live(uuid, epoch)
            else:
                self._clock.advance(timeout_seconds)
        ready, self._ready = self._ready, []
        for event in ready:
            if isinstance(event, Finished):
                self._runs.pop(event.uuid, None)
        return ready

    def silent_seconds(self, uuid: str) -> float:
        """See `Launcher.silent_seconds`."""
        return self._clock.monotonic() - self._signs.get(uuid, self._clock.monotonic())

    def kill(self, uuid: str, kind: FailureKind, message: str) -> None:
        """See `Launcher.kill`."""
        run = self._runs.get(uuid)
        if run is not None and not any(isinstance(e, Finished) and e.uuid == uuid for e in self._ready):
            self._end(uuid, run.finished(Ending.FAILED, kind, message))

    def wake(self) -> None:
        """See `Launcher.wake`: nobody ever waits here."""

    def close(self) -> None:
        """See `Launcher.close`."""
        for run in self._runs.values():
            run.finished(Ending.PAUSED)
        self._runs.clear()
        self._agenda.clear()
        self.closed = True

    def _plan_next(self, uuid: str) -> None:
        epoch = next(self._runs[uuid].epochs, None)
        seconds = 0.0 if epoch is None else epoch.seconds
        heapq.heappush(self._agenda, (self._clock.monotonic() + seconds, next(self._count), uuid, epoch))

    def _live(self, uuid: str, epoch: Epoch | None) -> None:
        run = self._runs.get(uuid)
        if run is None:
            return
        self._signs[uuid] = self._clock.monotonic()
        if epoch is None:
            self._end(uuid, run.finished(Ending.COMPLETE))
        elif epoch.failure is not None:
            self._end(uuid, run.finished(Ending.FAILED, epoch.failure))
        else:
            report = run.take(epoch)
            self._ready.append(report)
            if report.wants_verdict:
                self._blocked.add(uuid)
            else:
                self._obey(uuid, self._asked.pop(uuid, Verdict.CONTINUE))

    def _obey(self, uuid: str, verdict: Verdict) -> None:
        asked = self._asked.pop(uuid, Verdict.CONTINUE)
        verdict = asked if verdict is Verdict.CONTINUE else verdict
        run = self._runs[uuid]
        complete = run.agent_steps >= run.assignment.config.train.total_timesteps
        if verdict is Verdict.CONTINUE or complete:
            self._plan_next(uuid)
        else:
            self._end(uuid, run.finished(Ending.PAUSED if verdict is Verdict.PAUSE else Ending.STOPPED))

    def _end(self, uuid: str, finished: Finished) -> None:
        self._blocked.discard(uuid)
        self._asked.pop(uuid, None)
        self._agenda = [entry for entry in self._agenda if entry[2] != uuid]
        heapq.heapify(self._agenda)
        self._ready.append(finished)
