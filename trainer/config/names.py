"""Full names of settings: `train.gamma`, `env.frameskip`, `sweep.metric`, `sweep.train.gamma.max`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from trainer.config.nearest import nearest_name, suggest
from trainer.config.parameters import PARAMETER_KEYS
from trainer.config.schema import entries, keys_of
from trainer.config.sections import FREE_SECTIONS, SECTION_ORDER, SWEPT_SECTIONS
from trainer.errors import Place, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable

_ARGUMENT = re.compile(r"[a-z_][a-z0-9_]*")


def normalise_name(name: str) -> str:
    """A name as the config holds it: lower case, underscores; without a section it is `[base]`'s."""
    plain = name.strip().lower().replace("-", "_")
    return plain if "." in plain else f"base.{plain}"


def split_parameter_name(name: str) -> tuple[str, str] | None:
    """`sweep.train.gamma.max` as (`train.gamma`, `max`); None for names that are no swept parameter's."""
    parts = name.split(".")
    if len(parts) < 4 or parts[0] != "sweep":
        return None
    return ".".join(parts[1:-1]), parts[-1]


def check_name(name: str, place: Place | None = None) -> None:
    """Refuse a full name that nothing knows.

    Raises:
        UnknownNameError: naming the nearest valid one.
    """
    parameter = split_parameter_name(name)
    if parameter is not None:
        check_parameter_name(parameter[0], place)
        if parameter[1] not in PARAMETER_KEYS:
            raise UnknownNameError(
                f"a swept parameter has no key {parameter[1]!r}",
                place=place,
                rule=f"It has {', '.join(PARAMETER_KEYS)}.",
                remedy=suggest(parameter[1], PARAMETER_KEYS),
            )
        return
    section, _, key = name.partition(".")
    if section not in SECTION_ORDER:
        raise unknown_section(section, place)
    if section in FREE_SECTIONS:
        if not _ARGUMENT.fullmatch(key):
            raise UnknownNameError(
                f"{key!r} cannot be a keyword argument",
                place=place,
                rule=f"[{section}] holds keyword arguments: letters, digits and underscores.",
            )
        return
    if name not in entries():
        raise UnknownNameError(
            f"[{section}] has no key {key!r}", place=place, remedy=_nearest_setting(section, key)
        )


def check_parameter_name(name: str, place: Place | None = None) -> None:
    """Refuse a swept parameter whose setting does not exist or cannot be swept."""
    section, _, _key = name.partition(".")
    if section not in SWEPT_SECTIONS:
        raise UnknownNameError(
            f"the setting {name!r} cannot be swept",
            place=place,
            rule=f"Settings of {', '.join(SWEPT_SECTIONS)} can.",
            remedy=suggest(section, SWEPT_SECTIONS, prefix="sweep."),
        )
    check_name(name, place)


def unknown_section(section: str, place: Place | None) -> UnknownNameError:
    """The error for a section that does not exist."""
    return UnknownNameError(
        f"there is no section [{section}]",
        place=place,
        rule=f"Sections are {', '.join(SECTION_ORDER)}, and sweep.SECTION.KEY.",
        remedy=suggest(section, SECTION_ORDER),
    )


def match_sweep_only(wanted: Iterable[str], declared: Iterable[str], place: Place | None) -> set[str]:
    """The declared parameters that `sweep_only` names, by full name or last part, whole words.

    Raises:
        UnknownNameError: an item names no declared parameter.
    """
    names = tuple(declared)
    chosen: set[str] = set()
    for item in wanted:
        plain = item.strip().lower().replace("-", "_")
        matching = {name for name in names if plain in (name, name.rpartition(".")[2])}
        if not matching:
            candidates = (*names, *(name.rpartition(".")[2] for name in names))
            raise UnknownNameError(
                f"sweep_only names {item!r}, which is not declared in any [sweep.SECTION.KEY]",
                place=place,
                remedy=suggest(plain, candidates) or f"Declared are: {', '.join(names) or 'none'}.",
            )
        chosen |= matching
    return chosen


def _nearest_setting(section: str, key: str) -> str | None:
    elsewhere = [entry.name for entry in entries().values() if entry.key == key]
    if elsewhere:
        return f"Did you mean {' or '.join(elsewhere)}?"
    near = nearest_name(key, keys_of(section))
    if near is None:
        near_anywhere = nearest_name(key, [entry.key for entry in entries().values()])
        full = [entry.name for entry in entries().values() if entry.key == near_anywhere]
        return f"Did you mean {' or '.join(full)}?" if full else None
    return f"Did you mean {near}?"
