"""Changes values in an INI's text and leaves every other character as it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from trainer.config.dump import setting_text
from trainer.config.values import strip_remark

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECTION = re.compile(r"^\[(?P<name>[^\]]+)\]")
_KEY = re.compile(r"^(?P<head>(?P<key>[^\s#;:=\[][^:=]*?)\s*[:=]\s*)(?P<rest>.*)$")


def edit_ini(text: str, values: Mapping[str, Any]) -> str:
    """The text with these settings: changed where they stand, else added at the end of their section.

    Args:
        text: an INI.
        values: full name (`train.gamma`) → value.
    """
    waiting = {name.lower(): value for name, value in values.items()}
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.replace("\r\n", "\n").split("\n")
    edited: list[str] = []
    section, last_of_section = "", {}
    skipping = False
    for line in lines:
        if skipping and line[:1].isspace() and line.strip():
            continue  # further lines of a value that has just been replaced
        skipping = False
        heading = _SECTION.match(line)
        entry = _KEY.match(line) if heading is None else None
        if heading is not None:
            section = heading["name"].strip().lower()
        elif entry is not None and not line[:1].isspace():
            name = f"{section}.{entry['key'].strip().lower()}"
            if name in waiting:
                edited.append(f"{entry['head']}{setting_text(waiting.pop(name))}{_remark(entry['rest'])}")
                last_of_section[section] = len(edited)
                skipping = True
                continue
        edited.append(line)
        if line.strip() and section:
            last_of_section[section] = len(edited)
    return newline.join(_with_additions(edited, waiting, last_of_section))


def _remark(rest: str) -> str:
    """The remark behind a value, with the blanks before it."""
    remark = rest[len(strip_remark(rest)) :].rstrip()
    return f"  {remark}" if remark and not remark[0].isspace() else remark


def _with_additions(lines: list[str], waiting: Mapping[str, Any], ends: Mapping[str, int]) -> list[str]:
    added: dict[str, list[str]] = {}
    for name, value in waiting.items():
        section, _, key = name.partition(".")
        added.setdefault(section, []).append(f"{key} = {setting_text(value)}")
    lines = list(lines)
    for section in sorted((s for s in added if s in ends), key=lambda s: ends[s], reverse=True):
        lines[ends[section] : ends[section]] = added[section]
    for section, entries in added.items():
        if section not in ends:
            while lines and not lines[-1].strip():
                lines.pop()
            lines += ["", f"[{section}]", *entries, ""]
    return lines
