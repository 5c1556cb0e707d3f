"""What becomes of a trial that has ended: its state, another attempt, or a failure that counts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from sweeper.limits import RETRYABLE
from sweeper.records import Ending, Finished, Trial, TrialState
from trainer.errors import FailureKind

if TYPE_CHECKING:
    from sweeper.running import Running
    from sweeper.session import Session


def finish(session: Session, event: Finished, run: Running) -> Trial:
    """Keep what has become of a trial.

    Args:
        session: in which it ran; it is no longer among the running ones.
        event: its last word.
        run: how it ran.

    Raises:
        SweepAbortedError: too many trials in a row have failed in the same way.
    """
    if event.ending is Ending.COMPLETE and (event.score is None or not math.isfinite(event.score)):
        event = replace(
            event,
            ending=Ending.FAILED,
            failure_kind=FailureKind.NOT_FINITE,
            failure_message=f"The trial's score is {event.score}.",
        )
    if event.ending is Ending.FAILED:
        return _fail(session, event, run)
    uuid, cost, steps = event.uuid, event.cost_seconds, event.agent_steps
    if event.ending is Ending.PAUSED:
        unasked = run.interrupted or not run.judged
        between = unasked and (run.pause_at is None or steps < run.pause_at)
        state = TrialState.QUEUED if between else TrialState.PAUSED
        if between and session.ending is None:
            session.waiting.append(uuid)
        trial = session.ledger.change(uuid, state, cost_seconds=cost, agent_steps=steps)
        session.quota.paused(trial)
        return trial
    facts: dict[str, object] = {
        **event.facts,
        "finished_at": session.clock.now(),
        "slot": run.slot,
    }
    if event.evaluation is not None:
        facts["evaluation"] = dict(event.evaluation)
    score = event.score if event.ending is Ending.COMPLETE else session.ledger.trial(uuid).score
    state = TrialState.COMPLETE if event.ending is Ending.COMPLETE else TrialState.PRUNED
    trial = session.ledger.change(
        uuid, state, attributes=facts, score=score, cost_seconds=cost, agent_steps=steps
    )
    session.breaker.succeeded()
    session.quota.finished(trial)
    return trial


def _fail(session: Session, event: Finished, run: Running) -> Trial:
    """A failure is an outcome; some kinds are worth another attempt, from the last checkpoint."""
    uuid, kind = event.uuid, event.failure_kind or FailureKind.CRASH
    trial = session.ledger.trial(uuid)
    attempts = int(str(trial.attributes.get("attempts", 1)))
    retryable = kind in RETRYABLE
    if retryable and session.disk.is_full():
        session.hold(session.disk.sentence())
        run.interrupted = True
    if retryable and run.interrupted:
        # Not the trial's fault: it is continued, and that does not count as an attempt.
        if session.ending is None:
            session.waiting.append(uuid)
        return session.ledger.change(uuid, TrialState.QUEUED)
    if retryable and attempts <= session.config.sweep.retries and session.ending is None:
        session.waiting.append(uuid)
        session.listener.on_note(f"Trial {trial.number} is tried again: {event.failure_message}")
        return session.ledger.change(
            uuid,
            TrialState.QUEUED,
            attributes={
                "attempts": attempts + 1,
                "last_failure": f"{kind.value}: {event.failure_message}",
            },
        )
    trial = session.ledger.change(
        uuid,
        TrialState.FAILED,
        failure_kind=kind,
        failure_message=event.failure_message,
        attributes={"log_tail": event.log_tail, "finished_at": session.clock.now(), "slot": run.slot},
    )
    session.quota.finished(trial)
    session.breaker.failed(kind, event.failure_message, event.traceback or event.log_tail)
    return trial
