"""Loads a config: the default file, the user's file over it, the command line over both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trainer.config import files
from trainer.config.build import build_config
from trainer.config.ini import IniFile, IniSection, read_ini
from trainer.config.names import check_name, check_parameter_name, unknown_section
from trainer.config.nearest import nearest_name
from trainer.config.origin import DEFAULT, Entry, Origin
from trainer.config.problems import raise_problems
from trainer.config.sections import SECTION_ORDER
from trainer.errors import ConfigError, Place, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trainer.config.model import Config
    from trainer.config.overrides import Override


def load_config(name: str, overrides: Sequence[Override] = (), env_name: str | None = None) -> Config:
    """The config for an environment, by its name or as `package/name`; a path to a file is read as such.

    Raises:
        ConfigError: no file or several are for that name, or the file is not valid.
    """
    path = Path(name)
    if path.suffix.lower() == ".ini" or path.is_file():
        return load_config_file(path, overrides=overrides, env_name=env_name)
    path, chosen = files.find_config(name)
    return load_config_file(path, overrides=overrides, env_name=env_name or chosen)


def load_config_file(
    path: str | Path,
    fill_in_default: bool = True,  # noqa: FBT001  (the interface that PufferLib's users know)
    overrides: Sequence[Override] = (),
    env_name: str | None = None,
    *,
    default_file: str | Path | None = None,
) -> Config:
    """The config in a file, merged key by key over the default file.

    Args:
        path: the file.
        fill_in_default: merge over config/default.ini; otherwise what the file leaves out takes the schema's
            defaults, and nothing but the file's own parameters is swept.
        overrides: settings from the command line; they win, and what they set is not swept.
        env_name: which of the environments that the file lists; the first unless told.
        default_file: another file in the place of config/default.ini (a fork's own).

    Raises:
        ConfigError: a file cannot be read, or something in it is not valid.
    """
    file = read_ini(Path(path))
    layers: list[dict[str, Entry]] = []
    if fill_in_default:
        base = read_ini(files.default_path() if default_file is None else Path(default_file))
        layers.append(_as_defaults(_entries(base, environment=None, environments=())))
    given = {override.name: override.entry for override in overrides}
    listed = files.describe(Path(path), file).env_names
    asked = env_name
    if asked is None and "base.env_name" in given:
        asked = str(given["base.env_name"].value)
    chosen, notes = _choose(asked, listed, str(path))
    own = _entries(file, environment=chosen, environments=listed)
    layers.append(_as_defaults(own) if _is_default_file(Path(path)) else own)
    layers.append(given)
    if chosen is not None:
        layers.append({"base.env_name": Entry(chosen, _origin_of_choice(chosen, layers))})
    return build_config(*layers, notes=notes)


def _is_default_file(path: Path) -> bool:
    return files.default_path().is_file() and path.samefile(files.default_path())


def _choose(asked: str | None, listed: tuple[str, ...], path: str) -> tuple[str | None, tuple[str, ...]]:
    if asked is None:
        return (listed[0] if listed else None), ()
    by_lower = {name.lower(): name for name in listed}
    if not listed or asked.lower() in by_lower:
        return by_lower.get(asked.lower(), asked), ()
    near = nearest_name(asked, listed)
    hint = f"; did you mean {near}?" if near is not None else "."
    return asked, (f"{asked} is not among the environments that {path} lists{hint}",)


def _origin_of_choice(chosen: str, layers: Iterable[dict[str, Entry]]) -> Origin:
    for layer in reversed(list(layers)):
        entry = layer.get("base.env_name")
        if entry is not None:
            return entry.origin
    return Origin("command line", Place(file="command line", section="base", key="env_name"), chosen)


def _as_defaults(entries: dict[str, Entry]) -> dict[str, Entry]:
    return {
        name: Entry(e.value, Origin(DEFAULT, e.origin.place, e.origin.text)) for name, e in entries.items()
    }


def _entries(file: IniFile, *, environment: str | None, environments: tuple[str, ...]) -> dict[str, Entry]:
    """A file's settings by full name; sections of the chosen environment go over the general ones."""
    problems: list[ConfigError] = []
    general: dict[str, Entry] = {}
    own: dict[str, Entry] = {}
    for section in file.sections:
        place = Place(file.path, section.line, section.name)
        try:
            name, owner = _split_owner(section, environments, place)
            _check_section(name, place)
            chosen = _named_entries(section, name, problems)
        except ConfigError as error:
            problems.append(error)
            continue
        if owner is None:
            general.update(chosen)
        elif environment is not None and owner.lower() == environment.lower():
            own.update(chosen)
    raise_problems(problems)
    return {**general, **own}


def _split_owner(section: IniSection, environments: tuple[str, ...], place: Place) -> tuple[str, str | None]:
    owner, colon, name = section.name.rpartition(":")
    if not colon:
        return section.name, None
    if owner.lower() not in {listed.lower() for listed in environments}:
        near = nearest_name(owner, environments)
        raise UnknownNameError(
            f"{owner!r} is not among the environments of this file",
            place=place,
            rule="[NAME:section] is for one of the environments that [base] env_name lists.",
            remedy=None if near is None else f"Did you mean [{near}:{name}]?",
        )
    return name, owner


def _check_section(name: str, place: Place) -> None:
    if name in SECTION_ORDER:
        return
    head, _, parameter = name.partition(".")
    if head != "sweep" or "." not in parameter:
        raise unknown_section(name, place)
    check_parameter_name(parameter.lower(), place)


def _named_entries(section: IniSection, name: str, problems: list[ConfigError]) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for key, entry in section.entries.items():
        full = f"{name.lower()}.{key}"
        try:
            check_name(full, entry.origin.place)
        except ConfigError as error:
            problems.append(error)
        else:
            found[full] = entry
    return found
