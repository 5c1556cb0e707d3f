"""Which environments there are: those our config files name, and all that installed packages know."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sweeper.trial import environments_here
from trainer.config import files


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
    missing: dict[str, str] = {}
    for listed in environments_here():
        extra = listed.extra or ""
        if not listed.names:
            missing[listed.package] = extra
        for name in listed.names:
            found[listed.package, name.lower()] = KnownEnvironment(listed.package, name, extra=extra)
    for folder in (Path("config"), files.shipped_folder()):
        for listing in files.list_configs(folder):
            package = listing.package or ""
            for name in listing.env_names:
                key = (package, name.lower())
                known = found.get(key) or KnownEnvironment(package, name, extra=missing.get(package, ""))
                found[key] = known if known.config else replace(known, config=str(listing.path))
    return sorted(found.values(), key=lambda environment: (environment.package, environment.name.lower()))
