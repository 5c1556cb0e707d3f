"""Writes a file of any dialect in this project's own: what the file says, and nothing that it leaves out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.config.build import build_config
from trainer.config.dialects import recognise, refusal_error, translate
from trainer.config.dump import setting_text
from trainer.config.files import describe
from trainer.config.ini import IniFile, read_ini
from trainer.config.load import as_defaults
from trainer.config.names import check_name
from trainer.config.problems import raise_problems
from trainer.config.raw import RawFile, check_sections, read_raw
from trainer.config.sections import FREE_SECTIONS, SECTION_ORDER
from trainer.config.values import format_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainer.config.dialects import Dialect, Refusal
    from trainer.config.origin import Entry
    from trainer.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Conversion:
    """A file in this project's dialect.

    Attributes:
        text: the new file.
        dialect: the old one's, in words.
        notes: what was done, a line each.
        left_out: what has no counterpart, a line each; they stand in the text as comments.
    """

    text: str
    dialect: str
    notes: tuple[str, ...]
    left_out: tuple[str, ...]


def convert_file(path: Path, default_files: Sequence[Path] = (), *, partial: bool = False) -> Conversion:
    """A file's settings in this project's dialect.

    Args:
        path: the file.
        default_files: what the file was meant to be merged over (its project's own default.ini); then the result
            holds those settings as well.
        partial: write what has a counterpart and list the rest in comments, instead of refusing the file.

    Raises:
        ConfigError: a file cannot be read, something in it is not valid, or (unless `partial`) has no counterpart.
    """
    file = read_ini(path)
    environments = describe(path, file).env_names
    problems: list[ConfigError] = []
    raw = [as_defaults(read_raw(read_ini(default), None, (), problems)) for default in default_files]
    raw.append(read_raw(file, None, environments, problems))
    dialect = recognise(name for layer in raw for name in layer.entries)
    known = [check_sections(layer, dialect.sections, problems) for layer in raw]
    translated = translate(known, dialect)
    problems += translated.problems
    if translated.refusals and not partial:
        problems.insert(0, refusal_error(translated.refusals, dialect))
    merged = {name: entry for layer in translated.layers for name, entry in layer.items()}
    own = {name: _own_sections(file, name, raw[-1], dialect, problems) for name in environments}
    raise_problems(problems)
    blocks = _blocks(merged, _validated(merged), "")
    for environment, entries in own.items():
        blocks += _blocks(entries, _validated({**merged, **entries}), f"{environment}:")
    left_out = tuple(f"{one.name} ({one.place}): {one.reason}" for one in translated.refusals)
    text = "\n".join([*_heading(path.name, dialect, translated.refusals), *blocks])
    return Conversion(text, dialect.name, tuple(dict.fromkeys(translated.notes)), left_out)


def _own_sections(
    file: IniFile, environment: str, general: RawFile, dialect: Dialect, problems: list[ConfigError]
) -> dict[str, Entry]:
    """What `[NAME:section]` sets for one environment."""
    everything = read_raw(file, environment, describe(Path(file.path), file).env_names, problems)
    own = {
        name: entry for name, entry in everything.entries.items() if general.entries.get(name) is not entry
    }
    return translate([own], dialect).layers[0] if own else {}


def _validated(entries: Mapping[str, Entry]) -> dict[str, Any]:
    """The values as they are after loading: numbers without commas, means within their bounds.

    A parameter's section may be incomplete here, for another file to complete.
    """
    for name, entry in entries.items():
        check_name(name, entry.origin.place)
    complete = {name: entry for name, entry in entries.items() if not _is_incomplete(name, entries)}
    return {
        name: value for name, value in build_config(complete).values_by_name().items() if name in complete
    }


def _is_incomplete(name: str, entries: Mapping[str, Entry]) -> bool:
    section, _, _ = name.rpartition(".")
    if not section.startswith("sweep."):
        return name == "sweep.sweep_only"
    return not {f"{section}.distribution", f"{section}.values"} & set(entries)


def _heading(source: str, dialect: Dialect, refusals: Sequence[Refusal]) -> list[str]:
    blocks = [f"# Converted from {source}, in the dialect of {dialect.name}, by puffer-sweep convert.\n"]
    if refusals:
        listed = "".join(f"# {one.name}: {one.reason}\n" for one in refusals)
        blocks.append(f"# Left out, because there is no counterpart:\n{listed}")
    return blocks


def _blocks(entries: Mapping[str, Entry], values: Mapping[str, Any], owner: str) -> list[str]:
    sections: dict[str, dict[str, Any]] = {}
    for name, entry in entries.items():
        section, _, key = name.rpartition(".")
        # An env_name may list several environments, of which a config holds one.
        kept = name == "base.env_name" or name not in values
        sections.setdefault(section, {})[key] = entry.value if kept else values[name]
    ordered = [name for name in SECTION_ORDER if name in sections]
    ordered += [name for name in sections if name not in SECTION_ORDER]
    blocks = []
    for section in ordered:
        lines = [f"[{owner}{section}]"]
        for key, value in sections[section].items():
            text = format_value(value) if section in FREE_SECTIONS else setting_text(value)
            lines.append(f"{key} = {text}".rstrip())
        blocks.append("\n".join(lines) + "\n")
    return blocks
