"""Uniform draws in the unit interval of every parameter, as Optuna's random sampler; or around the centre.

With `random_scale = True` a parameter is drawn from [c - s, c + s] cut to [-1, 1], c and s being its centre
and scale
in n: the draw of PufferLib's `Random`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeper.records import Value
    from sweeper.samplers.base import History


class RandomSampler:
    """Independent draws; needs nothing of the past."""

    name = "random"

    def __init__(self, *, around_centre: bool = False) -> None:
        self._around_centre = around_centre

    def propose(self, history: History) -> dict[str, Value]:
        """See `Sampler.propose`."""
        generator = history.generator(self.name)
        values: dict[str, Value] = {}
        for parameter in history.space.parameters:
            z = float(generator.random())
            if self._around_centre and not parameter.is_categorical:
                centre = parameter.normalised(parameter.centre)
                low, high = max(centre - parameter.scale, -1.0), min(centre + parameter.scale, 1.0)
                z = (low + z * (high - low) + 1) / 2
            values[parameter.name] = parameter.from_unit(z)
        return values
