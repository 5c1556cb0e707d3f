"""One sitting of a sweep: what is running, what comes next, and what becomes of it. `Sweep.run` turns the wheel."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sweeper.folder import write_folder
from sweeper.limits import RETRYABLE, Breaker, Budget, Stopwatch
from sweeper.listener import EndReason, SweepOutcome, SweepStart
from sweeper.provenance import code_folder, git_commit, machine_facts, versions
from sweeper.records import (
    Assignment,
    Ending,
    Event,
    Finished,
    Reported,
    Resume,
    Start,
    Started,
    Trial,
    TrialState,
    Verdict,
)
from sweeper.recovery import recover
from sweeper.store.ledger import scored
from sweeper.store.records import CurvePoint, RequestKind
from sweeper.store.writer import StudyGoneError
from trainer.config import dump_config
from trainer.errors import FailureKind, InfeasibleConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sweeper.assigning import Assigner
    from sweeper.clock import Clock
    from sweeper.interrupt import Interrupts
    from sweeper.launchers import Launcher
    from sweeper.listener import SweepListener
    from sweeper.methods import Method
    from sweeper.space import SearchSpace
    from sweeper.store import Store
    from sweeper.store.ledger import Ledger
    from trainer.config import Config

PATIENCE_SECONDS = 0.5
REQUESTS_INTERVAL_SECONDS = 1.0


@dataclass(slots=True)
class _Running:
    """A trial in a slot."""

    watch: Stopwatch
    pause_at: int | None
    asked_to_pause: bool = False


@dataclass(kw_only=True, slots=True)
class Session:
    """The state of a running sweep. Made, opened, turned and closed by `Sweep.run`.

    Attributes:
        budget: what the study may use in all; `extend` changes it.
        running: trials in slots, by uuid.
        waiting: trials to be launched before the method is asked: interrupted ones, retries.
    """

    config: Config
    space: SearchSpace
    store: Store
    ledger: Ledger
    launcher: Launcher
    method: Method
    assigner: Assigner
    clock: Clock
    listener: SweepListener
    interrupts: Interrupts
    command: str
    budget: Budget = field(default_factory=Budget)
    running: dict[str, _Running] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    _breaker: Breaker = field(init=False)
    _watch: Stopwatch = field(init=False)
    _began_at: float = field(init=False)
    _elapsed_before: float = 0.0
    _requests_at: float = 0.0
    _ending: EndReason | None = None
    _exhausted: bool = False

    def open(self) -> None:
        """Recover what an earlier sitting has left, and tell the listener."""
        sweep = self.config.sweep
        study = self.ledger.study
        self._breaker = Breaker(sweep.max_consecutive_failures)
        self._began_at = self.clock.monotonic()
        self._watch = Stopwatch(self._began_at)
        self._elapsed_before = study.elapsed_seconds
        stored = study.max_runs
        self.budget = Budget(
            max_runs=max(sweep.max_runs, stored or 0),
            max_seconds=None if sweep.max_hours is None else sweep.max_hours * 3600.0,
            max_cost_seconds=sweep.max_cost_seconds,
        )
        self.ledger.set_max_runs(self.budget.max_runs)
        self.ledger.describe(
            {
                "method": self.method.name,
                "pruner": sweep.pruner,
                "command": self.command,
                "versions": versions(),
                "commit": git_commit(code_folder()),
                "machine": machine_facts(),
            }
        )
        for note in (*self.store.notes, *self.space.notes, *self.method.notes):
            self.listener.on_note(note)
        self.waiting = recover(self.ledger, self.listener.on_note)
        deadline = None
        if self.budget.max_seconds is not None:
            deadline = self.clock.now() + self.budget.max_seconds - self._elapsed_before
        self.listener.on_sweep_started(
            SweepStart(
                study_name=study.name,
                storage=self.store.url,
                artifacts_folder=study.folder,
                metric=sweep.metric,
                goal=sweep.goal,
                slots=self.launcher.slots,
                max_runs=self.budget.max_runs,
                deadline=deadline,
                trials=tuple(self.ledger.trials()),
            )
        )

    def reason_to_end(self) -> EndReason | None:
        """Why the sweep is over, once nothing runs any more; None while it goes on."""
        if self.running:
            return None
        if self._ending is not None:
            return self._ending
        if self.waiting:
            return None
        if self._exhausted:
            return EndReason.EXHAUSTED
        if self._runs_are_used_up() and not self._has_promotion():
            return EndReason.RUNS
        return None

    def patience_seconds(self) -> float:
        """How long to wait for events before looking around."""
        return PATIENCE_SECONDS

    # --- ask and launch ------------------------------------------------------------------------------------------

    def fill_slots(self) -> None:
        """Give every free slot something to do, as long as there is something."""
        while self._ending is None and self.launcher.free_slots() > 0:
            if self.waiting:
                self._relaunch(self.waiting.pop(0), pause_at=None)
                continue
            if self._runs_are_used_up() and not self.ledger.in_state(TrialState.PAUSED):
                return
            decision = self.method.next(self.ledger.trials())
            if decision is None:
                self._exhausted = not self.running
                return
            if isinstance(decision, Resume):
                self._relaunch(decision.uuid, pause_at=decision.pause_at_steps)
            elif self._runs_are_used_up():
                return
            else:
                self._start(decision)

    def _start(self, start: Start) -> None:
        try:
            config = self.assigner.resolve(start.values)
        except InfeasibleConfigError as error:
            self._note_infeasible(start, error.paragraph())
            return
        self._breaker.feasible()
        num_threads = self.launcher.num_threads
        trial = self.ledger.add(
            start.values,
            distributions=self.space.distributions(),
            describe=lambda number: self._attributes(config, number, start.source, num_threads),
            total_agent_steps=config.train.total_timesteps,
        )
        self._launch(trial, config, start.pause_at_steps, resume=False)

    def _relaunch(self, uuid: str, *, pause_at: int | None) -> None:
        """Go on with a trial that is in the study already: paused, interrupted, or to be tried again."""
        trial = self.ledger.trial(uuid)
        try:
            config = self.assigner.resolve(trial.values)
        except InfeasibleConfigError as error:
            self.ledger.change(
                uuid, TrialState.FAILED, failure_kind=FailureKind.CONFIG, failure_message=error.paragraph()
            )
            return
        trial = self.ledger.change(uuid, TrialState.RUNNING)
        self._launch(trial, config, pause_at, resume=True)

    def _launch(self, trial: Trial, config: Config, pause_at: int | None, *, resume: bool) -> None:
        from sweeper.folder import newest_checkpoint

        num_threads = int(str(trial.attributes.get("num_threads", self.launcher.num_threads)))
        config = self.assigner.seeded(config, trial.number, swept=trial.values, num_threads=num_threads)
        folder = self.ledger.study.trial_folder(trial.number)
        write_folder(folder, dump_config(config), self.command)
        checkpoint = newest_checkpoint(folder) if resume else None
        earlier = tuple(scored(self.ledger.curve(trial.uuid))) if checkpoint is not None else ()
        self.running[trial.uuid] = _Running(Stopwatch(self.clock.monotonic()), pause_at)
        self.launcher.launch(
            Assignment(
                uuid=trial.uuid,
                number=trial.number,
                config=config,
                folder=folder,
                num_threads=num_threads,
                resume_from=checkpoint,
                earlier=earlier,
                pause_at=pause_at,
            )
        )
        self.listener.on_started(trial)

    def _attributes(self, config: Config, number: int, source: str, num_threads: int) -> Mapping[str, object]:
        seeded = self.assigner.seeded(config, number, swept={}, num_threads=num_threads)
        return {
            "source": source,
            "seed": seeded.train.seed,
            "num_threads": num_threads,
            "commit": git_commit(code_folder()),
            "started_at": self.clock.now(),
            "host": machine_facts()["host"],
            "attempts": 1,
        }

    def _note_infeasible(self, start: Start, reason: str) -> None:
        trial = self.ledger.add(
            start.values,
            distributions=self.space.distributions(),
            describe=lambda _number: {"source": start.source},
            state=TrialState.INFEASIBLE,
            failure_kind=FailureKind.CONFIG,
            failure_message=reason,
        )
        self.listener.on_finished(trial)
        self._breaker.infeasible(reason)

    # --- judge and tell ------------------------------------------------------------------------------------------

    def take(self, event: Event) -> None:
        """Take in what a worker says."""
        run = self.running.get(event.uuid)
        if run is None:
            return
        if isinstance(event, Started):
            self.ledger.begin_run(event.uuid, event.agent_steps)
        elif isinstance(event, Reported):
            self._report(event, run)
        else:
            del self.running[event.uuid]
            self._finish(event, run)

    def _report(self, event: Reported, run: _Running) -> None:
        point = CurvePoint(event.agent_steps, event.cost_seconds, event.score, event.metrics)
        trial, _ = self.ledger.report(event.uuid, point)
        self.listener.on_reported(trial, event)
        if event.wants_verdict:
            self.launcher.answer(event.uuid, self._judge(trial, run))

    def _judge(self, trial: Trial, run: _Running) -> Verdict:
        if self._ending is not None:
            run.asked_to_pause = True
            return Verdict.PAUSE
        verdict = self.method.judge(trial, self.ledger.trials())
        if verdict is Verdict.CONTINUE and run.pause_at is not None and trial.agent_steps >= run.pause_at:
            return Verdict.PAUSE
        return verdict

    def _finish(self, event: Finished, run: _Running) -> None:
        if event.ending is Ending.FAILED:
            self._fail(event)
            return
        trial = self.ledger.trial(event.uuid)
        facts = {
            **event.facts,
            **({"evaluation": dict(event.evaluation)} if event.evaluation is not None else {}),
            "finished_at": self.clock.now(),
        }
        spent = {"cost_seconds": event.cost_seconds, "agent_steps": event.agent_steps}
        if event.ending is Ending.COMPLETE:
            if event.score is None or not math.isfinite(event.score):
                self._fail(_not_finite(event))
                return
            trial = self.ledger.change(
                event.uuid, TrialState.COMPLETE, score=event.score, attributes=facts, **spent
            )
            self._breaker.succeeded()
        elif event.ending is Ending.STOPPED:
            trial = self.ledger.change(event.uuid, TrialState.PRUNED, attributes=facts, **spent)
            self._breaker.succeeded()
        elif run.asked_to_pause and (run.pause_at is None or trial.agent_steps < run.pause_at):
            trial = self.ledger.change(event.uuid, TrialState.QUEUED, **spent)
        else:
            trial = self.ledger.change(event.uuid, TrialState.PAUSED, **spent)
            self._breaker.succeeded()
        self.listener.on_finished(trial)

    def _fail(self, event: Finished) -> None:
        trial = self.ledger.trial(event.uuid)
        kind = event.failure_kind or FailureKind.CRASH
        attempts = int(str(trial.attributes.get("attempts", 1)))
        if self._ending is not None and kind in RETRYABLE:
            trial = self.ledger.change(event.uuid, TrialState.QUEUED)
            self.listener.on_finished(trial)
            return
        if kind in RETRYABLE and attempts <= self.config.sweep.retries:
            self.ledger.change(
                event.uuid,
                TrialState.QUEUED,
                attributes={"attempts": attempts + 1, "last_failure": kind.value},
            )
            self.waiting.append(event.uuid)
            self.listener.on_note(f"Trial {trial.number} is tried again: {event.failure_message}")
            return
        detail = event.traceback or event.log_tail
        trial = self.ledger.change(
            event.uuid,
            TrialState.FAILED,
            failure_kind=kind,
            failure_message=event.failure_message,
            attributes={"log_tail": event.log_tail, "finished_at": self.clock.now()},
        )
        self.listener.on_finished(trial)
        self._breaker.failed(kind, event.failure_message, detail)

    # --- look around ---------------------------------------------------------------------------------------------

    def look_around(self) -> None:
        """Enforce limits, hear requests, keep the ledger moving."""
        self.ledger.tick()
        self._watch_trials()
        if self.interrupts.stop_now:
            self._end(EndReason.INTERRUPTED)
            for uuid in list(self.running):
                self.launcher.kill(uuid, FailureKind.WORKER_LOST, "The sweep was told to stop at once.")
        elif self.interrupts.stop:
            self._end(EndReason.INTERRUPTED)
        elapsed = self._elapsed_before + self._watch.look(self.clock.monotonic())
        cost = math.fsum(trial.cost_seconds for trial in self.ledger.trials())
        used_up = self.budget.used_up(elapsed, cost)
        if used_up is not None:
            self._end(used_up)
        self._hear_requests()

    def _watch_trials(self) -> None:
        timeout, hang = self.config.sweep.trial_timeout, self.config.sweep.hang_timeout
        now = self.clock.monotonic()
        for uuid, run in list(self.running.items()):
            seconds = run.watch.look(now)
            if timeout is not None and seconds > timeout:
                message = f"The trial took more than {timeout:g} seconds (sweep.trial_timeout)."
                self.launcher.kill(uuid, FailureKind.TIMEOUT, message)
            elif self.launcher.silent_seconds(uuid) > hang:
                message = f"The trial gave no sign of life for {hang:g} seconds (sweep.hang_timeout)."
                self.launcher.kill(uuid, FailureKind.HANG, message)

    def _end(self, reason: EndReason) -> None:
        """Start nothing more; running trials finish their epoch, write a checkpoint and can be continued."""
        if self._ending is not None:
            return
        self._ending = reason
        for uuid, run in self.running.items():
            run.asked_to_pause = True
            self.launcher.answer(uuid, Verdict.PAUSE)

    def _hear_requests(self) -> None:
        now = self.clock.monotonic()
        if now - self._requests_at < REQUESTS_INTERVAL_SECONDS and self._requests_at:
            return
        self._requests_at = now
        for request in self.ledger.requests():
            if request.kind is RequestKind.STOP:
                self._end(EndReason.STOPPED)
                self.ledger.answer(request, "The sweep stops; running trials can be continued.")

    def _runs_are_used_up(self) -> bool:
        left = self.budget.runs_left(self.ledger.trials())
        return left is not None and left <= 0

    def _has_promotion(self) -> bool:
        if not self.ledger.in_state(TrialState.PAUSED):
            return False
        return isinstance(self.method.next(self.ledger.trials()), Resume)

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self, reason: EndReason) -> SweepOutcome:
        """End well: everything is written, the lock is given back."""
        outcome = self._outcome(reason)
        self.ledger.close()
        self.listener.on_sweep_finished(outcome)
        return outcome

    def abandon(self, error: BaseException) -> None:
        """End badly: what was running can be continued, if the study is still there."""
        gone = isinstance(error, StudyGoneError)
        self.launcher.close()
        if not gone:
            for uuid in self.running:
                self.ledger.change(uuid, TrialState.QUEUED)
        self.ledger.close(abandon=gone)

    def _outcome(self, reason: EndReason) -> SweepOutcome:
        trials = self.ledger.trials()
        counts: dict[TrialState, int] = {}
        for trial in trials:
            counts[trial.state] = counts.get(trial.state, 0) + 1
        study = self.ledger.study
        return SweepOutcome(
            reason=reason,
            best=_best(trials, study.spec.goals[0]),
            counts=counts,
            study_name=study.name,
            artifacts_folder=study.folder,
            elapsed_seconds=self.clock.monotonic() - self._began_at,
        )


def _best(trials: list[Trial], goal: str) -> Trial | None:
    sign = -1.0 if goal == "minimize" else 1.0
    complete = [t for t in trials if t.state is TrialState.COMPLETE and t.score is not None]
    return max(complete, key=lambda t: (sign * (t.score or 0.0), -t.number), default=None)


def _not_finite(event: Finished) -> Finished:
    from dataclasses import replace

    return replace(
        event,
        ending=Ending.FAILED,
        failure_kind=FailureKind.NOT_FINITE,
        failure_message=f"The trial's score is {event.score}.",
    )
