"""Successive halving that pauses instead of killing: the default.

Asynchronous (Li et al. 2020, algorithm 2, with promotion): every trial starts on the lowest rung and pauses
there with a checkpoint; whenever a slot is free, the highest rung is looked at first for a paused trial
among the best 1/factor of all that have completed that rung, and it goes on from its checkpoint to the next
one. A trial passed over today can still be promoted when more of its kind have been seen, and its learning
curve stays whole.

Early rungs can lie. A share of the trials, chosen by their number, therefore runs its full length whatever
the rungs say.

The learning rate is annealed over the full length from the first step, so a paused trial has seen the
beginning of exactly the run that it is resumed into.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from sweeper.pruners.base import JudgingPruner
from sweeper.pruners.rungs import Ladder
from sweeper.pruners.stopping import NOT_COMPARED
from sweeper.records import Resume, Trial, TrialState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweeper.samplers.base import Goal


class PromotionPruner(JudgingPruner):
    """Pauses on rungs and promotes the best.

    Args:
        uncut: share of trials that run their full length from the start.
        seed: chooses which.
    """

    name = "promotion"

    def __init__(
        self, goal: Goal, ladder: Ladder | None = None, *, uncut: float = 0.05, seed: int = 0
    ) -> None:
        self._goal = goal
        self._ladder = ladder if ladder is not None else Ladder.geometric()
        self._uncut = uncut
        self._seed = seed

    def first_pause(self, number: int, total_steps: int) -> int | None:
        """See `Pruner.first_pause`. The first trial, the config as written, is never cut: it is the baseline."""
        if number == 0:
            return None
        draw = zlib.crc32(f"{self._seed}/{number}".encode()) / 2**32
        return None if draw < self._uncut else self._ladder.pause(0, total_steps)

    def promote(self, trials: Sequence[Trial]) -> Resume | None:
        """See `Pruner.promote`. A paused trial that stands between two rungs first completes the next one."""
        reached = {t.uuid: self._ladder.reached(t) for t in trials if t.state not in NOT_COMPARED}
        paused = [t for t in trials if t.state is TrialState.PAUSED]
        for rung in range(len(self._ladder.shares) - 2, -1, -1):
            waiting = [t for t in paused if reached[t.uuid] == rung]
            if not waiting:
                continue
            ranked = self._ranked(rung, [t for t in trials if reached.get(t.uuid, -1) >= rung])
            quota = len(ranked) // self._ladder.factor
            best = {t.uuid for t in ranked[:quota]}
            for trial in ranked:
                if trial.uuid in best and trial.state is TrialState.PAUSED and reached[trial.uuid] == rung:
                    return self._resume(trial, rung + 1)
        below = [t for t in paused if reached[t.uuid] < 0]
        return self._resume(min(below, key=lambda t: t.number), 0) if below else None

    def _ranked(self, rung: int, trials: list[Trial]) -> list[Trial]:
        levels = [(self._level(rung, t), t) for t in trials]
        known = [(level, -t.number, t) for level, t in levels if level is not None]
        return [t for _, _, t in sorted(known, key=lambda entry: entry[:2], reverse=True)]

    def _level(self, rung: int, trial: Trial) -> float | None:
        level = self._goal.level(trial, self._ladder.steps(rung, trial.total_agent_steps))
        if level is None and trial.curve:
            # Where one epoch is longer than a rung, or episodes are, the first score there is stands for it.
            return self._goal.level(trial, trial.curve[0].agent_steps)
        return level

    def _resume(self, trial: Trial, rung: int) -> Resume:
        return Resume(trial.uuid, self._ladder.pause(rung, trial.total_agent_steps))
