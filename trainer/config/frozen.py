"""A mapping that nobody can change, that compares by value and crosses process boundaries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

Item = TypeVar("Item")


class FrozenMap(Mapping[str, Item]):
    """An immutable mapping by name, in the order in which it was given."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, Item] | None = None) -> None:
        self._items: dict[str, Item] = dict(items or {})

    def __getitem__(self, name: str) -> Item:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return repr(self._items)

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (dict(self._items),))
