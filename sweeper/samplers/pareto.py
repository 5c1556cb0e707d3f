"""PufferLib's `ParetoGenetic`, and what its `Protein` shares with it: the Pareto front of score and cost.

A run gives `downsample` observations along its curve. Where `train.total_timesteps` is searched, each of
them is an observation of a shorter run of the same configuration; where it is not, a run counts by its last
point only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweeper.records import TrialState
from sweeper.samplers.random_search import RandomSampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sweeper.records import Trial, Value
    from sweeper.samplers.base import History
    from sweeper.space import SearchSpace

STEPS = "train.total_timesteps"
UNTOLD = (TrialState.FAILED, TrialState.INFEASIBLE, TrialState.QUEUED)


@dataclass(frozen=True, slots=True)
class Points:
    """Observations: unit points (n, d), signed scores (n,), costs (n,)."""

    x: NDArray[np.float64]
    score: NDArray[np.float64]
    cost: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.score)

    def front(self) -> NDArray[np.intp]:
        """Indices that no other observation beats in score and cost, cheapest first."""
        order = np.lexsort((-self.score, self.cost))
        best = np.maximum.accumulate(self.score[order])
        rising = np.append(True, best[1:] > best[:-1])
        return np.asarray(order[rising], dtype=np.intp)


def observe(history: History, downsample: int) -> Points:
    """The observations of a history."""
    rows = [
        row
        for trial in history.learnt()
        if trial.state not in UNTOLD
        for row in _rows(history, trial, downsample)
    ]
    if not rows:
        return Points(np.empty((0, history.space.num_dimensions)), np.empty(0), np.empty(0))
    score = np.array([row[1] for row in rows])
    if history.goal.percentile:
        score = np.argsort(np.argsort(score, kind="stable"), kind="stable") / max(len(score) - 1, 1)
    return Points(np.array([row[0] for row in rows]), score, np.array([row[2] for row in rows]))


def _rows(history: History, trial: Trial, downsample: int) -> list[tuple[NDArray[np.float64], float, float]]:
    by_steps = history.goal.cost == "agent_steps"
    searched = STEPS in history.space.names
    if not trial.curve:
        return []
    ends = np.linspace(0, len(trial.curve), downsample + 1)[1:]
    picked = np.unique(np.ceil(ends - 1e-9).astype(int) - 1)
    rows = []
    for index in picked if searched else picked[-1:]:
        point = trial.curve[index]
        level = history.goal.level(trial, point.agent_steps)
        if level is None:
            continue
        values = {**trial.values, STEPS: point.agent_steps} if searched else trial.values
        rows.append(
            (
                history.space.encode(values),
                level,
                float(point.agent_steps) if by_steps else point.cost_seconds,
            )
        )
    return rows


def perturb(
    space: SearchSpace, points: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.float64]:
    """Normal steps of each parameter's own scale (half-widths in n) around unit points (n, d)."""
    widths = np.concatenate(
        [np.full(p.width, 0.5 if p.is_categorical else p.scale / 2) for p in space.parameters]
    )
    return space.snap(points + widths * generator.standard_normal(points.shape))


class ParetoGeneticSampler:
    """A step from a random point of the Pareto front."""

    name = "pareto_genetic"

    def __init__(self, downsample: int) -> None:
        self._downsample = downsample

    def propose(self, history: History) -> dict[str, Value]:
        """See `Sampler.propose`."""
        points = observe(history, self._downsample)
        if not len(points):
            return RandomSampler(around_centre=True).propose(history)
        generator = history.generator(self.name)
        front = points.front()
        chosen = points.x[front[generator.integers(len(front))]]
        return history.space.decode(perturb(history.space, chosen[None], generator)[0])
