"""Grid and brute force: every combination once, in a seeded order."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from sweeper.errors import SearchError

if TYPE_CHECKING:
    from sweeper.parameter import Parameter
    from sweeper.records import Value
    from sweeper.samplers.base import History

GRID_POINTS = 5
"""Values of a continuous parameter in a grid, evenly spaced on the unit interval, both ends included."""

MAX_COMBINATIONS = 1_000_000


class ExhaustiveSampler:
    """Visits every combination once; proposes nothing when all have been visited.

    Args:
        name: `grid` or `bruteforce`. The grid cuts continuous parameters into `GRID_POINTS` values and long
            ranges of whole numbers likewise, where the file gives no step; brute force takes every value and
            refuses continuous parameters without a step.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def propose(self, history: History) -> dict[str, Value] | None:
        """See `Sampler.propose`.

        Raises:
            SearchError: a continuous parameter in a brute-force search, or too many combinations.
        """
        parameters = history.space.parameters
        axes = [self._axis(parameter) for parameter in parameters]
        total = math.prod(len(axis) for axis in axes)
        if total > MAX_COMBINATIONS:
            raise SearchError(
                f"{self.name} would visit {total} combinations.",
                rule=f"At most {MAX_COMBINATIONS} are taken.",
                remedy="Search fewer parameters (sweep_only) or use another method.",
            )
        names = history.space.names
        visited = {tuple(trial.values.get(name) for name in names) for trial in history.trials}
        combinations = list(itertools.product(*axes))
        order = np.random.default_rng([abs(history.seed), total]).permutation(total)
        for index in order:
            if combinations[index] not in visited:
                return dict(zip(names, combinations[index], strict=True))
        return None

    def _axis(self, parameter: Parameter) -> tuple[Value, ...]:
        if parameter.num_values is not None and (self.name != "grid" or parameter.num_values <= GRID_POINTS):
            return parameter.all_values()
        if (
            parameter.is_categorical
            or parameter.step is not None
            or parameter.distribution_name == "uniform_pow2"
        ):
            return parameter.all_values()
        if self.name != "grid":
            raise SearchError(
                f"Brute force cannot visit every value of {parameter.name}, which is continuous.",
                remedy="Give it a step (uniform), or use int_uniform, uniform_pow2 or categorical for it, or "
                "method = grid.",
            )
        values = [parameter.from_unit(i / (GRID_POINTS - 1)) for i in range(GRID_POINTS)]
        return tuple(dict.fromkeys(values))
