"""Reads an INI file into named entries, each with its place. Only the syntax is judged here."""

from __future__ import annotations

import configparser
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.config.origin import FILE, Entry, Origin
from trainer.config.values import parse_value, strip_remark
from trainer.errors import ConfigFileError, Place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_BYTES = 4 * 1024 * 1024
"""No config is larger; a data file handed in by mistake is refused before it is read."""


@dataclass(frozen=True, slots=True)
class IniSection:
    """One section as it stands in the file; keys are lower-case, values keep their case.

    Attributes:
        name: between the brackets.
        line: of its header, from 1.
        entries: key to its entry, in the file's order.
    """

    name: str
    line: int
    entries: dict[str, Entry]


@dataclass(frozen=True, slots=True)
class IniFile:
    """A file's sections in order."""

    path: str
    sections: tuple[IniSection, ...]

    def find(self, name: str) -> IniSection | None:
        """The section of that name."""
        return next((section for section in self.sections if section.name == name), None)


def read_ini(path: Path) -> IniFile:
    """Read a file.

    Raises:
        ConfigFileError: it is missing, no regular file, too large, no UTF-8 text, or not an INI.
    """
    return parse_ini(read_text(path), str(path))


def read_text(path: Path) -> str:
    """The text of a config file, without a byte-order mark."""
    place = Place(file=str(path))
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ConfigFileError("this is a folder, not a file", place=place, remedy="Name an INI file.")
        if not stat.S_ISREG(status.st_mode):
            raise ConfigFileError("this is not a regular file", place=place, remedy="Name an INI file.")
        if status.st_size > MAX_BYTES:
            raise ConfigFileError(
                f"the file has {status.st_size:,} bytes",
                place=place,
                rule=f"A config has at most {MAX_BYTES:,}.",
                remedy="Name an INI file.",
            )
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise ConfigFileError("the file does not exist", place=place, remedy="Check the path.") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigFileError(f"the file cannot be read: {reason}", place=place) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigFileError(
            "the file is not UTF-8 text",
            place=Place(file=str(path), line=line),
            value=data[error.start : error.start + 1],
            remedy="Save it as UTF-8.",
        ) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ConfigFileError(
            "the file holds a NUL character",
            place=Place(file=str(path), line=line),
            remedy="Save it as UTF-8 text.",
        )
    return text


def parse_ini(text: str, path: str) -> IniFile:
    """Parse a file's text.

    Raises:
        ConfigFileError: a line is no section, no key with a value and no comment; or something stands twice.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    parser = _LocatingParser()
    try:
        parser.read_file(parser.follow(lines), source=path)
    except configparser.DuplicateOptionError as error:
        raise ConfigFileError(
            "this key stands twice in its section",
            place=Place(path, error.lineno, error.section, error.option),
            remedy="Keep one of the two.",
        ) from error
    except configparser.DuplicateSectionError as error:
        raise ConfigFileError(
            "this section stands twice",
            place=Place(path, error.lineno, error.section),
            remedy="Merge the two.",
        ) from error
    except configparser.MissingSectionHeaderError as error:
        raise ConfigFileError(
            "the first setting stands before any [section]",
            place=Place(path, error.lineno),
            value=error.line.strip()[:200],
            remedy="Begin with a section such as [train].",
        ) from error
    except configparser.ParsingError as error:
        number = int(error.errors[0][0])
        raise ConfigFileError(
            "this line is neither a [section], nor key = value, nor a comment",
            place=Place(path, number),
            value=lines[number - 1].strip()[:200],
        ) from error
    except configparser.Error as error:
        raise ConfigFileError("the file is not an INI", place=Place(path), value=str(error)[:200]) from error
    sections = tuple(_read_section(parser, name, path) for name in parser.sections())
    return IniFile(path=path, sections=sections)


class _LocatingParser(configparser.RawConfigParser):
    """Python's parser, which also remembers on which line each key stands."""

    def __init__(self) -> None:
        # No section is special: a [DEFAULT] that flows into all others would be read without being seen.
        super().__init__(default_section="\0", strict=True)
        self.line = 0
        self.key_lines: list[int] = []
        self.section_lines: dict[str, int] = {}

    def follow(self, lines: list[str]) -> Iterator[str]:
        """Yield the lines, counting them."""
        for number, line in enumerate(lines, 1):
            self.line = number
            header = self.SECTCRE.match(line.strip())
            if header is not None:
                self.section_lines.setdefault(header.group("header"), number)
            yield line + "\n"

    def texts(self, section: str) -> list[tuple[str, str]]:
        """Keys and raw values of a section, without passing the keys through `optionxform` again."""
        return [(key, proxy) for key, proxy in super().items(section, raw=True)]

    def optionxform(self, optionstr: str) -> str:
        # The parser calls this once for each key as it meets it, so the line being read is the key's.
        self.key_lines.append(self.line)
        return optionstr.lower()


def _read_section(parser: _LocatingParser, name: str, path: str) -> IniSection:
    # Nothing stands twice, so sections and keys come in the file's order and lines can be taken in turn.
    line = parser.section_lines.get(name, 0)
    entries: dict[str, Entry] = {}
    for key, text in parser.texts(name):
        number = parser.key_lines.pop(0)
        place = Place(path, number, name, key)
        entries[key] = Entry(_read_value(text, place), Origin(FILE, place, strip_remark(text)))
    return IniSection(name, line, entries)


def _read_value(text: str, place: Place) -> object:
    value = parse_value(text)
    if isinstance(value, str) and "\n" in text.strip():
        raise ConfigFileError(
            "this value goes on over indented lines and is no list",
            place=place,
            value=text[:200],
            rule="An indented line continues the value above it.",
            remedy="Begin each key at the start of its line.",
        )
    return value
