"""Which environments there are on this machine."""

from __future__ import annotations

import fnmatch
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Listed:
    """One package's environments.

    Attributes:
        package: as in `[base] package`.
        names: as in `[base] env_name`, sorted; those that match.
        missing: what to install where the package is not there, else None.
    """

    package: str
    names: tuple[str, ...]
    missing: str | None = None


def list_environments(pattern: str | None = None) -> tuple[Listed, ...]:
    """Every environment that can be named here, by package.

    Args:
        pattern: with `*`, `?` or `[`, a shell pattern; else a part of the name, or a whole package's name.
            Without regard to capitals; matched against `name` and `package/name`.
    """
    found = []
    for package, names_of in _LISTS.items():
        try:
            names, missing = names_of(), None
        except MissingExtraError as error:
            names, missing = [], error.remedy
        chosen = tuple(sorted(name for name in names if _matches(pattern, package, name)))
        if chosen or (missing is not None and (pattern is None or pattern.lower() == package)):
            found.append(Listed(package, chosen, missing))
    return tuple(found)


def _matches(pattern: str | None, package: str, name: str) -> bool:
    if pattern is None:
        return True
    wanted, full = pattern.lower(), f"{package}/{name}".lower()
    if any(sign in wanted for sign in "*?["):
        return fnmatch.fnmatchcase(name.lower(), wanted) or fnmatch.fnmatchcase(full, wanted)
    return wanted == package or wanted in full


def _atari() -> list[str]:
    from trainer.envs.atari import game_names

    return game_names()


def _envpool() -> list[str]:
    from trainer.envs.envpool import environment_names

    return environment_names()


def _gymnasium() -> list[str]:
    from trainer.envs.gymnasium import registered_ids

    # ALE's games are the package atari's; the others of a prefix are what only JAX could make.
    return [name for name in registered_ids() if not name.startswith(("ALE/", "phys2d/", "tabular/"))]


def _ocean() -> list[str]:
    from trainer.envs.ocean.recipe import ENVIRONMENTS

    return list(ENVIRONMENTS)


def _procgen() -> list[str]:
    if importlib.util.find_spec("procgen") is None:
        raise MissingExtraError("procgen", extra="procgen", purpose="Procgen environments")
    from trainer.envs.procgen import GAMES

    return list(GAMES)


_LISTS: dict[str, Callable[[], list[str]]] = {
    "atari": _atari,
    "envpool": _envpool,
    "gymnasium": _gymnasium,
    "ocean": _ocean,
    "procgen": _procgen,
}
