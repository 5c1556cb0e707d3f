"""Reads another dialect's settings as this project's: translations are listed, refusals have reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainer.config.origin import DEFAULT, Entry, Origin
from trainer.errors import ConfigError, DialectError, Place

if TYPE_CHECKING:
    from trainer.config.dialects.rules import Dialect, Reading

_MAX_LISTED = 60
Layer = Mapping[str, Entry]
"""Settings of one file by their full names as they stand in it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A setting without counterpart: where it stands, its foreign full name, and why."""

    place: Place
    name: str
    reason: str


@dataclass(slots=True)
class _Translation:
    """Results so far, one mapping a layer."""

    dialect: Dialect
    merged: dict[str, Entry]
    layers: list[dict[str, Entry]]
    notes: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    problems: list[ConfigError] = field(default_factory=list)
    sources: dict[tuple[int, str], str] = field(default_factory=dict)

    def lookup(self, name: str) -> Any:
        entry = self.merged.get(name)
        return None if entry is None else entry.value

    def put(self, index: int, target: str, entry: Entry, source: str) -> None:
        """One setting; two foreign settings of one file that mean the same are a mistake."""
        earlier = self.sources.get((index, target))
        if earlier is not None and earlier != source:
            self.problems.append(
                ConfigError(
                    f"{earlier} and {source} both give {target}",
                    place=entry.origin.place,
                    remedy="Keep one of them.",
                )
            )
            return
        self.sources[index, target] = source
        self.layers[index][target] = entry


@dataclass(frozen=True, slots=True)
class Translated:
    """What became of some files.

    Attributes:
        layers: settings in this project's names, one mapping a file.
        notes: what was done, a line each.
        refusals: settings without counterpart.
        problems: other mistakes.
    """

    layers: list[dict[str, Entry]]
    notes: list[str]
    refusals: list[Refusal]
    problems: list[ConfigError]


def translate(layers: Sequence[Layer], dialect: Dialect) -> Translated:
    """The layers in this project's names.

    Settings without a rule keep their names; whether those exist is judged later, with all others.

    Args:
        layers: files of one dialect, later ones win.
        dialect: theirs.
    """
    winner = {name: index for index, layer in enumerate(layers) for name in layer}
    merged = {name: entry for layer in layers for name, entry in layer.items()}
    work = _Translation(dialect, merged, [{} for _ in layers])
    for name, entry in merged.items():
        _translate_one(work, winner[name], name, entry)
    _imply(work)
    return Translated(work.layers, work.notes, work.refusals, work.problems)


def refusal_error(refusals: Sequence[Refusal], dialect: Dialect) -> DialectError:
    """The error for a file with settings that have no counterpart: all of them, each with its reason."""
    listed = [f"{one.name} ({one.place}): {one.reason}" for one in refusals[:_MAX_LISTED]]
    if len(refusals) > _MAX_LISTED:
        listed.append(f"and {len(refusals) - _MAX_LISTED} more")
    settings = "a setting" if len(refusals) == 1 else f"{len(refusals)} settings"
    return DialectError(
        f"this file speaks the dialect of {dialect.name} and has {settings} without counterpart here",
        place=refusals[0].place,
        rule="; ".join(listed) + ".",
        remedy="Remove or change what is listed; puffer-sweep convert --partial writes the rest.",
    )


def _translate_one(work: _Translation, index: int, name: str, entry: Entry) -> None:
    place = entry.origin.place or Place(key=name)
    parameter = _parameter(name)
    if parameter is not None:
        _translate_parameter(work, index, name, parameter, entry, place)
        return
    rule = work.dialect.rule(name)
    if rule is None:
        work.put(index, name, entry, name)
        return
    reading: Reading = rule.read(entry.value, work.lookup)
    if reading.refused is not None:
        work.refusals.append(Refusal(place, name, reading.refused))
        return
    for target, value in reading.settings.items():
        text = entry.origin.text if value is entry.value else None
        work.put(index, target, Entry(value, Origin(entry.origin.kind, place, text)), name)
    if reading.line and (set(reading.settings) != {name} or reading.settings[name] is not entry.value):
        work.notes.append(f"{place}: {reading.line}.")


def _translate_parameter(
    work: _Translation, index: int, name: str, parameter: tuple[str, str], entry: Entry, place: Place
) -> None:
    setting, key = parameter
    rule = work.dialect.rule(setting)
    if rule is not None and rule.target is None:
        if key in ("distribution", "values"):
            work.refusals.append(Refusal(place, f"sweep.{setting}", f"{setting} cannot be swept here"))
        return
    target = setting if rule is None or rule.target is None else rule.target
    value: Any = entry.value
    text = entry.origin.text
    if key == "distribution" and isinstance(value, str) and value.lower() in work.dialect.distributions:
        value = text = work.dialect.distributions[value.lower()]
        work.notes.append(f"{place}: {entry.value} is read as {value}.")
    if key in ("mu", "sigma"):
        if key == "mu":
            reason = "a distribution given by mu and sigma has no bounds"
            work.refusals.append(Refusal(place, f"sweep.{setting}", reason))
        return
    full = f"sweep.{target}.{key}"
    work.put(index, full, Entry(value, Origin(entry.origin.kind, place, text)), name)
    if name != full and key in ("distribution", "values"):
        work.notes.append(f"{place}: read as [sweep.{target}].")


def _parameter(name: str) -> tuple[str, str] | None:
    """`sweep.train.gamma.max`, or 2.0's longer form of it, as (`train.gamma`, `max`)."""
    parts = name.split(".")
    if parts[0] != "sweep" or len(parts) < 4:
        return None
    if len(parts) >= 6 and parts[1] == "parameters" and parts[3] == "parameters":
        return f"{parts[2]}.{'.'.join(parts[4:-1])}", parts[-1]
    return ".".join(parts[1:-1]), parts[-1]


def _imply(work: _Translation) -> None:
    """Settings that the dialect's own trainer had built in, where no file gives them."""
    given = {name for layer in work.layers for name in layer}
    missing = {name: value for name, value in work.dialect.implied.items() if name not in given}
    if not missing or not work.layers:
        return
    for name, value in missing.items():
        section, _, key = name.partition(".")
        work.layers[0][name] = Entry(value, Origin(DEFAULT, Place(section=section, key=key)))
    told = ", ".join(f"{name} = {value}" for name, value in missing.items())
    work.notes.append(f"{work.dialect.name} has these built in, so they are set: {told}.")
