"""Successive halving that stops trials for good, and Hyperband, which runs several such ladders side by side.

Asynchronous (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", algorithm 2, as
Optuna's pruner): a trial that completes a rung goes on if it is among the best 1/factor of those that have
completed it so far.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweeper.pruners.base import JudgingPruner
from sweeper.pruners.rungs import Ladder
from sweeper.pruners.stopping import NOT_COMPARED
from sweeper.records import Trial, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweeper.samplers.base import Goal


class HalvingPruner(JudgingPruner):
    """Successive halving. The first trial on a rung always goes on."""

    def __init__(self, goal: Goal, ladders: Sequence[Ladder], name: str = "successive_halving") -> None:
        self.name = name
        self._goal = goal
        self._ladders = tuple(ladders)

    def judge(self, trial: Trial, trials: Sequence[Trial]) -> Verdict:
        """See `Pruner.judge`."""
        bracket = trial.number % len(self._ladders)
        ladder = self._ladders[bracket]
        rung = ladder.reached(trial)
        if not 0 <= rung < len(ladder.shares) - 1:
            return Verdict.CONTINUE
        own = self._goal.level(trial, ladder.steps(rung, trial.total_agent_steps))
        if own is None:
            return Verdict.CONTINUE
        better = total = 0
        for other in trials:
            if other.uuid == trial.uuid or other.number % len(self._ladders) != bracket:
                continue
            if other.state in NOT_COMPARED or ladder.reached(other) < rung:
                continue
            level = self._goal.level(other, ladder.steps(rung, other.total_agent_steps))
            if level is not None:
                total += 1
                better += level > own
        return Verdict.CONTINUE if better < max(1, (total + 1) // ladder.factor) else Verdict.STOP


def hyperband(goal: Goal, factor: int = 3, lowest: float = 1 / 27) -> HalvingPruner:
    """Hyperband (Li et al. 2018): trial i belongs to ladder i mod their number; each starts a rung higher."""
    whole = Ladder.geometric(factor, lowest)
    ladders = [Ladder(factor, whole.shares[start:]) for start in range(len(whole.shares))]
    return HalvingPruner(goal, ladders, "hyperband")
