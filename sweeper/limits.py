"""When a sweep, or a trial, has had enough."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeper.errors import SweepAbortedError
from sweeper.listener import EndReason
from sweeper.records import Trial, TrialState
from trainer.errors import FailureKind

if TYPE_CHECKING:
    from collections.abc import Sequence

RETRYABLE = frozenset(
    {
        FailureKind.ENVIRONMENT,
        FailureKind.OUT_OF_MEMORY,
        FailureKind.OUT_OF_DEVICE_MEMORY,
        FailureKind.CHECKPOINT,
        FailureKind.HANG,
        FailureKind.WORKER_LOST,
    }
)
"""Failures that may not happen again: those of the machine and the environment, not those of the configuration."""

MAX_INFEASIBLE_IN_A_ROW = 200

LONGEST_GAP_SECONDS = 5.0
"""A longer gap between two looks at a stopwatch means that this process itself stood still."""


def best_of(trials: Sequence[Trial], goal: str) -> Trial | None:
    """The complete trial of the best score; the earlier one among equals."""
    sign = -1.0 if goal == "minimize" else 1.0
    complete = [t for t in trials if t.state is TrialState.COMPLETE and t.score is not None]
    return max(complete, key=lambda t: (sign * (t.score or 0.0), -t.number), default=None)


def furthest_of(trials: Sequence[Trial], goal: str) -> Trial | None:
    """The trial with a score that has trained the largest share of its steps; the better one among equals."""
    sign = -1.0 if goal == "minimize" else 1.0
    scored = [t for t in trials if t.score is not None and t.total_agent_steps and t.failure_kind is None]
    return max(
        scored,
        key=lambda t: (t.agent_steps / t.total_agent_steps, sign * (t.score or 0.0), -t.number),
        default=None,
    )


@dataclass(slots=True)
class Budget:
    """What a study may use in all.

    Attributes:
        max_runs: configurations; None for no limit.
        max_seconds: wall clock, over all continuations.
        max_cost_seconds: training time of all trials together.
    """

    max_runs: int | None = None
    max_seconds: float | None = None
    max_cost_seconds: float | None = None

    def runs_are_used_up(self, started: int) -> bool:
        """Whether no further configuration may be started."""
        return self.max_runs is not None and started >= self.max_runs

    def used_up(self, elapsed_seconds: float, cost_seconds: float) -> EndReason | None:
        """Which limit, other than that of runs, has been reached."""
        if self.max_seconds is not None and elapsed_seconds >= self.max_seconds:
            return EndReason.HOURS
        if self.max_cost_seconds is not None and cost_seconds >= self.max_cost_seconds:
            return EndReason.COST
        return None


def num_started(trials: Sequence[Trial]) -> int:
    """Configurations that count: all but infeasible samples and failures that were tried again as another trial."""
    return sum(
        trial.state is not TrialState.INFEASIBLE and "retried_as" not in trial.attributes for trial in trials
    )


def num_finalists(started: int) -> int:
    """Trials that shall have run their full length before a sweep ends for lack of runs: ⌈√started⌉.

    Promotion is sparing while new configurations can still be started; once there are none, slots would stand idle,
    and a leader that has only been seen half-way is no result.
    """
    return math.isqrt(max(started - 1, 0)) + 1 if started else 0


class Breaker:
    """Ends a sweep after too many failures of the same kind in a row, or samples that are all infeasible.

    Args:
        max_failures: how many in a row.
    """

    def __init__(self, max_failures: int) -> None:
        self._max_failures = max_failures
        self._failures = 0
        self._kind: FailureKind | None = None
        self._first = ""
        self._infeasible = 0

    def succeeded(self) -> None:
        """A trial has ended well."""
        self._failures = 0

    def failed(self, kind: FailureKind, message: str, detail: str) -> None:
        """A trial has failed for good.

        Raises:
            SweepAbortedError: once too often, with the first failure's message and traceback.
        """
        if kind is not self._kind:
            self._kind, self._failures = kind, 0
        if self._failures == 0:
            self._first = f"{message}\n{detail}".strip()
        self._failures += 1
        if self._failures >= self._max_failures:
            raise SweepAbortedError(
                f"{self._failures} trials in a row have failed in the same way ({kind.value}). The first one said: "
                f"{self._first}",
                rule="sweep.max_consecutive_failures ends a sweep that would only fail on.",
                remedy="Mend the cause, then `puffer-sweep retry` and the same command run the failed trials again.",
            )

    def feasible(self) -> None:
        """A sample could be run."""
        self._infeasible = 0

    def infeasible(self, reason: str) -> None:
        """A sample could not.

        Raises:
            SweepAbortedError: nothing but such samples for long.
        """
        self._infeasible += 1
        if self._infeasible >= MAX_INFEASIBLE_IN_A_ROW:
            raise SweepAbortedError(
                f"{self._infeasible} samples in a row do not make a config that can run. The last one: {reason}",
                remedy="Narrow the search space; `puffer-sweep check` shows the share of valid samples.",
            )


class Stopwatch:
    """Seconds of running, without those in which this process stood still (SIGSTOP, a closed laptop)."""

    def __init__(self, monotonic: float) -> None:
        self._last = monotonic
        self.seconds = 0.0

    def look(self, monotonic: float) -> float:
        """Seconds so far."""
        gap = monotonic - self._last
        self._last = monotonic
        self.seconds += gap if gap <= LONGEST_GAP_SECONDS else 0.0
        return self.seconds
