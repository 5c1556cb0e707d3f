"""Which environments there are on this machine."""

from __future__ import annotations

import fnmatch
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Listed:
    """Environments of one package.

    Attributes:
        package: as in `[base] package`.
        names: as in `[base] env_name`, sorted; those that match. What is missing may not know them.
        extra: which extra of puffer-sweep they need first, None where they can be made as things are.
    """

    package: str
    names: tuple[str, ...]
    extra: str | None = None


def list_environments(pattern: str | None = None) -> tuple[Listed, ...]:
    """Every environment that can be named here, by package and by what is missing.

    Args:
        pattern: with `*`, `?` or `[`, a shell pattern; else a part of the name, or a whole package's name.
            Without regard to capitals; matched against `name` and `package/name`.
    """
    found = []
    for package, groups_of in _LISTS.items():
        for extra, names in groups_of().items():
            chosen = tuple(sorted(name for name in names if _matches(pattern, package, name)))
            unknown = not names and (pattern is None or pattern.lower() == package)
            if chosen or unknown:
                found.append(Listed(package, chosen, extra))
    return tuple(found)


def _matches(pattern: str | None, package: str, name: str) -> bool:
    if pattern is None:
        return True
    wanted, full = pattern.lower(), f"{package}/{name}".lower()
    if any(sign in wanted for sign in "*?["):
        return fnmatch.fnmatchcase(name.lower(), wanted) or fnmatch.fnmatchcase(full, wanted)
    return wanted == package or wanted in full


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _atari() -> _Groups:
    if not _installed("ale_py"):
        return {"atari": []}
    from trainer.envs.atari import game_names

    return {None: game_names()}


def _envpool() -> _Groups:
    if not _installed("envpool"):
        return {"envpool": []}
    from trainer.envs.envpool import environment_names

    return {None: environment_names()}


def _gymnasium() -> _Groups:
    from trainer.envs.gymnasium import missing_extra, registered_ids

    groups: dict[str | None, list[str]] = {}
    for name in registered_ids():
        groups.setdefault(missing_extra(name), []).append(name)
    if not _installed("minigrid"):
        groups["minigrid"] = []
    return groups


def _ocean() -> _Groups:
    from trainer.envs.ocean.recipe import ENVIRONMENTS

    return {None: list(ENVIRONMENTS)}


def _procgen() -> _Groups:
    from trainer.envs.procgen import GAMES

    return {None if _installed("procgen") else "procgen": list(GAMES)}


_Groups = Mapping[str | None, Sequence[str]]
"""Names by the extra that they need first."""

_LISTS: dict[str, Callable[[], _Groups]] = {
    "atari": _atari,
    "envpool": _envpool,
    "gymnasium": _gymnasium,
    "ocean": _ocean,
    "procgen": _procgen,
}
