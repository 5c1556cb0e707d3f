"""Which environments there are: those our config files name, and those that installed packages register."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from trainer.config import files

_MODULES = {
    "atari": ("ale_py", "atari"),
    "procgen": ("procgen2", "procgen"),
    "envpool": ("envpool", "envpool"),
    "minigrid": ("minigrid", "minigrid"),
}
_HIDDEN_PREFIXES = ("phys2d/", "tabular/", "GymV21", "GymV26", "ALE/")


@dataclass(frozen=True, slots=True)
class KnownEnvironment:
    """One environment.

    Attributes:
        package: as in `[base] package`.
        name: as in `[base] env_name`.
        config: the file that lists it, empty where none does.
        extra: the extra that must be installed first, empty where nothing is missing.
    """

    package: str
    name: str
    config: str = ""
    extra: str = ""


def list_environments() -> list[KnownEnvironment]:
    """All environments by package and name; imports Gymnasium and what registers itself with it."""
    found: dict[tuple[str, str], KnownEnvironment] = {}
    for folder in (Path("config"), files.shipped_folder()):
        for listing in files.list_configs(folder):
            for name in listing.env_names:
                package = listing.package or ""
                known = KnownEnvironment(package, name, str(listing.path), _missing_extra(package))
                found.setdefault((package, name.lower()), known)
    for package, name in (*_registered(), *_atari_games()):
        found.setdefault((package, name.lower()), KnownEnvironment(package, name))
    return sorted(found.values(), key=lambda environment: (environment.package, environment.name.lower()))


def _missing_extra(package: str) -> str:
    module, extra = _MODULES.get(package, ("", ""))
    return extra if module and find_spec(module) is None else ""


def _registered() -> list[tuple[str, str]]:
    import gymnasium

    ids = [name for name in gymnasium.registry if not name.startswith(_HIDDEN_PREFIXES)]
    return [("gymnasium", name) for name in ids]


def _atari_games() -> list[tuple[str, str]]:
    if find_spec("ale_py") is None:
        return []
    from ale_py import roms

    return [("atari", name) for name in roms.get_all_rom_ids()]
