"""What a trial's score is, and how its curve is thinned. Pure functions of the curve.

The same code runs in the worker, which needs to know when to wait for a verdict, and in the loop, which keeps the
thinned curve; fed with the same points they agree.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from sweeper.records import Observation

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_OBSERVATIONS = 50
"""Intermediate values per trial in the study: more make it slow to load and slow to show."""

LAST_SHARE = 0.1
"""The share of a run's steps over which the rule `last` averages."""


def final_score(rule: str, curve: Sequence[Observation], total_agent_steps: int) -> float | None:
    """A trial's score by the rules that need its curve alone.

    Args:
        rule: `last`, mean of the last tenth of the run; `auc`, the mean height of the curve over the run;
            `eval` needs an evaluation and is None here.
        curve: every point that has a score, in order of agent steps.
        total_agent_steps: of the whole run.

    Returns:
        A finite score, or None where the curve cannot give one: the evaluation at the end decides then.

    Raises:
        ValueError: for an unknown rule.
    """
    if rule not in ("last", "auc", "eval"):
        raise ValueError(f"unknown score rule: {rule}")
    points = [point for point in curve if math.isfinite(point.score)]
    if not points or rule == "eval":
        return None
    score = _last(points, total_agent_steps) if rule == "last" else _mean_height(points, total_agent_steps)
    return score if math.isfinite(score) else None


def _last(points: Sequence[Observation], total_agent_steps: int) -> float:
    end = max(total_agent_steps, points[-1].agent_steps)
    tail = [point.score for point in points if point.agent_steps > end * (1.0 - LAST_SHARE)]
    # Long episodes may leave the last tenth without one: the newest score there is stands for it.
    return math.fsum(tail) / len(tail) if tail else points[-1].score


def _mean_height(points: Sequence[Observation], total_agent_steps: int) -> float:
    """Trapezium rule over the run; flat before the first point and behind the last."""
    end = max(total_agent_steps, points[-1].agent_steps)
    first, last = points[0], points[-1]
    area = first.score * first.agent_steps + last.score * (end - last.agent_steps)
    for left, right in itertools.pairwise(points):
        area += 0.5 * (left.score + right.score) * (right.agent_steps - left.agent_steps)
    return area / end if end > 0 else last.score


class Thinner:
    """Turns epochs into at most 50 observations, each the mean of the scores since the one before.

    Args:
        total_agent_steps: of the whole run.
        max_observations: how many at most.
    """

    def __init__(self, total_agent_steps: int, max_observations: int = MAX_OBSERVATIONS) -> None:
        self._total = max(1, total_agent_steps)
        self._most = max_observations
        self._bucket = 0
        self._scores: list[float] = []

    def add(self, agent_steps: int, cost_seconds: float, score: float | None) -> Observation | None:
        """Take an epoch; an observation whenever the run has entered a new fiftieth and there is a score."""
        if score is not None and math.isfinite(score):
            self._scores.append(score)
        bucket = min(self._most, agent_steps * self._most // self._total)
        if bucket <= self._bucket or not self._scores:
            return None
        self._bucket = bucket
        mean = math.fsum(self._scores) / len(self._scores)
        self._scores.clear()
        return Observation(agent_steps, cost_seconds, mean)

    @classmethod
    def after(
        cls, earlier: Sequence[Observation], total_agent_steps: int
    ) -> tuple[Thinner, list[Observation]]:
        """A thinner that has seen `earlier` (whole, not thinned), and what it made of it."""
        thinner = cls(total_agent_steps)
        made = [thinner.add(point.agent_steps, point.cost_seconds, point.score) for point in earlier]
        return thinner, [observation for observation in made if observation is not None]
