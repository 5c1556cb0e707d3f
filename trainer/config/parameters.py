"""One swept parameter: `[sweep.SECTION.KEY]`."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from trainer.config.nearest import suggest
from trainer.config.values import parse_value
from trainer.errors import Place

DistributionName = Literal[
    "uniform", "int_uniform", "uniform_pow2", "log_normal", "logit_normal", "categorical"
]
DISTRIBUTIONS: tuple[DistributionName, ...] = (
    "uniform",
    "int_uniform",
    "uniform_pow2",
    "log_normal",
    "logit_normal",
    "categorical",
)
PARAMETER_KEYS = ("distribution", "min", "max", "mean", "scale", "step", "values")
Choice = bool | int | float | str

_MEAN_TOLERANCE = 1e-9
"""A mean that lies this much outside its bounds, relative to them, is a rounding error."""


class BrokenRuleError(ValueError):
    """A rule of a parameter that does not hold; `key` is the one to look at within its section."""

    def __init__(self, what: str, *, key: str, rule: str | None = None, remedy: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.key = key
        self.rule = rule
        self.remedy = remedy


def _read_number(value: Any) -> Any:
    if isinstance(value, (bool, str)) or not isinstance(value, (int, float)):
        raise ValueError("not a number")  # noqa: TRY004  (pydantic collects ValueErrors)
    if not math.isfinite(value):
        raise ValueError("not finite")
    return value


def _read_scale(value: Any) -> Any:
    if isinstance(value, str):
        return value.lower()
    return _read_number(value)


def _read_choices(value: Any) -> Any:
    if isinstance(value, str):
        inside = value.strip()
        if inside[:1] in "[(" and inside[-1:] in ")]":
            inside = inside[1:-1]
        words = inside.split(",") if "," in inside else inside.split()
        value = [parse_value(word) for word in words if word.strip()]
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, (bool, int, float)):
        return (value,)
    return value


def _read_distribution(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


Number = Annotated[int | float, BeforeValidator(_read_number)]


class ParameterSpec(BaseModel):
    """A swept parameter as the INI declares it, validated. Values are in natural units.

    Attributes:
        name: full name of the setting, `train.gamma`.
        distribution: one of `DISTRIBUTIONS`.
        min, max: bounds, both reachable; None for categorical.
        mean: search centre and first suggestion, within the bounds; None where the config's own value is.
        scale: half-width of the search around the centre in n; `auto`, `time` (log_normal only) or a number.
        step: distance of neighbouring values from min up (uniform and int_uniform); None for all values.
        values: the choices of a categorical parameter, None otherwise.
        whole: values are whole numbers, because the setting's type is.
        place: where it was declared; not part of its value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    name: str
    distribution: Annotated[DistributionName, BeforeValidator(_read_distribution)] = Field(
        description="How values are spread: uniform, int_uniform, uniform_pow2, log_normal, logit_normal, "
        "categorical."
    )
    min: Number | None = Field(None, description="Lower bound, itself possible.")
    max: Number | None = Field(None, description="Upper bound, itself possible.")
    mean: Annotated[Choice, BeforeValidator(lambda value: value)] | None = Field(
        None, description="Centre of the search and first suggestion; without it the config's own value is."
    )
    scale: Annotated[float | Literal["auto", "time"], BeforeValidator(_read_scale)] = Field(
        "auto", description="Half-width of the search in n: auto (0.5), time (log_normal only), or a number."
    )
    step: Number | None = Field(
        None,
        description="Distance of neighbouring values, counted from min (uniform and int_uniform); lets grid and "
        "bruteforce visit every one.",
    )
    values: Annotated[tuple[Choice, ...] | None, BeforeValidator(_read_choices)] = Field(
        None, description="The choices of a categorical parameter."
    )
    whole: bool = False
    place: Place | None = Field(None, repr=False)

    @property
    def section(self) -> str:
        """The setting's section: `train` of `train.gamma`."""
        return self.name.partition(".")[0]

    @property
    def key(self) -> str:
        """The setting's key: `gamma` of `train.gamma`."""
        return self.name.partition(".")[2]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ParameterSpec):
            return NotImplemented
        return _identity(self) == _identity(other)

    def __hash__(self) -> int:
        return hash(_identity(self))

    @model_validator(mode="before")
    @classmethod
    def _values_alone_are_categorical(cls, data: Any) -> Any:
        if isinstance(data, dict) and "distribution" not in data and data.get("values") is not None:
            return {**data, "distribution": "categorical"}
        return data

    @model_validator(mode="after")
    def _obey_the_rules(self) -> ParameterSpec:
        if self.distribution == "categorical":
            _check_choices(self)
        else:
            _check_bounds(self)
            _check_step(self)
            _check_centre(self)
        return self


def clip_mean(mean: float, low: float, high: float, *, label: str) -> tuple[int | float, str | None]:
    """The mean within its bounds, and a warning where it lay outside by more than a rounding error."""
    clipped = min(max(mean, low), high)
    if clipped == mean or math.isclose(clipped, mean, rel_tol=_MEAN_TOLERANCE, abs_tol=1e-300):
        return clipped, None
    return (
        clipped,
        f"{label}: the mean {mean!r} lies outside {low!r} .. {high!r}; {clipped!r} is taken instead.",
    )


def powers_within(low: float, high: float) -> list[int]:
    """The powers of two in [low, high], for `low` of at least 1."""
    first = max(0, math.ceil(math.log2(low) - 1e-12))
    last = math.floor(math.log2(high) + 1e-12)
    return [2**exponent for exponent in range(first, last + 1)]


def unknown_distribution_remedy(value: object) -> str:
    """What to write instead of a distribution that does not exist."""
    near = suggest(str(value), DISTRIBUTIONS) if isinstance(value, str) else None
    return near or f"Choose one of {', '.join(DISTRIBUTIONS)}."


def _identity(spec: ParameterSpec) -> tuple[object, ...]:
    # repr tells 1 from True and 1.0, which compare equal.
    return (
        spec.name,
        spec.distribution,
        repr((spec.min, spec.max, spec.mean, spec.scale, spec.step, spec.values)),
        spec.whole,
    )


def _check_choices(spec: ParameterSpec) -> None:
    for key in ("min", "max", "step"):
        if getattr(spec, key) is not None:
            raise BrokenRuleError(
                f"a categorical parameter has no {key}", key=key, remedy="List its choices in values."
            )
    if not spec.values:
        raise BrokenRuleError(
            "a categorical parameter needs its choices",
            key="values",
            remedy="Write values = [first, second].",
        )
    if any(isinstance(choice, float) and not math.isfinite(choice) for choice in spec.values):
        raise BrokenRuleError("a choice is not finite", key="values")
    if len(set(spec.values)) < len(spec.values):
        raise BrokenRuleError(
            "a choice stands twice in values", key="values", remedy="List each choice once."
        )
    if spec.mean is not None and spec.mean not in spec.values:
        raise BrokenRuleError("the mean of a categorical parameter must be one of its values", key="mean")
    if spec.scale != "auto":
        raise BrokenRuleError("a categorical parameter has no scale", key="scale", remedy="Leave scale out.")


def _check_bounds(spec: ParameterSpec) -> None:
    if spec.values is not None:
        raise BrokenRuleError(
            f"{spec.distribution} takes min and max, not values",
            key="values",
            remedy="Set distribution = categorical, or leave values out.",
        )
    low, high = spec.min, spec.max
    for key, bound in (("min", low), ("max", high)):
        if bound is None:
            raise BrokenRuleError(
                f"{key} is missing", key=key, rule=f"{spec.distribution} needs both min and max."
            )
    if low is None or high is None:  # pragma: no cover - the loop above has raised
        return
    if low >= high:
        raise BrokenRuleError(
            f"min ({low!r}) is not below max ({high!r})",
            key="min",
            remedy="Swap them, or leave the section out.",
        )
    if spec.distribution == "log_normal" and low <= 0:
        raise BrokenRuleError(
            f"log_normal needs bounds above 0, min is {low!r}",
            key="min",
            remedy="Use uniform for a range that reaches 0 or below.",
        )
    if spec.distribution == "logit_normal" and high >= 1:
        raise BrokenRuleError(
            f"logit_normal needs bounds below 1, max is {high!r}",
            key="max",
            rule="It is log-spaced in 1 - value.",
            remedy="Set max to 0.9999 or so, or use uniform.",
        )
    _check_whole_bounds(spec, low, high)


def _check_whole_bounds(spec: ParameterSpec, low: float, high: float) -> None:
    if spec.distribution == "int_uniform" and (low != int(low) or high != int(high)):
        raise BrokenRuleError(
            f"int_uniform needs whole bounds, not {low!r} .. {high!r}",
            key="min" if low != int(low) else "max",
        )
    if spec.distribution == "uniform_pow2":
        if low < 1:
            raise BrokenRuleError(f"uniform_pow2 needs a min of at least 1, not {low!r}", key="min")
        if len(powers_within(low, high)) < 2:
            raise BrokenRuleError(
                f"fewer than two powers of two lie within {low!r} .. {high!r}",
                key="min",
                remedy="Widen the bounds.",
            )
    elif spec.whole and math.floor(high) - math.ceil(low) < 1:
        raise BrokenRuleError(
            f"fewer than two whole numbers lie within {low!r} .. {high!r}",
            key="min",
            rule=f"{spec.name} is a whole number.",
        )


def _check_step(spec: ParameterSpec) -> None:
    if spec.step is None or spec.min is None or spec.max is None:
        return
    if spec.distribution not in ("uniform", "int_uniform"):
        raise BrokenRuleError(
            f"step belongs to uniform and int_uniform, not to {spec.distribution}",
            key="step",
            remedy="Leave it out, or list the values (distribution = categorical).",
        )
    if not 0 < spec.step <= spec.max - spec.min:
        raise BrokenRuleError(
            f"step ({spec.step!r}) is not above 0 and at most max - min",
            key="step",
            rule="Values are min, min + step and so on up to max.",
        )
    whole = spec.whole or spec.distribution == "int_uniform"
    if whole and (spec.step != int(spec.step) or spec.min != int(spec.min)):
        raise BrokenRuleError(
            f"{spec.name} takes whole numbers; step is {spec.step!r} and min {spec.min!r}",
            key="step",
            rule="Both are whole where the values are.",
        )


def _check_centre(spec: ParameterSpec) -> None:
    if spec.mean is not None and (isinstance(spec.mean, (bool, str)) or not math.isfinite(spec.mean)):
        raise BrokenRuleError("the mean is not a finite number", key="mean")
    if spec.scale == "time" and spec.distribution != "log_normal":
        raise BrokenRuleError(
            f"scale = time belongs to log_normal, not to {spec.distribution}",
            key="scale",
            remedy="Use scale = auto.",
        )
    if isinstance(spec.scale, float) and not (0 < spec.scale < math.inf):
        raise BrokenRuleError("scale must be above 0", key="scale", remedy="Use auto, which is 0.5.")
