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
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from sweeper.records import Trial, Value
    from sweeper.samplers.base import Goal, History
    from sweeper.space import SearchSpace

STEPS = "train.total_timesteps"
UNTOLD = (TrialState.FAILED, TrialState.INFEASIBLE, TrialState.QUEUED)


@dataclass(frozen=True, slots=True)
class Seen:
    """Observations: natural values, signed scores (n,), costs (n,)."""

    values: Sequence[Mapping[str, Value]]
    score: NDArray[np.float64]
    cost: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Points:
    """Observations: unit points (n, d), signed scores (n,), costs (n,)."""

    x: NDArray[np.float64]
    score: NDArray[np.float64]
    cost: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.score)

    def front(self) -> NDArray[np.intp]:
        """See `front_of`."""
        return front_of(self.score, self.cost)


def front_of(score: NDArray[np.float64], cost: NDArray[np.float64]) -> NDArray[np.intp]:
    """Indices of observations that no other beats in signed score (n,) and cost (n,), cheapest first."""
    order = np.lexsort((-score, cost))
    best = np.maximum.accumulate(score[order])
    rising = np.append(True, best[1:] > best[:-1])
    return np.asarray(order[rising], dtype=np.intp)


def observe(history: History, downsample: int) -> Points:
    """The observations of a history as unit points."""
    seen = look(history, downsample)
    x = np.empty((len(seen.values), history.space.num_dimensions))
    for i, values in enumerate(seen.values):
        x[i] = history.space.encode(values)
    return Points(x, seen.score, seen.cost)


def look(history: History, downsample: int) -> Seen:
    """The observations of a history."""
    searched = STEPS in history.space.names
    rows = [
        row
        for trial in history.learnt()
        if trial.state not in UNTOLD and trial.curve
        for row in _rows(history.goal, trial, downsample if searched else None)
    ]
    score = np.array([row[1] for row in rows], dtype=np.float64)
    if history.goal.percentile:
        score = np.argsort(np.argsort(score, kind="stable"), kind="stable") / max(len(score) - 1, 1)
    return Seen([row[0] for row in rows], score, np.array([row[2] for row in rows], dtype=np.float64))


def _rows(
    goal: Goal, trial: Trial, downsample: int | None
) -> Iterator[tuple[Mapping[str, Value], float, float]]:
    """Observations along a curve, each as a run of its own length; with None, the last one as it is."""
    picked = [len(trial.curve) - 1]
    if downsample is not None:
        ends = np.linspace(0, len(trial.curve), downsample + 1)[1:]
        picked = np.unique(np.ceil(ends - 1e-9).astype(int) - 1).tolist()
    for index in picked:
        point = trial.curve[index]
        level = goal.level(trial, point.agent_steps)
        if level is None:
            continue
        values = trial.values if downsample is None else {**trial.values, STEPS: point.agent_steps}
        yield values, level, float(point.agent_steps) if goal.cost == "agent_steps" else point.cost_seconds


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
        seen = look(history, self._downsample)
        if not seen.values:
            return RandomSampler(around_centre=True).propose(history)
        generator = history.generator(self.name)
        front = front_of(seen.score, seen.cost)
        chosen = history.space.encode(seen.values[front[generator.integers(len(front))]])
        return history.space.decode(perturb(history.space, chosen[None], generator)[0])
