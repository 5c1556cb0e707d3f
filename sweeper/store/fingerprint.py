"""What must stay the same for a study to go on, and how two such fingerprints differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeper.store.records import StudySpec

_ABSENT = object()


def differences(before: StudySpec, now: StudySpec) -> list[str]:
    """Sentences on how two specs differ where it matters; empty if a study can go on."""
    lines = []
    if before.objectives != now.objectives:
        lines.append(f"objectives were {', '.join(before.objectives)} and are {', '.join(now.objectives)}.")
    if before.goals != now.goals:
        lines.append(f"goals were {', '.join(before.goals)} and are {', '.join(now.goals)}.")
    if before.metric != now.metric:
        lines.append(f"sweep.metric was {before.metric!r} and is {now.metric!r}.")
    lines += _compare(_flat_space(before.space), _flat_space(now.space), "is searched now and was not before")
    settings = _compare(_plain(before.settings), _plain(now.settings), "is set now and was not before")
    return lines + settings


def _flat_space(space: Mapping[str, Any]) -> dict[str, Any]:
    """One entry per parameter when it is only on one side, one per bound otherwise."""
    return {f"sweep.{name}": description for name, description in _plain(space).items()}


def _compare(before: Mapping[str, Any], now: Mapping[str, Any], new: str) -> list[str]:
    lines = []
    for name in dict.fromkeys([*before, *now]):
        left, right = before.get(name, _ABSENT), now.get(name, _ABSENT)
        if left == right:
            continue
        if left is _ABSENT:
            lines.append(f"{name} {new}.")
        elif right is _ABSENT:
            lines.append(f"{name} was {_text(left)} and is gone.")
        elif isinstance(left, Mapping) and isinstance(right, Mapping):
            lines += _compare(
                {f"{name}.{key}": value for key, value in left.items()},
                {f"{name}.{key}": value for key, value in right.items()},
                new,
            )
        else:
            lines.append(f"{name} was {_text(left)} and is {_text(right)}.")
    return lines


def _plain(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """As it comes back from the database: tuples are lists, paths are text."""
    return dict(json.loads(json.dumps(dict(mapping), default=str)))


def _text(value: Any) -> str:
    return "searched" if isinstance(value, Mapping) else repr(value)
