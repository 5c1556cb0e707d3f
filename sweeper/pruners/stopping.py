"""Pruners that stop a trial for good: median, percentile, patient, threshold and PufferLib's cost quantile.

Trials are compared at equal agent steps by their level there (the mean over the last tenth of the full
length). A trial that has not come that far, and any trial without a finite score, is left out of the
comparison.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweeper.pruners.base import JudgingPruner
from sweeper.records import Trial, TrialState, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweeper.samplers.base import Goal

NOT_COMPARED = (TrialState.FAILED, TrialState.INFEASIBLE)


@dataclass(frozen=True, slots=True)
class Warmup:
    """When a pruner may begin to judge.

    Attributes:
        num_trials: other trials that must have come as far.
        share: of the trial's full length that it runs in any case.
    """

    num_trials: int = 5
    share: float = 0.1

    def is_over(self, trial: Trial) -> bool:
        """Whether the trial has run its protected share."""
        return bool(trial.curve) and trial.agent_steps >= self.share * trial.total_agent_steps


class PercentilePruner(JudgingPruner):
    """Stops a trial whose best level so far is below a percentile of the others' levels at the same steps.

    Args:
        percentile: trials below this share of the others go, 0 to 100. The median pruner is 50.
    """

    def __init__(self, name: str, goal: Goal, percentile: float, warmup: Warmup = Warmup()) -> None:
        self.name = name
        self._goal = goal
        self._percentile = percentile
        self._warmup = warmup

    def judge(self, trial: Trial, trials: Sequence[Trial]) -> Verdict:
        """See `Pruner.judge`."""
        if not self._warmup.is_over(trial):
            return Verdict.CONTINUE
        others = levels_at(self._goal, trial, trials)
        best = best_level(self._goal, trial)
        if best is None or len(others) < max(self._warmup.num_trials, 1):
            return Verdict.CONTINUE
        return Verdict.STOP if best < np.percentile(others, self._percentile) else Verdict.CONTINUE


class ThresholdPruner(JudgingPruner):
    """Stops a trial that is worse than the quantile of all complete trials' scores after half its length.

    With `early_stop_quantile` unset it stops only trials whose score is not finite.
    """

    name = "threshold"

    def __init__(self, goal: Goal, quantile: float | None, warmup: Warmup = Warmup(share=0.5)) -> None:
        self._goal = goal
        self._quantile = quantile
        self._warmup = warmup

    def judge(self, trial: Trial, trials: Sequence[Trial]) -> Verdict:
        """See `Pruner.judge`."""
        if trial.curve and not math.isfinite(trial.curve[-1].score):
            return Verdict.STOP
        if self._quantile is None or not self._warmup.is_over(trial):
            return Verdict.CONTINUE
        scores = [worth[0] for t in trials if (worth := self._goal.worth(t)) is not None]
        best = best_level(self._goal, trial)
        if best is None or len(scores) < self._warmup.num_trials:
            return Verdict.CONTINUE
        return Verdict.STOP if best < np.quantile(scores, self._quantile) else Verdict.CONTINUE


class PatientPruner(JudgingPruner):
    """Stops a trial whose level has not improved for a share of its full length."""

    name = "patient"

    def __init__(self, goal: Goal, patience: float = 0.3) -> None:
        self._goal = goal
        self._patience = patience

    def judge(self, trial: Trial, trials: Sequence[Trial]) -> Verdict:  # noqa: ARG002
        """See `Pruner.judge`."""
        since = trial.agent_steps - self._patience * trial.total_agent_steps
        if not trial.curve or since <= trial.curve[0].agent_steps:
            return Verdict.CONTINUE
        scores = [(p.agent_steps, self._goal.sign * p.score) for p in trial.curve if math.isfinite(p.score)]
        before = [score for steps, score in scores if steps <= since]
        after = [score for steps, score in scores if steps > since]
        return Verdict.STOP if before and after and max(after) <= max(before) else Verdict.CONTINUE


class CostQuantilePruner(JudgingPruner):
    """PufferLib's rule: stops a trial below a quantile of what others had reached at the same cost.

    The quantile of the complete trials' levels at the cost that this trial has spent; `early_stop_quantile`
    of the INI, 0.3 unless set.
    """

    name = "cost_quantile"

    def __init__(self, goal: Goal, quantile: float | None, warmup: Warmup = Warmup()) -> None:
        self._goal = goal
        self._quantile = quantile
        self._warmup = warmup

    def judge(self, trial: Trial, trials: Sequence[Trial]) -> Verdict:
        """See `Pruner.judge`."""
        if self._quantile is None or not self._warmup.is_over(trial):
            return Verdict.CONTINUE
        own = self._goal.level(trial)
        others = []
        for other in trials:
            if other.uuid == trial.uuid or other.state is not TrialState.COMPLETE:
                continue
            reached = [p.agent_steps for p in other.curve if p.cost_seconds <= trial.cost_seconds]
            level = self._goal.level(other, reached[-1]) if reached else None
            if level is not None:
                others.append(level)
        if own is None or len(others) < self._warmup.num_trials:
            return Verdict.CONTINUE
        return Verdict.STOP if own < np.quantile(others, self._quantile) else Verdict.CONTINUE


def levels_at(goal: Goal, trial: Trial, trials: Sequence[Trial]) -> list[float]:
    """Signed levels of the other trials at the steps this one has reached."""
    levels = []
    for other in trials:
        if other.uuid == trial.uuid or other.state in NOT_COMPARED or other.agent_steps < trial.agent_steps:
            continue
        level = goal.level(other, trial.agent_steps)
        if level is not None:
            levels.append(level)
    return levels


def best_level(goal: Goal, trial: Trial) -> float | None:
    """The best signed level that the trial has had so far."""
    levels = [goal.level(trial, point.agent_steps) for point in trial.curve]
    return max((level for level in levels if level is not None), default=None)
