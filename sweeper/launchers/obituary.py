"""The last word about a trial whose worker can no longer say it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweeper.folder import log_tail, newest_checkpoint
from sweeper.records import Assignment, Ending, Finished, Reported

if TYPE_CHECKING:
    from trainer.errors import FailureKind


def obituary(
    assignment: Assignment, last: Reported | None, kind: FailureKind, message: str, last_words: str = ""
) -> Finished:
    """A failure told from outside.

    Args:
        assignment: what was running.
        last: what was last heard of it.
        kind: why it ended.
        message: the same for people.
        last_words: what the worker has printed, where the trial has no log.
    """
    return Finished(
        uuid=assignment.uuid,
        ending=Ending.FAILED,
        score=None,
        agent_steps=last.agent_steps if last else 0,
        cost_seconds=last.cost_seconds if last else 0.0,
        checkpoint=newest_checkpoint(assignment.folder),
        failure_kind=kind,
        failure_message=message,
        log_tail=log_tail(assignment.folder) or last_words,
    )
