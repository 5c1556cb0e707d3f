"""Each parameter's own axis: positions on which its search space is even, with ticks in natural units.

A learning rate is spread evenly over its logarithm and a discount over the logarithm of 1 - gamma; drawn on a
plain axis their figures would squeeze everything into one corner.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeper.formatting import format_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sweeper.parameter import Parameter
    from sweeper.records import Value

_KINDS = {"log_normal": "log", "uniform_pow2": "powers", "logit_normal": "logit"}
_NUM_TICKS = 5


@dataclass(frozen=True, slots=True)
class Axis:
    """One parameter's axis.

    Attributes:
        kind: `linear`, `log`, `powers` (of two), `logit` or `categorical`.
        low, high: the bounds as positions.
        choices: the values of a categorical axis; their positions are 0, 1, 2 …
        whole: whether the parameter takes whole numbers only, so that ticks do too.
    """

    kind: str
    low: float
    high: float
    choices: tuple[Value, ...] = ()
    whole: bool = False

    def position(self, value: Value) -> float:
        """Where a value lies. A value outside a logarithm's domain lies at the nearer bound."""
        if self.kind == "categorical":
            return float(self.choices.index(value)) if value in self.choices else -1.0
        number = float(value)
        if self.kind in {"log", "powers"}:
            return math.log10(number) if number > 0 else self.low
        if self.kind == "logit":
            return -math.log10(1 - number) if number < 1 else self.high
        return number

    def value_at(self, position: float) -> Value:
        """The natural value at a position."""
        if self.kind == "categorical":
            return self.choices[min(max(round(position), 0), len(self.choices) - 1)]
        if self.kind in {"log", "powers"}:
            return 10**position
        if self.kind == "logit":
            return 1 - 10**-position
        return position

    def unit(self, value: Value) -> float:
        """The position as a share of the axis, 0 at the lower bound and 1 at the upper."""
        span = self.high - self.low
        return (self.position(value) - self.low) / span if span else 0.5

    def ticks(self, most: int = _NUM_TICKS) -> tuple[list[float], list[str]]:
        """Positions and labels of a few ticks at round natural values inside the bounds."""
        if self.kind == "categorical":
            return [float(index) for index in range(len(self.choices))], [
                str(choice) for choice in self.choices
            ]
        for candidates in self._candidates():
            inside = [value for value in candidates if self._inside(value)]
            if 2 <= len(inside) <= most:
                break
        else:
            inside = [float(self.value_at(self.low)), float(self.value_at(self.high))]
        return [self.position(value) for value in inside], [
            _tick_label(value, whole=self.whole) for value in inside
        ]

    def _inside(self, value: float) -> bool:
        slack = 1e-6 * (self.high - self.low)
        return self.low - slack <= self.position(value) <= self.high + slack

    def _candidates(self) -> Iterable[list[float]]:
        if self.kind == "log":
            first, last = math.floor(self.low) - 1, math.ceil(self.high) + 1
            for mantissas in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
                yield [m * 10.0**e for e in range(first, last) for m in mantissas]
            for stride in range(2, last - first + 1):
                yield [10.0**e for e in range(first, last, stride)]
        elif self.kind == "powers":
            first, last = math.floor(self.low / math.log10(2)), math.ceil(self.high / math.log10(2))
            for stride in range(1, last - first + 2):
                yield [2.0**e for e in range(first, last + 1, stride)]
        elif self.kind == "logit":
            first, last = math.floor(self.low) - 1, math.ceil(self.high) + 1
            for digits in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 5), (1,)):
                yield [round(1 - m * 10.0**-e, 12) for e in range(first, last + 1) for m in reversed(digits)]
            for stride in range(2, last - first + 1):
                yield [round(1 - 10.0**-e, 12) for e in range(first, last + 1, stride)]
        else:
            yield from _linear_candidates(self.low, self.high, whole=self.whole)


def axis_of(parameter: Parameter, values: Iterable[Value] = ()) -> Axis:
    """The axis of a parameter; a categorical one also takes choices that only its trials show."""
    if parameter.is_categorical:
        choices = list(parameter.choices)
        choices += [value for value in dict.fromkeys(values) if value not in choices]
        return Axis("categorical", -0.5, len(choices) - 0.5, tuple(choices))
    kind = _KINDS.get(parameter.distribution_name, "linear")
    bare = Axis(kind, -math.inf, math.inf)
    return Axis(kind, bare.position(parameter.low), bare.position(parameter.high), whole=parameter.integer)


def _linear_candidates(low: float, high: float, *, whole: bool) -> Iterable[list[float]]:
    span = high - low
    if span <= 0:
        return
    exponent = math.floor(math.log10(span)) - 1
    for power in (exponent, exponent + 1):
        for mantissa in (1, 2, 5):
            step = mantissa * 10.0**power
            if whole and step < 1:
                continue
            first = math.ceil(low / step - 1e-9)
            last = math.floor(high / step + 1e-9)
            yield [round(index * step, 12) for index in range(first, last + 1)]


def _tick_label(value: float, *, whole: bool) -> str:
    if whole or (float(value).is_integer() and abs(value) < 1e4):
        return format_value(round(value)) if abs(value) < 1e6 else _compact(value)
    return _compact(value)


def _compact(value: float) -> str:
    if value != 0 and (abs(value) >= 1e4 or abs(value) < 1e-2):
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return f"{value:.6g}"


def spread_ticks(axes: Sequence[Axis], most: int = _NUM_TICKS) -> list[tuple[list[float], list[str]]]:
    """Ticks of several axes as shares of their length, for parallel coordinates."""
    spread = []
    for axis in axes:
        positions, labels = axis.ticks(most)
        span = axis.high - axis.low
        spread.append(([(p - axis.low) / span if span else 0.5 for p in positions], labels))
    return spread
