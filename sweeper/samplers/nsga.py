"""NSGA-II (Deb et al. 2002) on the history: parents from the best fronts, uniform crossover, mutation.

Optuna's sampler keeps generations in trial attributes that a study rebuilt in memory does not have. Here
the parents of each child are the best trials so far by front and crowding distance, which is the (mu + 1)
form of the same algorithm: it needs no generations, so any number of workers can ask at any time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweeper.samplers.base import History, refuse_above
from sweeper.samplers.random_search import RandomSampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sweeper.records import Value

POPULATION = 50
"""Optuna's population size; until a fifth of it is complete, points are random."""

CROSSOVER = 0.9
LIMIT = 5_000


class NsgaSampler:
    """Evolution towards the whole Pareto front of several objectives (or one)."""

    name = "nsgaii"

    def propose(self, history: History) -> dict[str, Value]:
        """See `Sampler.propose`."""
        complete = [(t, worth) for t in history.learnt() if (worth := history.goal.worth(t)) is not None]
        refuse_above(self.name, LIMIT, len(complete))
        if len(complete) < POPULATION // 5:
            return RandomSampler().propose(history)
        worths = np.array([worth for _, worth in complete])
        order = rank_by_front(worths)[:POPULATION]
        generator = history.generator(self.name)

        def parent() -> dict[str, Value]:
            # A binary tournament: `order` is best first, so the smaller index wins.
            winner = int(generator.integers(len(order), size=2).min())
            return dict(complete[order[winner]][0].values)

        mother, father = parent(), parent()
        cross = generator.random() < CROSSOVER
        rate = 1 / len(history.space.parameters)
        child: dict[str, Value] = {}
        for parameter in history.space.parameters:
            if generator.random() < rate:
                child[parameter.name] = parameter.from_unit(float(generator.random()))
            else:
                source = father if cross and generator.random() < 0.5 else mother
                child[parameter.name] = source[parameter.name]
        return child


def fronts(worths: NDArray[np.float64]) -> NDArray[np.intp]:
    """The front of each row of (n, m) objectives, more being better; 0 is the Pareto front."""
    at_least = (worths[:, None, :] >= worths[None, :, :]).all(axis=2)
    dominates = at_least & (worths[:, None, :] > worths[None, :, :]).any(axis=2)
    front = np.full(len(worths), -1, dtype=np.intp)
    level = 0
    while (front < 0).any():
        left = front < 0
        beaten = (dominates & left[:, None]).any(axis=0)
        front[left & ~beaten] = level
        level += 1
    return front


def rank_by_front(worths: NDArray[np.float64]) -> NDArray[np.intp]:
    """Indices of (n, m) objectives, best first: by front, within a front by crowding distance."""
    front = fronts(worths)
    crowding = np.zeros(len(worths))
    for level in range(int(front.max()) + 1):
        members = np.flatnonzero(front == level)
        for column in range(worths.shape[1]):
            by_value = members[np.argsort(worths[members, column], kind="stable")]
            span = worths[by_value[-1], column] - worths[by_value[0], column]
            crowding[by_value[[0, -1]]] = np.inf
            if span > 0:
                gaps = worths[by_value[2:], column] - worths[by_value[:-2], column]
                crowding[by_value[1:-1]] += gaps / span
    return np.lexsort((np.arange(len(worths)), -crowding, front))
