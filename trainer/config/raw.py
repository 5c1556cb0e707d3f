"""From a file's sections to settings by full name, as they stand there, for one of its environments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.config.names import unknown_section
from trainer.config.nearest import nearest_name
from trainer.config.sections import SECTION_ORDER
from trainer.errors import ConfigError, Place, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Collection

    from trainer.config.ini import IniFile, IniSection
    from trainer.config.origin import Entry


@dataclass(frozen=True, slots=True)
class RawFile:
    """A file's settings before anybody has judged their names.

    Attributes:
        entries: full name to entry; those of the chosen environment's own sections have won.
        sections: names of sections (without their owner) and where they stand.
        notes: what a person should hear of.
    """

    entries: dict[str, Entry]
    sections: dict[str, Place]
    notes: tuple[str, ...]


def read_raw(
    file: IniFile, environment: str | None, environments: Collection[str], problems: list[ConfigError]
) -> RawFile:
    """Settings by full name; `[NAME:section]` goes over `[section]` where NAME is the chosen environment."""
    general: dict[str, Entry] = {}
    own: dict[str, Entry] = {}
    sections: dict[str, Place] = {}
    notes: list[str] = []
    for section in file.sections:
        place = Place(file.path, section.line, section.name)
        try:
            name, owner = _split_owner(section, environments, place)
        except ConfigError as error:
            problems.append(error)
            continue
        sections.setdefault(name, place)
        if not section.entries and name.startswith("sweep."):
            notes.append(f"{place} is empty: it sweeps nothing.")
        head, dot, rest = name.partition(".")
        full = f"{head}{dot}{rest.lower()}"
        entries = {f"{full}.{key}": entry for key, entry in section.entries.items()}
        if owner is None:
            general.update(entries)
        elif environment is not None and owner.lower() == environment.lower():
            own.update(entries)
    return RawFile({**general, **own}, sections, tuple(notes))


def check_sections(file: RawFile, foreign: Collection[str], problems: list[ConfigError]) -> dict[str, Entry]:
    """The entries of known sections; every unknown section is one mistake, however many keys it has.

    Args:
        file: what was read.
        foreign: sections that the file's dialect knows beyond this project's.
        problems: mistakes are added here.
    """
    unknown = set()
    for name, place in file.sections.items():
        if name in SECTION_ORDER or name in foreign or (name.startswith("sweep.") and name.count(".") >= 2):
            continue
        unknown.add(name.lower())
        if name == "sweep.metric":
            problems.append(
                UnknownNameError(
                    "the metric is a key here, not a section",
                    place=place,
                    remedy="Write metric = NAME and goal = maximize or minimize in [sweep].",
                )
            )
        else:
            problems.append(unknown_section(name, place))
    return {
        name: entry for name, entry in file.entries.items() if name.rpartition(".")[0].lower() not in unknown
    }


def _split_owner(section: IniSection, environments: Collection[str], place: Place) -> tuple[str, str | None]:
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
