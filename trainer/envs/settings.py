"""Settings of an environment (`[env]`) as a frozen dataclass: names, types and bounds checked."""

from __future__ import annotations

import types
import typing
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

from trainer.envs.recipe import check_env_keys
from trainer.errors import EnvironmentMakeError, Place

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")


def env_key_names(kind: type[Any], aliases: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """All names that `[env]` may hold for a settings class."""
    return tuple(field.name for field in fields(kind)) + tuple(aliases or {})


def read_settings(
    kind: type[T], values: Mapping[str, Any], environment: str, aliases: Mapping[str, str] | None = None
) -> T:
    """Build a settings dataclass from `[env]`.

    A field's `metadata` may hold `min`, `max` and `choices`.

    Args:
        kind: a frozen dataclass with a default for every field.
        values: parsed INI values by key.
        environment: its name, for messages.
        aliases: other names under which a key is known → the field's name.

    Raises:
        EnvironmentMakeError: an unknown key, a wrong type, or a value out of bounds.
    """
    aliases = aliases or {}
    check_env_keys(values, env_key_names(kind, aliases), environment)
    hints = typing.get_type_hints(kind)
    by_name: dict[str, Field[Any]] = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    chosen: dict[str, Any] = {}
    for key, value in values.items():
        name = aliases.get(key, key)
        if name in chosen:
            raise EnvironmentMakeError(
                f"{key!r} and {name!r} are two names of one setting and both are given.",
                place=Place(section="env", key=key),
                remedy=f"Keep one of them in {environment}'s settings.",
            )
        chosen[name] = _check(by_name[name], hints[name], key, value)
    for field in by_name.values():
        assert field.default is not MISSING or field.default_factory is not MISSING
    return kind(**chosen)


def _check(field: Field[Any], hint: Any, key: str, value: Any) -> Any:
    allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    converted = _convert(value, allowed)
    place = Place(section="env", key=key)
    if converted is _WRONG:
        names = " or ".join("none" if one is type(None) else one.__name__ for one in allowed)
        raise EnvironmentMakeError(
            "The setting has the wrong type.", place=place, value=value, rule=f"It is {names}."
        )
    low, high, choices = (field.metadata.get(name) for name in ("min", "max", "choices"))
    if choices is not None and converted not in choices:
        raise EnvironmentMakeError(
            "The setting has no such option.",
            place=place,
            value=value,
            rule=f"One of: {', '.join(map(str, choices))}.",
        )
    if converted is not None and (
        (low is not None and converted < low) or (high is not None and converted > high)
    ):
        upper = "" if high is None else f" and at most {high}"
        raise EnvironmentMakeError(
            "The setting is out of bounds.", place=place, value=value, rule=f"At least {low}{upper}."
        )
    return converted


_WRONG = object()


def _convert(value: Any, allowed: tuple[Any, ...]) -> Any:
    """The value as an allowed type: whole floats pass for ints, ints for floats, nothing for bools."""
    if value is None:
        return None if type(None) in allowed else _WRONG
    if isinstance(value, bool):
        return value if bool in allowed else _WRONG
    if isinstance(value, int):
        return value if int in allowed else (float(value) if float in allowed else _WRONG)
    if isinstance(value, float):
        if float in allowed:
            return value
        return int(value) if int in allowed and value.is_integer() else _WRONG
    if isinstance(value, str):
        return value if str in allowed else _WRONG
    return _WRONG
