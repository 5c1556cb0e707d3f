"""Several mistakes in one file become one error that names them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.errors import ConfigError

_MAX_SHOWN = 20


def raise_problems(problems: Sequence[ConfigError]) -> None:
    """Raise what was found: nothing, the one error, or the first with all others listed behind it."""
    if not problems:
        return
    first = problems[0]
    if len(problems) == 1:
        raise first
    others = [f"({number}) {problem}" for number, problem in enumerate(problems[1:_MAX_SHOWN], 2)]
    if len(problems) > _MAX_SHOWN:
        others.append(f"and {len(problems) - _MAX_SHOWN} more.")
    told = " ".join(others)
    remedy = f"{first.remedy} Further mistakes: {told}" if first.remedy else f"Further mistakes: {told}"
    raise type(first)(first.what, place=first.place, value=first.value, rule=first.rule, remedy=remedy)
