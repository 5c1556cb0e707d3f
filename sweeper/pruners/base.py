"""What every pruner owes: verdicts on running trials, promotions of paused ones, from snapshots alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sweeper.records import Resume, Trial, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence


class Pruner(Protocol):
    """Judges trials. Pure: the same snapshots bring the same answer, in any order of calls.

    `can_prune` is False for the one that lets everything run, which is all that several objectives allow
    where there is no first one to go by.
    """

    name: str

    def first_pause(self, number: int, total_steps: int) -> int | None:
        """Agent steps at which trial `number` of `total_steps` pauses first; None for no pause."""
        ...

    def judge(self, trial: Trial, trials: Sequence[Trial]) -> Verdict:
        """What shall become of a running trial that has just reported."""
        ...

    def promote(self, trials: Sequence[Trial]) -> Resume | None:
        """A paused trial that has earned to go on, and how far; None if there is none now."""
        ...


class JudgingPruner:
    """Base of the pruners that stop trials for good and never pause one."""

    name = "none"

    def first_pause(self, number: int, total_steps: int) -> int | None:  # noqa: ARG002
        """See `Pruner.first_pause`."""
        return None

    def judge(self, trial: Trial, trials: Sequence[Trial]) -> Verdict:  # noqa: ARG002
        """See `Pruner.judge`."""
        return Verdict.CONTINUE

    def promote(self, trials: Sequence[Trial]) -> Resume | None:
        """Goes on with whatever another pruner has paused before the user changed to this one."""
        for trial in sorted(trials, key=lambda t: t.number):
            if trial.state.value == "paused":
                return Resume(trial.uuid)
        return None
