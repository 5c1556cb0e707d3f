"""Where each value of a config came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainer.errors import Place

DEFAULT = "default"
FILE = "file"
COMMAND_LINE = "command line"
CODE = "code"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from.

    Attributes:
        kind: `default` (the schema's, or config/default.ini's), `file`, `command line`, `code`, or what
            `Config.override` was told.
        place: file, line, section and key, as far as they are known.
        text: the value as it was written; None for values from code.
    """

    kind: str
    place: Place | None = None
    text: str | None = None

    def __str__(self) -> str:
        if self.kind == FILE and self.place is not None and self.place.file is not None:
            line = "" if self.place.line is None else f":{self.place.line}"
            return f"{self.place.file}{line}"
        return self.kind


@dataclass(frozen=True, slots=True)
class Entry:
    """One value on its way into a config, with its origin."""

    value: object
    origin: Origin
