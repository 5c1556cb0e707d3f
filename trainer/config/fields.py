"""The types of settings: pydantic's own constraints, read strictly (a bool is no number, a string no bool).

Bounds, choices and alternatives are pydantic's and come out of its JSON schema again for help texts
(`schema.py`). The validators here only decide what may be read as what before pydantic looks at it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_COUNT = 2**53
"""Whole numbers above this cannot pass through a float (a sampler's draw) unharmed."""


def _refuse_bool_and_text(value: Any) -> Any:
    if isinstance(value, (bool, str)):
        raise ValueError("not a number")  # noqa: TRY004  (pydantic collects ValueErrors)
    return value


def _read_flag(value: Any) -> Any:
    # 0 and 1 occur in published files for bools; a quoted 'False' or a list does not mean anything.
    if isinstance(value, bool) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise ValueError("neither True nor False")


def _read_text(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return repr(value)
    return value


def _read_list(value: Any) -> Any:
    """A list as a literal, or as words parted by commas (or by blanks, where there is no comma)."""
    if isinstance(value, str):
        inside = value.strip()
        if inside[:1] in "[(" and inside[-1:] in ")]":
            inside = inside[1:-1]
        words = inside.split(",") if "," in inside else inside.split()
        return tuple(word.strip().strip("'\"") for word in words if word.strip())
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return (value,)
    return value


def _in_any_case(*choices: str) -> Callable[[Any], Any]:
    by_lower = {choice.lower(): choice for choice in choices}

    def read(value: Any) -> Any:
        return by_lower.get(value.lower(), value) if isinstance(value, str) else value

    return read


def _list_in_any_case(*choices: str) -> Callable[[Any], Any]:
    read_one = _in_any_case(*choices)

    def read(value: Any) -> Any:
        listed = _read_list(value)
        return tuple(read_one(item) for item in listed) if isinstance(listed, tuple) else listed

    return read


Auto = Annotated[Literal["auto"], BeforeValidator(_in_any_case("auto"))]
Flag = Annotated[bool, BeforeValidator(_read_flag)]
Text = Annotated[str, Field(min_length=1), BeforeValidator(_read_text)]
# `none` means None everywhere else; here it is the name of one of several.
NameWithNone = Annotated[Text, BeforeValidator(lambda value: "none" if value is None else value)]
Names = Annotated[tuple[str, ...], BeforeValidator(_read_list)]

# The constraint stands before the validator: then it is the number's own and appears in the JSON schema.
_STRICT = BeforeValidator(_refuse_bool_and_text)
Count = Annotated[int, Field(ge=1, le=MAX_COUNT), _STRICT]
CountFromZero = Annotated[int, Field(ge=0, le=MAX_COUNT), _STRICT]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1), _STRICT]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), _STRICT]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), _STRICT]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), _STRICT]
BelowOne = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False), _STRICT]
Indices = Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(_read_list)]

Backend = Annotated[
    Literal["auto", "Serial", "Multiprocessing", "Ray", "PufferEnv"],
    BeforeValidator(_in_any_case("auto", "Serial", "Multiprocessing", "Ray", "PufferEnv")),
]
Device = Annotated[
    str,
    Field(
        pattern=r"^(auto|cpu|cuda|cuda:[0-9]{1,3})$", json_schema_extra={"kind": "auto | cuda | cuda:N | cpu"}
    ),
    BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value),
]
Precision = Annotated[
    Literal["float32", "bfloat16", "auto"], BeforeValidator(_in_any_case("float32", "bfloat16", "auto"))
]
CompileMode = Annotated[
    Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"],
    BeforeValidator(_in_any_case("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")),
]
OptimizerName = Annotated[Literal["adam", "muon"], BeforeValidator(_in_any_case("adam", "muon"))]
Goal = Annotated[Literal["maximize", "minimize"], BeforeValidator(_in_any_case("maximize", "minimize"))]
MetricDistribution = Annotated[
    Literal["linear", "percentile"], BeforeValidator(_in_any_case("linear", "percentile"))
]
ScoreRule = Annotated[Literal["last", "eval", "auc"], BeforeValidator(_in_any_case("last", "eval", "auc"))]
CostKind = Annotated[Literal["uptime", "agent_steps"], BeforeValidator(_in_any_case("uptime", "agent_steps"))]
LauncherName = Annotated[Literal["local", "ray"], BeforeValidator(_in_any_case("local", "ray"))]
Objectives = Annotated[
    tuple[Literal["score", "cost"], ...],
    Field(min_length=1),
    BeforeValidator(_list_in_any_case("score", "cost")),
]
