"""What the loop looks after between events: limits, signals, requests, the disk, the ledger."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sweeper.errands import carry_out
from sweeper.limits import best_of
from sweeper.listener import EndReason
from trainer.errors import FailureKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sweeper.annotate import LiveAnnotations
    from sweeper.backups import Backups
    from sweeper.interrupt import Interrupts
    from sweeper.limits import Stopwatch
    from sweeper.session import Session
    from sweeper.store.records import Request
    from sweeper.video import Filming

TRIALS_INTERVAL_SECONDS = 0.25
REQUESTS_INTERVAL_SECONDS = 1.0
DISK_INTERVAL_SECONDS = 5.0
NOTES_INTERVAL_SECONDS = 30.0


@dataclass(slots=True)
class Oversight:
    """Looks around, often and cheaply.

    Attributes:
        session: what is looked after.
        interrupts: Ctrl-C and its kin.
        watch: how long this sitting has run.
        elapsed_before: how long earlier sittings have.
        backups: of the database, now and then.
        annotations: notes and artifacts for the dashboard.
        filming: of the best trial; None where nobody wants films.
    """

    session: Session
    interrupts: Interrupts
    watch: Stopwatch
    elapsed_before: float
    backups: Backups
    annotations: LiveAnnotations
    filming: Filming | None = None
    _watched_at: float = field(default=-math.inf)
    _heard_at: float = field(default=-math.inf)
    _measured_at: float = field(default=-math.inf)
    _described_at: float = field(default=-math.inf)

    def heed(self) -> None:
        """See to whatever forbids to begin anything more: Ctrl-C and its kin, a budget that is used up."""
        session = self.session
        if self.interrupts.stop_now:
            session.end_now(EndReason.INTERRUPTED)
        elif self.interrupts.stop and session.ending is None:
            session.end(EndReason.INTERRUPTED)
            if session.running:
                session.listener.on_note(
                    "Stopping: running trials finish their epoch and write a checkpoint; once more ends them at once."
                )
        self._watch_budget()

    def look_around(self) -> None:
        """Enforce limits, hear requests, keep the ledger moving.

        Raises:
            SweepError: the study is gone, its lock is lost, or the database refuses.
        """
        session = self.session
        session.ledger.tick()
        now = session.clock.monotonic()
        # Not at every event: sixty-four workers tell of hundreds of epochs a second, and each look is at all of them.
        if now - self._watched_at >= TRIALS_INTERVAL_SECONDS:
            self._watched_at = now
            self._watch_trials(now)
        if now - self._heard_at >= REQUESTS_INTERVAL_SECONDS:
            self._heard_at = now
            self._see_to(session.ledger.inbox.hear())
        if now - self._measured_at >= DISK_INTERVAL_SECONDS:
            self._measured_at = now
            self._watch_disk()
            self.backups.look(session.ledger.num_ended(), held=bool(session.held))
            if self.filming is not None and not session.held:
                self.filming.look(best_of(session.ledger.trials(), session.config.sweep.goal))
        if now - self._described_at >= NOTES_INTERVAL_SECONDS and not session.held:
            self._described_at = now
            self.annotations.look(session.ledger.trials())

    def hear_the_last(self) -> None:
        """See to what was asked in the last moment, now that nothing runs any more: it may give more to do."""
        self._see_to(self.session.ledger.inbox.read())

    def film_the_best(self, *, in_a_hurry: bool) -> None:
        """At the end of a sweep: its best trial is filmed, unless the sweep was stopped or cut short."""
        if self.filming is None:
            return
        if in_a_hurry or self.session.held:
            self.filming.close()
            return
        best = best_of(self.session.ledger.trials(), self.session.config.sweep.goal)
        self.filming.finish(best, lambda: self.interrupts.stop)

    def close(self) -> None:
        """End what goes on beside the sweep."""
        if self.filming is not None:
            self.filming.close()

    def _see_to(self, requests: Iterable[Request]) -> None:
        inbox = self.session.ledger.inbox
        for request in requests:
            inbox.answer(request, carry_out(self.session, request))

    def _watch_trials(self, now: float) -> None:
        session, sweep = self.session, self.session.config.sweep
        for uuid, run in list(session.running.items()):
            seconds = run.watch.look(now)
            if sweep.trial_timeout is not None and seconds > sweep.trial_timeout:
                message = f"The trial took more than {sweep.trial_timeout:g} seconds (sweep.trial_timeout)."
                session.launcher.kill(uuid, FailureKind.TIMEOUT, message)
            elif session.launcher.silent_seconds(uuid) > sweep.hang_timeout:
                message = f"The trial gave no sign of life for {sweep.hang_timeout:g} s (sweep.hang_timeout)."
                session.launcher.kill(uuid, FailureKind.HANG, message)

    def _watch_budget(self) -> None:
        session = self.session
        elapsed = self.elapsed_before + self.watch.look(session.clock.monotonic())
        reason = session.budget.used_up(elapsed, session.ledger.cost_seconds())
        if reason is not None:
            session.end(reason)

    def _watch_disk(self) -> None:
        session = self.session
        if session.held:
            if session.disk.has_room():
                session.go_on()
        elif session.disk.is_full():
            session.hold(session.disk.sentence())
