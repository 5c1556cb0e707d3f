"""Scrambled Sobol points over the unit cube: point i of the sequence belongs to the i-th trial."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from scipy.stats import qmc

if TYPE_CHECKING:
    from sweeper.records import Value
    from sweeper.samplers.base import History


class QmcSampler:
    """Quasi-random points (Sobol 1967, scrambled: Owen 1998). Needs nothing of the past but its length."""

    name = "qmc"

    def propose(self, history: History) -> dict[str, Value]:
        """See `Sampler.propose`."""
        parameters = history.space.parameters
        engine = qmc.Sobol(len(parameters), scramble=True, rng=abs(history.seed))
        if history.trials:
            # SciPy's fast_forward(0) raises.
            engine.fast_forward(len(history.trials))
        with warnings.catch_warnings():
            # A single point keeps no balance property to lose.
            warnings.simplefilter("ignore", UserWarning)
            point = engine.random(1)[0]
        return {p.name: p.from_unit(float(z)) for p, z in zip(parameters, point, strict=True)}
