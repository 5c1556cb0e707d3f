"""Names of studies: plain enough for a folder, a URL and a shell."""

from __future__ import annotations

import re

from sweeper.errors import StudyNameError
from sweeper.formatting import plain_name

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", *(f"{p}{i}" for p in ("com", "lpt") for i in range(1, 10))}
)


def check_study_name(name: str) -> str:
    """A study name that is fit to be a folder's.

    Raises:
        StudyNameError: anything else.
    """
    if not _PLAIN.fullmatch(name) or name.endswith(".") or name.partition(".")[0].lower() in _RESERVED:
        raise StudyNameError(
            "This is no name for a study.",
            value=name,
            rule="A name has up to 100 letters, digits, '.', '_' and '-', and begins with a letter or digit.",
            remedy="Choose another with --study NAME.",
        )
    return name


def default_study_name(file_stem: str | None, environment: str | None) -> str:
    """A name from a config file's name and the environment, foreign characters turned into dashes."""
    parts = [part for part in (file_stem, environment) if part]
    plain = "-".join(plain_name(part).strip("-._") for part in parts)
    return check_study_name((plain or "sweep")[:100].rstrip("."))


def trial_folder_name(number: int) -> str:
    """`trial-0007`."""
    return f"trial-{number:04d}"
