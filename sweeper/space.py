"""The search space of a study: `[sweep.*]` of a config as parameters, and points of it in natural units.

Methods see a point as a mapping of full names to natural values or as a vector in the unit cube (`encode`,
`decode`; a categorical parameter takes one coordinate per choice). Trial 0 of a study is the config as
written, trial 1 the
means of the file, where they differ: `first_points`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from sweeper.errors import SearchError
from sweeper.parameter import (
    ROUNDING,
    Parameter,
    from_one_hot,
    last_step,
    one_hot,
    power_bounds,
    unit_scale,
    whole_bounds,
)
from sweeper.records import Suggestion, Value
from trainer.errors import ConfigError, Place

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from optuna.distributions import BaseDistribution

    from trainer.config import Config, ParameterSpec


@dataclass(frozen=True, slots=True)
class Clipped:
    """A point moved into the space, and a sentence for every value that had to move."""

    values: Mapping[str, Value]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """What a study searches.

    Attributes:
        parameters: in the file's order.
        written: the config as written, inside the space.
        notes: what a person should know: pinned parameters, clipped means and values.
    """

    parameters: tuple[Parameter, ...]
    written: Mapping[str, Value]
    notes: tuple[str, ...] = ()

    @classmethod
    def from_config(cls, config: Config) -> SearchSpace:
        """Reads the space of a config's `[sweep.*]` sections.

        The config has already taken out what `sweep_only` leaves aside and what the command line pins.

        Raises:
            ConfigError: bounds without a value between them.
            SearchError: nothing is left to search.
        """
        notes: list[str] = []
        chosen = list(config.sweep.parameters.values())
        if not chosen:
            raise SearchError(
                "There is nothing to search: no parameter is swept.",
                place=Place(section="sweep"),
                remedy="Add a section such as [sweep.train.learning_rate] with distribution, min and max.",
            )
        parameters, written = [], {}
        for spec in chosen:
            own = _own_value(config, spec)
            parameter = _parameter(spec, own, notes)
            parameters.append(parameter)
            written[spec.name] = _clip(parameter, own, notes, f"The config's own {spec.name} = {own!r}")
        return cls(tuple(parameters), written, tuple(dict.fromkeys(notes)))

    @property
    def names(self) -> tuple[str, ...]:
        """Full names in order."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def num_dimensions(self) -> int:
        """Coordinates of the unit cube."""
        return sum(parameter.width for parameter in self.parameters)

    def __getitem__(self, name: str) -> Parameter:
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise KeyError(name)

    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna distributions of the natural values."""
        return {parameter.name: parameter.distribution() for parameter in self.parameters}

    def centre(self) -> dict[str, Value]:
        """The file's means, and the config's own values where it gives none."""
        return {parameter.name: parameter.centre for parameter in self.parameters}

    def first_points(self) -> tuple[Suggestion, ...]:
        """The config as written, then the means where they differ."""
        points = [Suggestion(dict(self.written), "config")]
        if self.centre() != dict(self.written):
            points.append(Suggestion(self.centre(), "means"))
        return tuple(points)

    def clip(self, values: Mapping[str, Any]) -> Clipped:
        """Moves a point into the space; missing values are the config's own, foreign ones are dropped."""
        notes: list[str] = []
        inside: dict[str, Value] = {}
        for parameter in self.parameters:
            if parameter.name in values:
                own = values[parameter.name]
                inside[parameter.name] = _clip(parameter, own, notes, f"{parameter.name} = {own!r}")
            else:
                inside[parameter.name] = self.written[parameter.name]
                notes.append(f"{parameter.name} is not given; {self.written[parameter.name]!r} is taken.")
        foreign = [name for name in values if name not in inside]
        if foreign:
            notes.append(f"Not searched here and left out: {', '.join(foreign)}.")
        return Clipped(inside, tuple(notes))

    def contains(self, values: Mapping[str, Value]) -> bool:
        """Whether the mapping is a whole point of this space."""
        return set(values) == set(self.names) and all(p.contains(values[p.name]) for p in self.parameters)

    def encode(self, values: Mapping[str, Value]) -> NDArray[np.float64]:
        """A point of natural values as a vector of the unit cube (num_dimensions,)."""
        return np.array([z for p in self.parameters for z in one_hot(p, values[p.name])], dtype=np.float64)

    def decode(self, point: Sequence[float] | NDArray[np.float64]) -> dict[str, Value]:
        """The nearest point of natural values to a vector of the unit cube (num_dimensions,)."""
        values: dict[str, Value] = {}
        start = 0
        for parameter in self.parameters:
            values[parameter.name] = from_one_hot(parameter, list(point[start : start + parameter.width]))
            start += parameter.width
        return values

    def snap(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Moves vectors (n, num_dimensions) to the nearest ones that natural values have."""
        snapped = np.clip(points, 0.0, 1.0)
        start = 0
        for parameter in self.parameters:
            block = slice(start, start + parameter.width)
            if parameter.is_categorical:
                snapped[:, block] = np.eye(parameter.width)[np.argmax(snapped[:, block], axis=1)]
            else:
                snapped[:, start] = parameter.snap(snapped[:, start])
            start += parameter.width
        return snapped

    def description(self) -> dict[str, dict[str, Any]]:
        """What must stay the same for a study to go on, as plain JSON."""
        return {
            p.name: {"distribution": p.distribution_name, "choices": list(p.choices)}
            if p.is_categorical
            else {"distribution": p.distribution_name, "min": p.low, "max": p.high, "integer": p.integer}
            | ({} if p.step is None else {"step": p.step})
            for p in self.parameters
        }

    def differences(self, other: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
        """Sentences on how an earlier `description()` differs from this space; empty if a study can go on."""
        mine = self.description()
        lines = [f"{name} was searched and no longer is." for name in other if name not in mine]
        for name, now in mine.items():
            if name not in other:
                lines.append(f"{name} is searched now and was not before.")
                continue
            before = other[name]
            lines += [
                f"{name}: {key} was {before.get(key)!r} and is {now.get(key)!r}."
                for key in dict.fromkeys([*before, *now])
                if before.get(key) != now.get(key)
            ]
        return tuple(lines)


def _own_value(config: Config, spec: ParameterSpec) -> Any:
    """The config's value; None where a free section leaves it to the constructor."""
    section = getattr(config, spec.section)
    return section.get(spec.key) if isinstance(section, Mapping) else getattr(section, spec.key)


def _parameter(spec: ParameterSpec, own: Any, notes: list[str]) -> Parameter:
    name = spec.name
    integer = spec.whole or spec.distribution in ("int_uniform", "uniform_pow2")
    kind = spec.distribution
    if kind == "categorical":
        choices = tuple(spec.values or ())
        draft = Parameter(name, kind, 0.0, float(len(choices) - 1), False, choices, choices[0])
    else:
        if spec.min is None or spec.max is None:
            raise ConfigError(f"{name} needs min and max.", place=spec.place)
        low, high = float(spec.min), float(spec.max)
        if kind == "uniform_pow2":
            low, high = power_bounds(name, low, high, spec.place)
        elif integer:
            low, high = whole_bounds(name, low, high, spec.place)
        step = None if spec.step is None else float(spec.step)
        high = high if step is None else last_step(low, high, step)
        draft = Parameter(name, kind, low, high, integer, (), low, step=step)
        draft = _with_centre(
            draft, draft.from_unit(0.5), unit_scale(spec.scale, float(spec.min), float(spec.max))
        )
    if spec.mean is not None:
        centre = _clip(draft, spec.mean, notes, f"The mean {spec.mean!r} of {name}")
    else:
        centre = _clip(draft, own, notes, f"The config's own {name} = {own!r}")
    return _with_centre(draft, centre, draft.scale)


def _with_centre(p: Parameter, centre: Value, scale: float) -> Parameter:
    return replace(p, centre=centre, scale=scale)


def _clip(parameter: Parameter, value: Any, notes: list[str], subject: str) -> Value:
    """The nearest value of the parameter; says so where the difference is more than a rounding error."""
    if parameter.is_categorical:
        if parameter.contains(value):
            return cast("Value", value)
        notes.append(f"{subject} is none of its choices; {parameter.centre!r} is taken.")
        return parameter.centre
    if isinstance(value, (str, list, tuple)) or value is None:
        notes.append(f"{subject} is no number; {parameter.centre!r} stands for it in the search.")
        return parameter.centre
    nearest = parameter.from_unit(parameter.to_unit(value))
    if isinstance(nearest, float) and parameter.step is None and parameter.low <= value <= parameter.high:
        return float(value)
    if abs(float(nearest) - float(value)) > ROUNDING * max(abs(float(value)), abs(float(nearest))):
        where = (
            "outside the search space" if parameter.step is None else "between the steps of the search space"
        )
        notes.append(f"{subject} lies {where}; {nearest!r} is taken.")
    return nearest
