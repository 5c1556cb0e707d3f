"""What can become of a foreign setting: translated, left out with a reason, or refused with a reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Reading:
    """How one setting of another dialect is read.

    Attributes:
        settings: full names of this project's settings with their values; empty where nothing remains.
        line: what was done, for the list of translations.
        refused: why there is no counterpart; then the file is not loaded.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    line: str = ""
    refused: str | None = None


Lookup = Callable[[str], Any]
"""The value of another setting of the same file, by its foreign full name; None where it is not there."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How a foreign setting is read.

    Attributes:
        read: the reading of a value, seen with the others.
        target: the one setting that takes its place unchanged, so that it can be swept under that name; None
            where a sweep over it has no counterpart.
    """

    read: Callable[[Any, Lookup], Reading]
    target: str | None = None


def rename(target: str) -> Rule:
    """The same setting under another name."""
    return Rule(lambda value, _: Reading({target: value}, f"read as {target}"), target)


def reword(target: str, words: Mapping[Any, Any], note: str = "") -> Rule:
    """The same setting under another name, with some values called differently."""

    def read(value: Any, _: Lookup) -> Reading:
        plain = value.lower() if isinstance(value, str) else value
        if isinstance(plain, (str, int, float, type(None))) and plain in words:
            why = f" ({note})" if note else ""
            return Reading({target: words[plain]}, f"read as {target} = {words[plain]}{why}")
        return Reading({target: value}, f"read as {target}")

    return Rule(read, target)


def inert(reason: str) -> Rule:
    """A setting that changes nothing of what is learnt or searched."""
    return Rule(lambda _value, _lookup: Reading(line=f"left out: {reason}"))


def only(allowed: tuple[Any, ...], same: str, refusal: str) -> Rule:
    """A setting whose one value is what happens here anyway; any other has no counterpart."""

    def read(value: Any, _: Lookup) -> Reading:
        plain = value.lower() if isinstance(value, str) else value
        if plain in allowed:
            return Reading(line=f"left out: {same}")
        return Reading(refused=refusal)

    return Rule(read)


def part_of(switch: str, reason: str) -> Rule:
    """A detail of a feature that is not here: without meaning while its switch is off."""

    def read(_: Any, lookup: Lookup) -> Reading:
        if lookup(switch):
            return Reading(refused=reason)
        return Reading(line=f"left out: it means nothing while {switch} is off")

    return Rule(read)


def refuse(reason: str) -> Rule:
    """A setting without counterpart."""
    return Rule(lambda _value, _lookup: Reading(refused=reason))


@dataclass(frozen=True, slots=True)
class Dialect:
    """One dialect.

    Attributes:
        name: as people call it, `PufferLib 4.0`.
        rules: foreign full names (`train.horizon`) to their rules; `section.*` for whole sections. What
            has no rule keeps its name.
        distributions: foreign names of distributions.
        implied: settings that this dialect's trainer had built in, for files that do not give them.
    """

    name: str
    rules: Mapping[str, Rule]
    distributions: Mapping[str, str] = field(default_factory=dict)
    implied: Mapping[str, Any] = field(default_factory=dict)

    def rule(self, name: str) -> Rule | None:
        """The rule for a foreign full name."""
        section = name.partition(".")[0]
        return self.rules.get(name) or self.rules.get(f"{section}.*")

    @property
    def sections(self) -> set[str]:
        """Sections that this dialect knows and this project does not."""
        return {name.rpartition(".")[0] for name in self.rules}
