"""CMA-ES (Hansen 2016) over the unit cube, replayed from the history at every proposal.

Optuna's sampler keeps the optimiser's state in trial attributes that a study rebuilt in memory does not
have, so the `cmaes` package that it stands on is used directly: the optimiser starts at the centre of the
space, is told the complete trials in the order of their numbers, one population after another, and asked
for the next point. The proposal is therefore a function of the history alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from cmaes import CMA

from sweeper.samplers.base import History, refuse_above
from sweeper.samplers.random_search import RandomSampler

if TYPE_CHECKING:
    from sweeper.records import Trial, Value

STEP = 1 / 6
"""Optuna's initial step size on an interval of length one."""

LIMIT = 20_000


class CmaEsSampler:
    """Covariance matrix adaptation; a single parameter falls back to random draws."""

    name = "cmaes"

    def propose(self, history: History) -> dict[str, Value]:
        """See `Sampler.propose`."""
        space = history.space
        if space.num_dimensions < 2:
            return RandomSampler().propose(history)
        told = [(t, worth[0]) for t in history.learnt() if (worth := history.goal.worth(t)) is not None]
        refuse_above(self.name, LIMIT, len(told))
        dimensions = space.num_dimensions
        optimiser = CMA(
            mean=np.clip(space.encode(space.centre()), 0.05, 0.95),
            sigma=STEP,
            bounds=np.tile([0.0, 1.0], (dimensions, 1)),
            seed=history.optuna_seed(self.name),
        )
        size = optimiser.population_size
        for start in range(0, len(told) - size + 1, size):
            if optimiser.should_stop():
                optimiser = self._restart(told[: start + size], history, dimensions)
            optimiser.tell([(space.encode(t.values), -worth) for t, worth in told[start : start + size]])
        return space.decode(optimiser.ask())

    def _restart(self, told: list[tuple[Trial, float]], history: History, dimensions: int) -> CMA:
        # A converged distribution proposes the same point for ever; a new one begins elsewhere.
        generator = np.random.default_rng([abs(history.seed), len(told)])
        return CMA(
            mean=generator.random(dimensions),
            sigma=STEP,
            bounds=np.tile([0.0, 1.0], (dimensions, 1)),
            seed=history.optuna_seed(self.name),
        )
