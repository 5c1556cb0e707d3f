"""Trains the leaders of a study again with fresh seeds, through the same workers, and ranks them by their mean.

Every leader gets the same seeds, none of which a trial of the sweep has had. Scores are kept with the study as they
come in, so that an interrupted confirmation goes on where it stopped.
"""

from __future__ import annotations

from collections import deque
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sweeper.assigning import Assigner
from sweeper.errors import SweepError
from sweeper.export import study_config
from sweeper.folder import write_folder
from sweeper.interrupt import Interrupts
from sweeper.launchers.make import make_launcher
from sweeper.provenance import command_text
from sweeper.records import Assignment, Ending, Finished, Reported, TrialState, Verdict
from sweeper.repeats import ATTRIBUTE, Repeat, read_repeats
from sweeper.seeds import trial_seed
from sweeper.setup import process_token
from sweeper.store.ledger import Ledger
from trainer.config import dump_config
from trainer.errors import FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sweeper.clock import Clock
    from sweeper.launchers import Launcher
    from sweeper.records import Event, Trial
    from sweeper.store import StoredStudy
    from trainer.config import Config

FIRST_REPEAT_NUMBER = 20_000
"""Seeds of repeats are those of trials from this number on, which no sweep reaches."""

PATIENCE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Repetition:
    """One run to be made: a leader with one seed."""

    trial: Trial
    seed: int
    index: int


def repeat_seeds(sweep_seed: int, count: int) -> list[int]:
    """The first so many seeds of repeats."""
    return [trial_seed(sweep_seed, FIRST_REPEAT_NUMBER + index) for index in range(count)]


def leaders_of(study: StoredStudy, top: int) -> list[Trial]:
    """The best complete trials, best first.

    Raises:
        SweepError: no trial is complete yet.
    """
    complete = [
        trial for trial in study.trials() if trial.state is TrialState.COMPLETE and trial.score is not None
    ]
    if not complete:
        raise SweepError(f"Study {study.name!r} has no complete trial yet, so there is nothing to confirm.")
    return sorted(complete, key=lambda trial: (-study.spec.sign * (trial.score or 0.0), trial.number))[:top]


def confirm_study(
    study: StoredStudy,
    storage: str | Path,
    clock: Clock,
    *,
    top: int,
    seeds: int,
    on_note: Callable[[str], None],
    launcher: Launcher | None = None,
    interrupts: Interrupts | None = None,
) -> tuple[Repeat, ...]:
    """Trains the best `top` trials with `seeds` fresh seeds each.

    Args:
        study: no other process may run it.
        storage: where it lies.
        clock: the wall clock.
        top: how many leaders.
        seeds: how many runs each.
        on_note: told one sentence about each run that ends.
        launcher: None for the one that the study's config asks for; it is closed at the end.
        interrupts: who listens already for Ctrl-C; None to listen here.

    Raises:
        StudyLockedError: another process runs the study.
        SweepError: no trial is complete yet.
    """
    leaders = leaders_of(study, top)
    config = study_config(study)
    wanted = repeat_seeds(config.sweep.seed, seeds)
    ledger = Ledger(study, clock, cost=config.sweep.cost)
    try:
        launcher = launcher or make_launcher(config, token=process_token(storage, study.name), clock=clock)
        with nullcontext(interrupts) if interrupts is not None else Interrupts(launcher.wake) as heard:
            try:
                run = _Confirmation(study, ledger, launcher, config, on_note)
                run.plan(leaders, wanted)
                run.work(heard)
            finally:
                launcher.close()
    finally:
        ledger.close()
    return read_repeats(study.attributes(), sign=study.spec.sign)


class _Confirmation:
    def __init__(
        self,
        study: StoredStudy,
        ledger: Ledger,
        launcher: Launcher,
        config: Config,
        on_note: Callable[[str], None],
    ) -> None:
        self._study = study
        self._ledger = ledger
        self._launcher = launcher
        self._config = config
        self._on_note = on_note
        self._assigner = Assigner(config, launcher, launcher.survey(config))
        kept = study.attributes().get(ATTRIBUTE) or {}
        self._scores: dict[str, dict[str, float]] = {number: dict(found) for number, found in kept.items()}
        self._waiting: deque[Repetition] = deque()
        self._running: dict[str, Repetition] = {}

    def plan(self, leaders: list[Trial], seeds: list[int]) -> None:
        """Queues what is not known yet, seed by seed: every leader once before any twice."""
        for index, seed in enumerate(seeds):
            for trial in leaders:
                if str(seed) not in self._scores.get(str(trial.number), {}):
                    self._waiting.append(Repetition(trial, seed, index))
        if self._waiting:
            self._on_note(f"{len(self._waiting)} runs to make for {len(leaders)} configurations.")

    def work(self, interrupts: Interrupts) -> None:
        """Runs what is queued; after an interrupt only what has ended is kept."""
        while (self._waiting or self._running) and not interrupts.stop:
            while self._waiting and self._launcher.free_slots() > 0:
                self._launch(self._waiting.popleft())
            for event in self._launcher.events(PATIENCE_SECONDS):
                self._take(event)
            for uuid in list(self._running):
                silent = self._launcher.silent_seconds(uuid)
                if silent > self._config.sweep.hang_timeout:
                    self._launcher.kill(uuid, FailureKind.HANG, f"No sign of life for {silent:.0f} s.")
            self._ledger.tick()

    def _launch(self, repetition: Repetition) -> None:
        trial = repetition.trial
        settings: dict[str, Any] = {
            "train.seed": repetition.seed,
            "vec.seed": repetition.seed,
            "train.restarts": (),
        }
        if self._config.train.num_threads == "auto":
            settings["train.num_threads"] = self._launcher.num_threads
        config = self._assigner.resolve(trial.values).override(settings, origin="sweep")
        folder = self._study.trial_folder(trial.number) / f"repeat-{repetition.index:02d}"
        write_folder(folder, dump_config(config), command_text())
        uuid = str(uuid4())
        self._running[uuid] = repetition
        self._launcher.launch(
            Assignment(
                uuid=uuid,
                number=trial.number,
                config=config,
                folder=folder,
                num_threads=self._launcher.num_threads,
            )
        )

    def _take(self, event: Event) -> None:
        if event.uuid not in self._running:
            return
        if isinstance(event, Reported) and event.wants_verdict:
            self._launcher.answer(event.uuid, Verdict.CONTINUE)
        if not isinstance(event, Finished):
            return
        repetition = self._running.pop(event.uuid)
        number = repetition.trial.number
        if event.ending is not Ending.COMPLETE or event.score is None:
            self._on_note(f"trial {number}, repeat {repetition.index + 1} failed: {event.failure_message}")
            return
        self._scores.setdefault(str(number), {})[str(repetition.seed)] = event.score
        self._ledger.describe({ATTRIBUTE: self._scores})
        left = len(self._waiting) + len(self._running)
        self._on_note(f"trial {number}, repeat {repetition.index + 1}: {event.score:.6g}; {left} to go")
