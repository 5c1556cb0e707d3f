"""Loads a config: the default file, the user's file over it, the command line over both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trainer.config import files
from trainer.config.build import build_config
from trainer.config.dialects import recognise, refusal_error, translate
from trainer.config.ini import IniFile, read_ini
from trainer.config.nearest import nearest_name
from trainer.config.origin import COMMAND_LINE, DEFAULT, Entry, Origin
from trainer.config.raw import RawFile, check_sections, read_raw
from trainer.errors import ConfigError, Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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
    default_files: Sequence[str | Path] = (),
) -> Config:
    """The config in a file, merged key by key over the default file.

    A file in another dialect is translated; what was done stands in the config's notes.

    Args:
        path: the file.
        fill_in_default: merge over config/default.ini; otherwise what the file leaves out takes the schema's
            defaults, and nothing but the file's own parameters is swept.
        overrides: settings from the command line; they win, and what they set is not swept.
        env_name: which of the environments that the file lists; the first unless told.
        default_files: other files in the place of config/default.ini (a fork's own), later ones over earlier.

    Raises:
        ConfigError: a file cannot be read, or something in it is not valid.
    """
    return assemble(
        read_ini(Path(path)),
        fill_in_default=fill_in_default,
        overrides=overrides,
        env_name=env_name,
        default_files=default_files,
    )


def assemble(
    file: IniFile,
    *,
    fill_in_default: bool = True,
    overrides: Sequence[Override] = (),
    env_name: str | None = None,
    default_files: Sequence[str | Path] = (),
) -> Config:
    """The config of a file that is already parsed; see `load_config_file`."""
    listed = files.describe(Path(file.path), file).env_names
    given = {override.name: override.entry for override in overrides}
    asked = env_name
    if asked is None and "base.env_name" in given:
        asked = str(given["base.env_name"].value)
    chosen, notes = _choose(asked, listed, file.path)

    problems: list[ConfigError] = []
    raw: list[RawFile] = []
    if fill_in_default:
        raw += [
            as_defaults(read_raw(read_ini(Path(default)), None, (), problems)) for default in default_files
        ]
    own = read_raw(file, chosen, listed, problems)
    raw.append(as_defaults(own) if _is_default_file(file.path) else own)

    dialect = recognise(name for layer in raw for name in layer.entries)
    known = [check_sections(layer, dialect.sections, problems) for layer in raw]
    translated = translate(known, dialect)
    if translated.refusals:
        problems.insert(0, refusal_error(translated.refusals, dialect))
    layers: list[Mapping[str, Entry]] = [*translated.layers, given]
    if fill_in_default and not default_files:
        layers.insert(0, as_defaults(read_raw(read_ini(files.default_path()), None, (), problems)).entries)
    if chosen is not None:
        layers.append({"base.env_name": Entry(chosen, _origin_of_choice(chosen, layers))})
    said = (*notes, *(note for layer in raw for note in layer.notes), *translated.notes)
    return build_config(*layers, notes=said, problems=[*problems, *translated.problems])


def _is_default_file(path: str) -> bool:
    default = files.default_path()
    return default.is_file() and Path(path).is_file() and Path(path).samefile(default)


def _choose(asked: str | None, listed: tuple[str, ...], path: str) -> tuple[str | None, tuple[str, ...]]:
    if asked is None:
        return (listed[0] if listed else None), ()
    by_lower = {name.lower(): name for name in listed}
    if not listed or asked.lower() in by_lower:
        return by_lower.get(asked.lower(), asked), ()
    near = nearest_name(asked, listed)
    hint = f"; did you mean {near}?" if near is not None else "."
    return asked, (f"{asked} is not among the environments that {path} lists{hint}",)


def _origin_of_choice(chosen: str, layers: Iterable[Mapping[str, Entry]]) -> Origin:
    for layer in reversed(list(layers)):
        entry = layer.get("base.env_name")
        if entry is not None:
            return entry.origin
    return Origin(COMMAND_LINE, Place(file=COMMAND_LINE, section="base", key="env_name"), chosen)


def as_defaults(file: RawFile) -> RawFile:
    """The same settings with the origin of defaults."""
    entries = {
        name: Entry(entry.value, Origin(DEFAULT, entry.origin.place, entry.origin.text))
        for name, entry in file.entries.items()
    }
    return RawFile(entries, file.sections, file.notes)
