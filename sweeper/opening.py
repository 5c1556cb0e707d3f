"""Opens a sitting of a sweep: recovers what an earlier one has left, and sums up what has come of one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sweeper.annotate import LiveAnnotations
from sweeper.asking import Asker
from sweeper.backups import Backups
from sweeper.disk import CheckpointQuota, DiskWatch
from sweeper.errands import catch_up
from sweeper.limits import Breaker, Budget, Stopwatch, best_of, furthest_of
from sweeper.listener import EndReason, SweepOutcome, SweepStart
from sweeper.oversight import Oversight
from sweeper.provenance import code_folder, git_commit, machine_facts, versions
from sweeper.recovery import recover
from sweeper.session import Session
from sweeper.video import Filming

if TYPE_CHECKING:
    from sweeper.assigning import Assigner
    from sweeper.interrupt import Interrupts
    from sweeper.launchers import Launcher
    from sweeper.loop import Sweep
    from sweeper.store import Store
    from sweeper.store.ledger import Ledger


def open_session(
    sweep: Sweep,
    store: Store,
    ledger: Ledger,
    launcher: Launcher,
    assigner: Assigner,
    interrupts: Interrupts,
) -> tuple[Session, Oversight]:
    """Recover what an earlier sitting has left, tell the listener, and make everything that turns."""
    keys, study = sweep.config.sweep, ledger.study
    extended_to = study.attributes().get("extended_to")
    budget = Budget(
        max_runs=max(keys.max_runs, int(extended_to or 0)),
        max_seconds=None if keys.max_hours is None else keys.max_hours * 3600.0,
        max_cost_seconds=keys.max_cost_seconds,
    )
    ledger.set_max_runs(budget.max_runs)
    ledger.describe(
        {
            "method": sweep.method.name,
            "pruner": keys.pruner,
            "command": sweep.command,
            "versions": versions(),
            "commit": git_commit(code_folder()),
            "machine": machine_facts(),
        }
    )
    folders = [study.folder] if study.path is None else [study.folder, study.path.parent]
    session = Session(
        config=sweep.config,
        space=sweep.space,
        ledger=ledger,
        launcher=launcher,
        method=sweep.method,
        asker=Asker(sweep.method),
        assigner=assigner,
        clock=sweep.clock,
        listener=sweep.listener,
        command=sweep.command,
        budget=budget,
        breaker=Breaker(keys.max_consecutive_failures),
        disk=DiskWatch(folders),
        quota=CheckpointQuota(keys.keep_checkpoints, keys.goal, study.trial_folder),
    )
    for note in (*store.notes, *sweep.space.notes, *sweep.method.notes):
        sweep.listener.on_note(note)
    session.waiting = recover(ledger, sweep.listener.on_note)
    catch_up(session)
    session.quota.seen(ledger.trials())
    elapsed = study.elapsed_seconds
    deadline = None if budget.max_seconds is None else sweep.clock.now() + budget.max_seconds - elapsed
    ledger.describe({"deadline": deadline})
    sweep.listener.on_sweep_started(
        SweepStart(
            study_name=study.name,
            storage=store.url,
            artifacts_folder=study.folder,
            metric=keys.metric,
            goal=keys.goal,
            slots=launcher.slots,
            max_runs=session.budget.max_runs,
            deadline=deadline,
            trials=tuple(ledger.trials()),
            backend=assigner.backend,
        )
    )
    watch = Stopwatch(sweep.clock.monotonic())
    backups = Backups(study.path, ledger.writer, ledger.num_ended(), sweep.listener.on_note)
    annotations = LiveAnnotations(study, sweep.space.written, ledger.writer.put)
    filming = Filming(study.trial_folder, sweep.listener.on_note, launcher.token) if keys.video else None
    return session, Oversight(session, interrupts, watch, elapsed, backups, annotations, filming)


def outcome_of(ledger: Ledger, reason: EndReason, elapsed_seconds: float) -> SweepOutcome:
    """What a sweep has come to."""
    trials, study = ledger.trials(), ledger.study
    return SweepOutcome(
        reason=reason,
        best=best_of(trials, study.spec.goal),
        counts=dict(Counter(trial.state for trial in trials)),
        study_name=study.name,
        artifacts_folder=study.folder,
        elapsed_seconds=elapsed_seconds,
        furthest=furthest_of(trials, study.spec.goal),
    )
