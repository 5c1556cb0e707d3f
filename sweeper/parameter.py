"""One searched parameter: its natural values, the unit interval, and the symmetric pair between them.

A parameter lives in three coordinates:

natural     the value as it stands in the INI and in the study (gamma = 0.997)
unit        z in [0, 1], linear in the distribution's own scale; n = 2 z - 1 is the same in [-1, 1]
search      what an Optuna sampler is given: exponents of powers of two and whole numbers as ints, choices as
            choices, everything else as z

Distributions (z of a value v):

uniform        (v - min) / (max - min); whole numbers where the key's type is int
int_uniform    the same, rounded
uniform_pow2   log2(v / min) / log2(max / min); back to the nearest power of two inside the bounds
log_normal     log(v / min) / log(max / min); whole numbers where the key's type is int
logit_normal   log((1 - v) / (1 - min)) / log((1 - max) / (1 - min)): log-spaced in 1 - v
categorical    (i + 1/2) / k for choice i of k

A `step` leaves uniform and int_uniform only the values low, low + step and so on up to high.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import optuna

from trainer.errors import ConfigError, Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from optuna.distributions import BaseDistribution

    from sweeper.records import Value

DistributionName = Literal[
    "uniform", "int_uniform", "uniform_pow2", "log_normal", "logit_normal", "categorical"
]

AUTO_SCALE = 0.5
"""Half-width of the region around the centre, in n, where the file says `scale = auto`."""

ROUNDING = 1e-9
"""A value this far outside its bounds, relative to them, is a rounding error and no mistake."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A searched parameter.

    Attributes:
        name: full name, as in `train.gamma`.
        distribution_name: as in the INI.
        low, high: bounds in natural units; 0 and the last index for a categorical one.
        integer: whether natural values are whole numbers.
        choices: of a categorical parameter, else empty.
        centre: where a search begins: the file's mean, else the config's own value, inside the bounds.
        scale: half-width in n of the region around the centre that is worth trying first.
        step: distance of neighbouring values; None where every number between the bounds is one. `high` is then
            the last of them.
    """

    name: str
    distribution_name: DistributionName
    low: float
    high: float
    integer: bool
    choices: tuple[Value, ...]
    centre: Value
    scale: float = AUTO_SCALE
    step: float | None = None

    @property
    def is_categorical(self) -> bool:
        """Whether the values have no order."""
        return self.distribution_name == "categorical"

    @property
    def num_values(self) -> int | None:
        """How many values there are; None for a continuous parameter."""
        if self.is_categorical:
            return len(self.choices)
        if self.distribution_name == "uniform_pow2":
            return _exponent(self.high) - _exponent(self.low) + 1
        if self.step is not None:
            return round((self.high - self.low) / self.step) + 1
        return int(self.high) - int(self.low) + 1 if self.integer else None

    @property
    def width(self) -> int:
        """Coordinates in the unit cube: one, or one per choice."""
        return len(self.choices) if self.is_categorical else 1

    def to_unit(self, value: Value) -> float:
        """Natural value to z in [0, 1]; values outside the bounds go to the nearer end.

        Raises:
            ConfigError: a value that is no choice, or no number.
        """
        if self.is_categorical:
            return (self._index(value) + 0.5) / len(self.choices)
        v = min(max(self._number(value), self.low), self.high)
        if self.low == self.high:
            return 0.5
        if self.distribution_name in ("log_normal", "uniform_pow2"):
            z = math.log(v / self.low) / math.log(self.high / self.low)
        elif self.distribution_name == "logit_normal":
            z = math.log((1 - v) / (1 - self.low)) / math.log((1 - self.high) / (1 - self.low))
        else:
            z = (v - self.low) / (self.high - self.low)
        return min(max(z, 0.0), 1.0)

    def from_unit(self, z: float) -> Value:
        """The natural value at z, inside the bounds; z outside [0, 1] goes to the nearer end.

        Raises:
            ValueError: z is NaN.
        """
        if math.isnan(z):
            raise ValueError(f"{self.name}: NaN has no place on the unit interval")
        z = min(max(float(z), 0.0), 1.0)
        if self.is_categorical:
            return self.choices[min(int(z * len(self.choices)), len(self.choices) - 1)]
        if self.distribution_name == "uniform_pow2":
            low, high = _exponent(self.low), _exponent(self.high)
            return int(2 ** round(low + z * (high - low)))
        if self.distribution_name == "log_normal":
            v = self.low * math.pow(self.high / self.low, z)
        elif self.distribution_name == "logit_normal":
            v = 1 - (1 - self.low) * math.pow((1 - self.high) / (1 - self.low), z)
        else:
            v = self.low + z * (self.high - self.low)
        if self.step is not None:
            return self._at_step(round((v - self.low) / self.step))
        if self.integer:
            return min(max(round(v), int(self.low)), int(self.high))
        return min(max(v, self.low), self.high)

    def normalised(self, value: Value) -> float:
        """N = 2 z - 1, the coordinate in which `scale` is given."""
        return 2 * self.to_unit(value) - 1

    def distribution(self) -> BaseDistribution:
        """Optuna's distribution of the natural values, as the study and the dashboard show them."""
        if self.is_categorical:
            return optuna.distributions.CategoricalDistribution(self.choices)
        log = self.distribution_name in ("log_normal", "uniform_pow2")
        if self.integer:
            step = 1 if self.step is None else int(self.step)
            return optuna.distributions.IntDistribution(int(self.low), int(self.high), log=log, step=step)
        if self.step is not None:
            return optuna.distributions.FloatDistribution(self.low, self.high, step=self.step)
        return optuna.distributions.FloatDistribution(self.low, self.high, log=log)

    def search_distribution(self) -> BaseDistribution:
        """Optuna's distribution of the search coordinate, the space in which samplers think."""
        if self.is_categorical:
            return optuna.distributions.CategoricalDistribution(tuple(range(len(self.choices))))
        if self.distribution_name == "uniform_pow2":
            return optuna.distributions.IntDistribution(_exponent(self.low), _exponent(self.high))
        if self.step is not None:
            return optuna.distributions.IntDistribution(0, (self.num_values or 1) - 1)
        if self.integer and self.distribution_name in ("uniform", "int_uniform"):
            return optuna.distributions.IntDistribution(int(self.low), int(self.high))
        return optuna.distributions.FloatDistribution(0.0, 1.0)

    def to_search(self, value: Value) -> int | float:
        """Natural value to the search coordinate (the inverse of `from_search` on values of the space)."""
        if self.is_categorical:
            return self._index(value)
        if self.distribution_name == "uniform_pow2":
            low, high = _exponent(self.low), _exponent(self.high)
            return low + round(self.to_unit(value) * (high - low))
        if self.step is not None:
            return round((float(self.from_unit(self.to_unit(value))) - self.low) / self.step)
        if self.integer and self.distribution_name in ("uniform", "int_uniform"):
            return min(max(round(self._number(value)), int(self.low)), int(self.high))
        return self.to_unit(value)

    def from_search(self, coordinate: float) -> Value:
        """The natural value at a search coordinate."""
        if self.is_categorical:
            return self.choices[int(coordinate)]
        if self.distribution_name == "uniform_pow2":
            return int(2 ** min(max(int(coordinate), _exponent(self.low)), _exponent(self.high)))
        if self.step is not None:
            return self._at_step(int(coordinate))
        if self.integer and self.distribution_name in ("uniform", "int_uniform"):
            return min(max(int(coordinate), int(self.low)), int(self.high))
        return self.from_unit(coordinate)

    def contains(self, value: Value) -> bool:
        """Whether the value is one that `from_unit` could have made, up to rounding."""
        try:
            if self.is_categorical:
                self._index(value)
                return True
            v = self._number(value)
        except ConfigError:
            return False
        if not math.isfinite(v) or not self.low <= v <= self.high:
            return False
        if self.distribution_name == "uniform_pow2":
            return v == math.ldexp(1.0, round(math.log2(v)))
        if self.step is not None:
            return math.isclose(v, float(self.from_unit(self.to_unit(v))), rel_tol=ROUNDING, abs_tol=ROUNDING)
        return not self.integer or v == round(v)

    def snap(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Moves unit coordinates of a numeric parameter to those its values can have."""
        z = np.clip(z, 0.0, 1.0)
        if self.num_values is None:
            return z
        return np.array([self.to_unit(self.from_unit(float(x))) for x in z], dtype=np.float64)

    def all_values(self) -> tuple[Value, ...]:
        """Every value of a parameter that is not continuous, in order.

        Raises:
            ValueError: the parameter is continuous.
        """
        if self.is_categorical:
            return self.choices
        if self.distribution_name == "uniform_pow2":
            return tuple(2**e for e in range(_exponent(self.low), _exponent(self.high) + 1))
        if self.num_values is None:
            raise ValueError(f"{self.name} is continuous")
        if self.step is not None:
            return tuple(self._at_step(index) for index in range(self.num_values))
        return tuple(range(int(self.low), int(self.high) + 1))

    def _at_step(self, index: int) -> Value:
        """The value `index` steps above the lowest, inside the bounds."""
        v = min(max(self.low + index * (self.step or 0.0), self.low), self.high)
        # Without the last binary digits, that a tenth three times over reads 0.3 in the INI and in the study.
        return round(v) if self.integer else float(f"{v:.12g}")

    def _index(self, value: Value) -> int:
        for index, choice in enumerate(self.choices):
            # True == 1 in Python, but a choice between True and 1 is one the file made on purpose.
            if choice == value and isinstance(choice, bool) == isinstance(value, bool):
                return index
        raise ConfigError(
            f"{self.name} cannot take this value.",
            place=Place(key=self.name),
            value=value,
            rule=f"It is one of {', '.join(map(repr, self.choices))}.",
        )

    def _number(self, value: Any) -> float:
        if isinstance(value, str):
            raise ConfigError(f"{self.name} needs a number.", place=Place(key=self.name), value=value)
        return float(value)


def whole_bounds(name: str, low: float, high: float, place: Place | None) -> tuple[float, float]:
    """The whole numbers inside the bounds.

    Raises:
        ConfigError: there are none.
    """
    first, last = math.ceil(low - ROUNDING * abs(low)), math.floor(high + ROUNDING * abs(high))
    if first > last:
        raise ConfigError(
            f"{name} takes whole numbers, and there is none between its bounds.",
            place=place,
            value=f"min = {low}, max = {high}",
            remedy="Widen the bounds.",
        )
    return float(first), float(last)


def power_bounds(name: str, low: float, high: float, place: Place | None) -> tuple[float, float]:
    """The powers of two inside the bounds.

    Raises:
        ConfigError: there are none, or the bounds go below 1 (powers of two are whole numbers here).
    """
    if low < 1:
        raise ConfigError(
            f"{name}: powers of two are whole numbers.",
            place=place,
            value=f"min = {low}",
            rule="uniform_pow2 needs min at least 1.",
            remedy="Use log_normal for values below 1.",
        )
    first, last = math.ceil(math.log2(low) - ROUNDING), math.floor(math.log2(high) + ROUNDING)
    if first > last:
        raise ConfigError(
            f"{name}: there is no power of two between its bounds.",
            place=place,
            value=f"min = {low}, max = {high}",
            remedy="Widen the bounds.",
        )
    return float(2**first), float(2**last)


def last_step(low: float, high: float, step: float) -> float:
    """The highest value of low, low + step and so on that is not above high, up to rounding."""
    return float(f"{low + math.floor((high - low) / step + ROUNDING) * step:.12g}")


def unit_scale(scale: float | str | None, low: float, high: float) -> float:
    """The half-width in n of the file's `scale`: a number, `auto`, or `time` = 1 / log2(max / min)."""
    if scale is None or scale == "auto":
        return AUTO_SCALE
    if scale == "time":
        return 1 / math.log2(high / low)
    return float(scale)


def one_hot(parameter: Parameter, value: Value) -> list[float]:
    """Coordinates in the unit cube: z, or one per choice."""
    if not parameter.is_categorical:
        return [parameter.to_unit(value)]
    chosen = int(parameter.to_search(value))
    return [1.0 if index == chosen else 0.0 for index in range(len(parameter.choices))]


def from_one_hot(parameter: Parameter, coordinates: Sequence[float]) -> Value:
    """The inverse of `one_hot`; the largest coordinate decides among choices."""
    if not parameter.is_categorical:
        return parameter.from_unit(float(coordinates[0]))
    return parameter.choices[int(np.argmax(coordinates))]


def _exponent(power: float) -> int:
    return round(math.log2(power))
