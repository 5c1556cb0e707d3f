"""Finds config files by name: in ./config first, then among those that ship with the package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.config.ini import IniFile, read_ini
from trainer.config.nearest import suggest
from trainer.errors import ConfigError, ConfigFileError

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_FILE = "default.ini"


@dataclass(frozen=True, slots=True)
class ConfigListing:
    """What one config file is for."""

    path: Path
    package: str | None
    env_names: tuple[str, ...]


def shipped_folder() -> Path:
    """The config files that belong to this installation."""
    inside = Path(__file__).parent / "files"
    # A checkout (and an editable install of it) keeps them at its top; a wheel carries them inside.
    return inside if inside.is_dir() else Path(__file__).parents[2] / "config"


def default_path() -> Path:
    """The file with every key and its default."""
    return shipped_folder() / DEFAULT_FILE


def split_names(value: object) -> tuple[str, ...]:
    """The environments that an `env_name` lists."""
    if value is None:
        return ()
    if isinstance(value, (list, tuple)):
        return tuple(str(item) for item in value)
    return tuple(str(value).replace(",", " ").split())


def list_configs(folder: Path) -> tuple[ConfigListing, ...]:
    """All files below a folder that name environments; files that cannot be read are left out."""
    found = []
    for path in sorted(folder.rglob("*.ini")):
        if path.name == DEFAULT_FILE:
            continue
        try:
            listing = describe(path, read_ini(path))
        except ConfigFileError:
            continue
        if listing.env_names:
            found.append(listing)
    return tuple(found)


def describe(path: Path, file: IniFile) -> ConfigListing:
    """What a file says it is for."""
    base = file.find("base")
    values = {} if base is None else {key: entry.value for key, entry in base.entries.items()}
    package = values.get("package")
    return ConfigListing(path, None if package is None else str(package), split_names(values.get("env_name")))


def find_config(name: str) -> tuple[Path, str | None]:
    """The file for `NAME` or `PACKAGE/NAME`, and the environment within it that was meant.

    A file that lists only that name beats one that lists it among others; `./config` beats what is shipped.

    Raises:
        ConfigError: no file lists the name (names the nearest), or several do equally well (names them).
    """
    folders = [Path("config"), shipped_folder()]
    everything: list[ConfigListing] = []
    for folder in folders:
        if not folder.is_dir():
            continue
        listings = list_configs(folder)
        everything += listings
        matches = [(listing, env) for listing in listings if (env := _match(listing, name)) is not None]
        alone = [match for match in matches if len(match[0].env_names) == 1]
        best = alone or matches
        if len(best) > 1:
            raise ConfigError(
                f"several files are for {name!r}: {', '.join(str(listing.path) for listing, _ in best)}",
                remedy=_decide(name, [listing for listing, _ in best]),
            )
        if best:
            return best[0][0].path, best[0][1]
    known = {env for listing in everything for env in listing.env_names}
    raise ConfigError(
        f"no config is for {name!r}",
        rule=f"Looked in {', '.join(str(folder) for folder in folders if folder.is_dir())}.",
        remedy=suggest(name.rpartition("/")[2] or name, known)
        or "Name a file instead: start path/to/file.ini.",
    )


def _match(listing: ConfigListing, name: str) -> str | None:
    plain = name.lower()
    for env in listing.env_names:
        if env.lower() == plain:
            return env
        if listing.package is not None and f"{listing.package}/{env}".lower() == plain:
            return env
    return None


def _decide(name: str, listings: Iterable[ConfigListing]) -> str:
    packages = sorted({listing.package for listing in listings if listing.package is not None})
    if len(packages) > 1:
        return f"Name the package too: {' or '.join(f'{package}/{name}' for package in packages)}."
    return "Name the file instead."
