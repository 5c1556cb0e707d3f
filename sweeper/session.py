"""One sitting of a sweep: what is running, what comes next, and what becomes of it. `Sweep.run` turns the wheel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sweeper.assigning import describe_trial
from sweeper.endings import finish
from sweeper.folder import CONFIG_FILE, newest_checkpoint, write_folder, write_text
from sweeper.limits import Breaker, Budget, Stopwatch, num_finalists
from sweeper.listener import EndReason
from sweeper.records import (
    Assignment,
    CurvePoint,
    Event,
    Reported,
    Resume,
    Start,
    Started,
    Trial,
    TrialState,
    Verdict,
)
from sweeper.recovery import fill_in
from sweeper.running import Resuming, Running
from sweeper.store.attributes import scored
from trainer.config import dump_config
from trainer.errors import FailureKind, InfeasibleConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweeper.asking import Asker
    from sweeper.assigning import Assigner
    from sweeper.clock import Clock
    from sweeper.disk import CheckpointQuota, DiskWatch
    from sweeper.launchers import Launcher
    from sweeper.listener import SweepListener
    from sweeper.methods import Method
    from sweeper.space import SearchSpace
    from sweeper.store.ledger import Ledger
    from trainer.config import Config

CURVE_PATIENCE_SECONDS = 0.25
"""How long the loop waits for a curve; it comes back for it where somebody else holds the database."""


@dataclass(kw_only=True, slots=True)
class Session:
    """The state of a running sweep.

    Attributes:
        budget: what the study may use in all; `extend` changes it.
        running: trials in slots, by uuid.
        resuming: trials that take their slots as soon as the database has told their curves.
        waiting: trials to be launched before the method is asked: interrupted ones, retries.
        ending: why nothing new is started any more; None while things go on.
        held: why nothing is started for the moment; empty if nothing is in the way.
        exhausted: whether the method has nothing left to try.
        delete_folders: with the study, when somebody has asked to delete it.
    """

    config: Config
    space: SearchSpace
    ledger: Ledger
    launcher: Launcher
    method: Method
    asker: Asker
    assigner: Assigner
    clock: Clock
    listener: SweepListener
    command: str
    budget: Budget
    breaker: Breaker
    disk: DiskWatch
    quota: CheckpointQuota
    running: dict[str, Running] = field(default_factory=dict)
    resuming: list[Resuming] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    ending: EndReason | None = None
    held: str = ""
    exhausted: bool = False
    delete_folders: bool = False

    def reason_to_end(self) -> EndReason | None:
        """Why the sweep is over, now that nothing runs any more; None while it goes on."""
        if self.running or self.resuming:
            return None
        if self.ending is not None:
            return self.ending
        if self.waiting or self.held:
            return None
        if self.exhausted:
            return EndReason.RUNS if self.runs_are_used_up() else EndReason.EXHAUSTED
        return None

    # --- ask and launch ------------------------------------------------------------------------------------------

    def fill_slots(self) -> None:
        """Give every free slot something to do, as long as there is something."""
        self.exhausted = False
        self._launch_resuming()
        while self._may_start():
            if self.waiting:
                self._relaunch(Resume(self.waiting.pop(0)))
                continue
            decision = self._decide()
            if decision is None:
                self.exhausted = not self.running and not self.resuming
                break
            if isinstance(decision, Resume):
                self._relaunch(decision)
            else:
                self._start(decision)
        self.asker.think_ahead(self.ledger.trials, wanted=self._wants_more())

    def _may_start(self) -> bool:
        if self.ending is not None or self.held or self.ledger.is_behind():
            return False
        return self.launcher.free_slots() > len(self.resuming)

    def _decide(self) -> Start | Resume | None:
        trials = self.ledger.trials()
        if not self.runs_are_used_up():
            return self.asker.next(trials)
        if not any(trial.state is TrialState.PAUSED for trial in trials):
            return None
        decision = self.method.next(trials)
        if isinstance(decision, Resume):
            return decision
        return self._last_word(trials)

    def _last_word(self, trials: list[Trial]) -> Resume | None:
        """When the runs are used up, the finals: the best paused trials run their full length."""
        complete = sum(trial.state is TrialState.COMPLETE for trial in trials)
        complete += sum(run.pause_at is None for run in self.running.values())
        complete += sum(resuming.pause_at is None for resuming in self.resuming)
        if complete >= num_finalists(self.ledger.num_started()):
            return None
        paused = [trial for trial in trials if trial.state is TrialState.PAUSED]
        best = self.method.best(paused)
        return Resume(best.uuid) if best is not None else None

    def _wants_more(self) -> bool:
        return self.ending is None and not self.held and not self.waiting and not self.runs_are_used_up()

    def runs_are_used_up(self) -> bool:
        """Whether no further configuration may be started."""
        return self.budget.runs_are_used_up(self.ledger.num_started())

    def _start(self, start: Start) -> None:
        try:
            config = self.assigner.resolve(start.values)
        except InfeasibleConfigError as error:
            self._note_infeasible(start, error.paragraph())
            return
        self.breaker.feasible()
        num_threads = self.launcher.num_threads
        trial = self.ledger.add(
            start.values,
            distributions=self.space.distributions(),
            describe=lambda number: {
                **describe_trial(start.source, self.config.sweep.seed, number, num_threads, self.clock.now()),
                "device": config.train.device,
            },
            total_agent_steps=config.train.total_timesteps,
        )
        self._launch(trial, config, start.pause_at_steps, None)

    def _relaunch(self, resume: Resume) -> None:
        """Go on with a trial that is in the study already: paused, interrupted, or to be tried again."""
        trial = self.ledger.trial(resume.uuid)
        try:
            config = self.assigner.resolve(trial.values)
        except InfeasibleConfigError as error:
            trial = self.ledger.change(
                trial.uuid,
                TrialState.FAILED,
                failure_kind=FailureKind.CONFIG,
                failure_message=error.paragraph(),
            )
            self.listener.on_finished(trial)
            return
        trial = self.ledger.change(
            trial.uuid, TrialState.RUNNING, total_agent_steps=config.train.total_timesteps
        )
        curve = self.ledger.ask_for_curve(trial.uuid)
        curve.add_done_callback(lambda _curve: self.launcher.wake())
        self.resuming.append(Resuming(trial.uuid, config, resume.pause_at_steps, curve))
        self._launch_resuming()

    def _launch_resuming(self) -> None:
        """Launch what the database has told the curves of. A locked one holds up these trials and nothing else."""
        patience = 0.0 if self.ledger.is_behind() else CURVE_PATIENCE_SECONDS
        while self.resuming:
            first = self.resuming[0]
            try:
                known = first.curve.result(patience)
            except TimeoutError:
                return
            self.resuming.pop(0)
            whole = fill_in(self.ledger, self.ledger.trial(first.uuid), known)
            self._launch(self.ledger.trial(first.uuid), first.config, first.pause_at, whole)

    def _launch(
        self, trial: Trial, config: Config, pause_at: int | None, known: Sequence[CurvePoint] | None
    ) -> None:
        """Launch a trial for which a slot is free; `known` is the curve of one that goes on."""
        resume = known is not None
        num_threads = int(str(trial.attributes.get("num_threads", self.launcher.num_threads)))
        config = self.assigner.seeded(config, trial.number, swept=trial.values, num_threads=num_threads)
        if resume:
            config = config.override({"train.restarts": _restarts(trial)}, origin="sweep")
        folder = self.ledger.study.trial_folder(trial.number)
        try:
            write_folder(folder, dump_config(config), self.command, trial.uuid)
        except OSError as error:
            self.ledger.change(trial.uuid, TrialState.QUEUED)
            self.waiting.append(trial.uuid)
            self.hold(f"{folder} cannot be written: {error.strerror or error}.")
            return
        checkpoint = newest_checkpoint(folder) if resume else None
        earlier = tuple(scored(known or ())) if checkpoint is not None else ()
        slot = min(set(range(len(self.running) + 1)) - {run.slot for run in self.running.values()})
        self.running[trial.uuid] = Running(
            slot, config, Stopwatch(self.clock.monotonic()), pause_at, self.clock.now(), known=known or ()
        )
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
                num_slots=self.launcher.slots,
            )
        )
        self.listener.on_started(trial)

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
        self.breaker.infeasible(reason)

    # --- judge and tell ------------------------------------------------------------------------------------------

    def take(self, event: Event) -> None:
        """Take in what a worker says."""
        run = self.running.get(event.uuid)
        if run is None:
            return
        if isinstance(event, Started):
            self._begin(event, run)
        elif isinstance(event, Reported):
            self._report(event, run)
        else:
            del self.running[event.uuid]
            self._note_run(event.uuid, run)
            trial = finish(self, event, run)
            self.listener.on_finished(trial)

    def _begin(self, event: Started, run: Running) -> None:
        """A run that goes on from a checkpoint may begin new episodes there: its config says so from now on."""
        trial = self.ledger.begin_run(event.uuid, event.agent_steps, run.known)
        run.known = ()
        restarts = [epoch for epoch in _restarts(trial) if epoch < event.epoch]
        if event.epoch:
            restarts.append(event.epoch)
        if restarts != _restarts(trial):
            trial = self.ledger.change(trial.uuid, trial.state, attributes={"restarts": restarts})
            folder = self.ledger.study.trial_folder(trial.number)
            config = run.config.override({"train.restarts": restarts}, origin="sweep")
            try:
                write_text(folder / CONFIG_FILE, dump_config(config))
            except OSError as error:
                self.hold(f"{folder} cannot be written: {error.strerror or error}.")

    def _note_run(self, uuid: str, run: Running) -> None:
        """Keep where and when a trial ran: one that pauses and goes on has several runs."""
        trial = self.ledger.trial(uuid)
        known = trial.attributes.get("runs")
        runs = [*(known if isinstance(known, list) else ()), [run.slot, run.began_at, self.clock.now()]]
        self.ledger.change(uuid, trial.state, attributes={"runs": runs})

    def _report(self, event: Reported, run: Running) -> None:
        point = CurvePoint(event.agent_steps, event.cost_seconds, event.score, event.metrics)
        trial, _ = self.ledger.report(event.uuid, point)
        if event.wants_verdict:
            self.launcher.answer(event.uuid, self._judge(trial, run))
        self.listener.on_reported(trial, event)

    def _judge(self, trial: Trial, run: Running) -> Verdict:
        if run.interrupted:
            return Verdict.PAUSE
        verdict = self.method.judge(trial, self.ledger.trials())
        is_due = run.pause_at is not None and trial.agent_steps >= run.pause_at
        if verdict is Verdict.CONTINUE and is_due and trial.curve:
            verdict = Verdict.PAUSE
        run.judged = verdict is Verdict.PAUSE
        return verdict

    # --- stop and go ---------------------------------------------------------------------------------------------

    def end(self, reason: EndReason) -> None:
        """Start nothing more; running trials finish their epoch, write a checkpoint and can be continued."""
        if self.ending is None:
            self.ending = reason
            self._put_back()
            self._interrupt_all()

    def end_now(self, reason: EndReason) -> None:
        """End what is running at once; it can be continued from its last checkpoint."""
        self.end(reason)
        for uuid in list(self.running):
            self.launcher.kill(uuid, FailureKind.WORKER_LOST, "The sweep was told to stop at once.")

    def hold(self, why: str) -> None:
        """Wait until what is in the way has gone; running trials write a checkpoint and pause."""
        if not self.held:
            self.held = why
            self.listener.on_note(f"{why} The sweep waits until there is room again; nothing is lost.")
            self.waiting[:0] = self._put_back()
            self._interrupt_all()

    def go_on(self) -> None:
        """What was in the way has gone."""
        if self.held:
            self.held = ""
            self.listener.on_note("There is room again; the sweep goes on.")

    def _put_back(self) -> list[str]:
        """Trials that were on their way into a slot stay in the queue; their uuids."""
        uuids = [resuming.uuid for resuming in self.resuming]
        self.resuming.clear()
        for uuid in uuids:
            self.ledger.change(uuid, TrialState.QUEUED)
        return uuids

    def _interrupt_all(self) -> None:
        for uuid, run in self.running.items():
            run.interrupted = True
            self.launcher.answer(uuid, Verdict.PAUSE)


def _restarts(trial: Trial) -> list[int]:
    """Epochs from whose checkpoints a trial has gone on."""
    epochs = trial.attributes.get("restarts", ())
    return [int(epoch) for epoch in epochs] if isinstance(epochs, list) else []
