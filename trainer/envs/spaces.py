"""Gymnasium's spaces in flat numbers and back.

A Box keeps its shape and type. Everything else becomes a float32 vector: a discrete number as a one-hot,
several spaces in a Dict or Tuple one after the other, in Gymnasium's order. Text is left out, since a policy
cannot read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from trainer.envs.layout import ActionLayout, ObservationLayout
from trainer.envs.shard import Array, torch_dtype
from trainer.errors import EnvironmentMakeError

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class _Leaf:
    """One piece of a nested space: how to reach it and where it lies in the flat vector."""

    name: str
    path: tuple[str | int, ...]
    space: spaces.Space[Any]
    start: int
    stop: int
    shape: tuple[int, ...]


def _leaves(space: spaces.Space[Any], environment: str) -> list[_Leaf]:
    found: list[_Leaf] = []

    def visit(part: spaces.Space[Any], path: tuple[str | int, ...]) -> None:
        if isinstance(part, spaces.Dict):
            for key, inner in part.spaces.items():
                visit(inner, (*path, key))
        elif isinstance(part, spaces.Tuple):
            for index, inner in enumerate(part.spaces):
                visit(inner, (*path, index))
        elif not _is_text(part):
            shape = _flat_shape(part, environment)
            start = found[-1].stop if found else 0
            name = "/".join(str(step) for step in path)
            found.append(_Leaf(name, path, part, start, start + int(np.prod(shape)), shape))

    visit(space, ())
    if not found:
        raise EnvironmentMakeError(f"{environment} has an observation without numbers.", value=str(space))
    return found


def _is_text(space: spaces.Space[Any]) -> bool:
    """Also of other packages' own kinds, as MiniGrid's missions."""
    return isinstance(space, spaces.Text) or (space.dtype is not None and np.dtype(space.dtype).kind == "U")


def _flat_shape(space: spaces.Space[Any], environment: str) -> tuple[int, ...]:
    if isinstance(space, spaces.Box):
        return space.shape
    if isinstance(space, spaces.Discrete):
        return (int(space.n),)
    if isinstance(space, spaces.MultiDiscrete):
        return (int(space.nvec.sum()),)
    if isinstance(space, spaces.MultiBinary):
        return (int(np.prod(space.shape)),)
    raise EnvironmentMakeError(
        f"{environment} has a space of a kind that has no fixed size.",
        value=str(space),
        rule="Known are Box, Discrete, MultiDiscrete, MultiBinary, and Dict and Tuple of those.",
        remedy="Wrap the environment so that it has one of them.",
    )


def _write_leaf(space: spaces.Space[Any], value: Any, out: Array) -> None:
    if isinstance(space, spaces.Discrete):
        out[:] = 0.0
        out[int(value) - int(space.start)] = 1.0
    elif isinstance(space, spaces.MultiDiscrete):
        out[:] = 0.0
        offsets = np.concatenate(([0], np.cumsum(space.nvec.ravel())[:-1]))
        out[offsets + np.asarray(value).ravel() - space.start.ravel()] = 1.0
    else:
        out[:] = np.asarray(value).ravel()


def _read_leaf(space: spaces.Space[Any], piece: Array) -> Any:
    if isinstance(space, spaces.Discrete):
        return int(piece.argmax()) + int(space.start)
    if isinstance(space, spaces.MultiDiscrete):
        bounds = np.cumsum(space.nvec.ravel())[:-1]
        chosen = [int(part.argmax()) for part in np.split(piece, bounds)]
        return (np.asarray(chosen).reshape(space.nvec.shape) + space.start).astype(space.dtype)
    return piece.reshape(space.shape).astype(space.dtype)


class ObservationCodec:
    """One agent's observation between its space and its row.

    Attributes:
        plain: whether the space is one Box, so that rows are observations as they are.
    """

    def __init__(self, space: spaces.Space[Any], environment: str) -> None:
        self.space = space
        self.plain = isinstance(space, spaces.Box)
        self._leaves = [] if self.plain else _leaves(space, environment)

    @cached_property
    def layout(self) -> ObservationLayout:
        """Of a row. Needs torch, which reading and writing do not."""
        space = self.space
        if isinstance(space, spaces.Box):
            return ObservationLayout(
                space.shape, torch_dtype(space.dtype), _common(space.low), _common(space.high)
            )
        nested = isinstance(space, spaces.Dict | spaces.Tuple)
        pieces = {leaf.name: (leaf.start, leaf.stop, leaf.shape) for leaf in self._leaves} if nested else {}
        one_hot = not any(isinstance(leaf.space, spaces.Box) for leaf in self._leaves)
        low, high = (0.0, 1.0) if one_hot else (None, None)
        return ObservationLayout((self._leaves[-1].stop,), torch_dtype(np.float32), low, high, pieces)

    def write(self, observation: Any, out: Array) -> None:
        """Put an observation into its row.

        Raises:
            ValueError: the observation does not have the space's shape.
        """
        if self.plain:
            value = np.asarray(observation)
            if value.shape != out.shape:
                raise ValueError(f"the observation has the shape {value.shape} and not {out.shape}")
            out[...] = value
            return
        for leaf in self._leaves:
            value = observation
            for step in leaf.path:
                value = value[step]
            _write_leaf(leaf.space, value, out[leaf.start : leaf.stop])

    def read(self, row: Array) -> Any:
        """The observation that a row holds, as its space has it; text comes back empty."""
        if self.plain:
            return row
        by_path = {leaf.path: _read_leaf(leaf.space, row[leaf.start : leaf.stop]) for leaf in self._leaves}

        def build(part: spaces.Space[Any], path: tuple[str | int, ...]) -> Any:
            if isinstance(part, spaces.Dict):
                return {key: build(inner, (*path, key)) for key, inner in part.spaces.items()}
            if isinstance(part, spaces.Tuple):
                return tuple(build(inner, (*path, index)) for index, inner in enumerate(part.spaces))
            return by_path.get(path, "")

        return build(self.space, ())


def _common(bounds: Array) -> float | None:
    """The bound that all elements share, None if they differ or it is infinite."""
    if bounds.size == 0 or (bounds != bounds.flat[0]).any() or not np.isfinite(bounds.flat[0]):
        return None
    return float(bounds.flat[0])


class ActionCodec:
    """One agent's action between its row and its space.

    Attributes:
        layout: of a row.
    """

    def __init__(self, space: spaces.Space[Any], environment: str) -> None:
        self.space = space
        parts = list(_action_parts(space, environment))
        kinds = {isinstance(part, spaces.Box) for part in parts}
        if len(kinds) != 1:
            raise EnvironmentMakeError(
                f"{environment} has actions that are partly discrete and partly continuous.",
                value=str(space),
                rule="A policy here has the one or the other.",
                remedy="Wrap the environment so that it has one of them.",
            )
        if kinds == {True}:
            low = np.concatenate([part.low.ravel() for part in parts])
            high = np.concatenate([part.high.ravel() for part in parts])
            self.layout = ActionLayout("continuous", low=tuple(map(float, low)), high=tuple(map(float, high)))
        else:
            sizes = tuple(int(size) for part in parts for size in _sizes(part))
            single = isinstance(space, spaces.Discrete)
            self.layout = ActionLayout("discrete" if single else "multi_discrete", sizes=sizes)
        self.read: Callable[[Array], Any] = self._make_reader(space)

    def _make_reader(self, space: spaces.Space[Any]) -> Callable[[Array], Any]:
        if isinstance(space, spaces.Discrete):
            start = int(space.start)
            return lambda row: int(row[0]) + start
        if isinstance(space, spaces.Box):
            shape, kind = space.shape, space.dtype
            return lambda row: row.reshape(shape).astype(kind, copy=False)
        return lambda row: self._build(space, row, [0])

    def _build(self, part: spaces.Space[Any], row: Array, at: list[int]) -> Any:
        """The part's value from the row, `at[0]` being the first number not yet used."""
        if isinstance(part, spaces.Dict):
            return {key: self._build(inner, row, at) for key, inner in part.spaces.items()}
        if isinstance(part, spaces.Tuple):
            return tuple(self._build(inner, row, at) for inner in part.spaces)
        width = len(part.low.ravel()) if isinstance(part, spaces.Box) else len(_sizes(part))
        piece = row[at[0] : at[0] + width]
        at[0] += width
        if isinstance(part, spaces.Discrete):
            return int(piece[0]) + int(part.start)
        value = piece.reshape(part.shape)
        if isinstance(part, spaces.MultiDiscrete):
            value = value + part.start
        return value.astype(part.dtype, copy=False)


def _sizes(space: spaces.Space[Any]) -> list[int]:
    if isinstance(space, spaces.Discrete):
        return [int(space.n)]
    if isinstance(space, spaces.MultiDiscrete):
        return [int(size) for size in space.nvec.ravel()]
    return [2] * int(np.prod(space.shape or (1,)))


def _action_parts(space: spaces.Space[Any], environment: str) -> list[Any]:
    if isinstance(space, spaces.Dict):
        return [part for inner in space.spaces.values() for part in _action_parts(inner, environment)]
    if isinstance(space, spaces.Tuple):
        return [part for inner in space.spaces for part in _action_parts(inner, environment)]
    if isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        return [space]
    raise EnvironmentMakeError(
        f"{environment} has actions of a kind that no policy here can choose.",
        value=str(space),
        rule="Known are Box, Discrete, MultiDiscrete, MultiBinary, and Dict and Tuple of those.",
    )
