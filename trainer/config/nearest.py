"""The nearest valid name to one that nothing knows."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest_name(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that a person most likely meant, or None when nothing is near."""
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def suggest(name: str, candidates: Iterable[str], *, prefix: str = "") -> str | None:
    """A remedy that names the nearest candidate, or None."""
    near = nearest_name(name, candidates)
    return None if near is None else f"Did you mean {prefix}{near}?"
