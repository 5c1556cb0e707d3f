"""Settings given on the command line: `--train.learning-rate 1e-3`, `--env-name pong`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainer.config.names import check_name, normalise_name
from trainer.config.origin import COMMAND_LINE, Entry, Origin
from trainer.config.values import parse_value
from trainer.errors import ConfigError, Place, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Override:
    """One setting given on the command line.

    Attributes:
        name: full name, `train.gamma`.
        text: the value as it was typed.
    """

    name: str
    text: str

    @property
    def value(self) -> Any:
        """The value, parsed as in a file."""
        return parse_value(self.text)

    @property
    def entry(self) -> Entry:
        """The override on its way into a config."""
        section, _, key = self.name.rpartition(".")
        place = Place(file="command line", section=section, key=key)
        return Entry(self.value, Origin(COMMAND_LINE, place, self.text))


def parse_overrides(arguments: Sequence[str]) -> tuple[Override, ...]:
    """Read `--section.key value` and `--section.key=value`; `[base]` keys stand without their section.

    Hyphens and underscores are the same in names. Where a setting is given twice, the last one counts.

    Raises:
        UnknownNameError: an option that is no setting (names the nearest).
        ConfigError: an option without a value, or a value without an option.
    """
    found: dict[str, Override] = {}
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        if not argument.startswith("--") or argument == "--":
            raise ConfigError(
                f"{argument!r} is no option",
                place=Place(file="command line"),
                rule="Settings are given as --section.key value.",
            )
        name, equals, text = argument[2:].partition("=")
        if not equals:
            if not waiting or waiting[0].startswith("--"):
                check_option(name)
                raise ConfigError(
                    f"--{name} has no value",
                    place=Place(file="command line"),
                    remedy=f"Write --{name} VALUE (True or False for a switch).",
                )
            text = waiting.pop(0)
        full = check_option(name)
        found.pop(full, None)
        found[full] = Override(full, text)
    return tuple(found.values())


def check_option(name: str) -> str:
    """The full name that an option stands for.

    Raises:
        UnknownNameError: there is no such setting.
    """
    full = normalise_name(name)
    try:
        check_name(full, Place(file="command line"))
    except UnknownNameError as error:
        raise UnknownNameError(
            f"there is no option --{name}", place=error.place, rule=error.rule, remedy=error.remedy
        ) from error
    return full
