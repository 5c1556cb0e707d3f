"""What one agent sees and does, as flat numbers: the language between environments and policies."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch


@dataclass(frozen=True, slots=True)
class ObservationLayout:
    """One agent's observation as the policy gets it: flat for nested spaces, as it is for a single Box.

    Attributes:
        shape: O, without the batch axis.
        dtype: kept as the environment has it (uint8 stays uint8).
        low, high: bounds for every element, None where unbounded or mixed.
        pieces: for a Dict or Tuple space, name → (start, stop, shape) in the flat float32 vector, in order.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    low: float | None = None
    high: float | None = None
    pieces: Mapping[str, tuple[int, int, tuple[int, ...]]] = field(default_factory=dict)

    def describe(self) -> str:
        """One line for people: `uint8 (4, 84, 84)`."""
        return f"{str(self.dtype).removeprefix('torch.')} {self.shape}"


@dataclass(frozen=True, slots=True)
class ActionLayout:
    """One agent's action.

    Attributes:
        kind: discrete and multi_discrete take int64 of shape (B, len(sizes)); continuous takes float32 of
            shape (B, len(low)).
        sizes: number of choices of each discrete part.
        low, high: bounds of each continuous part (may be infinite). The vector environment clips to them.
    """

    kind: Literal["discrete", "multi_discrete", "continuous"]
    sizes: tuple[int, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """Numbers per agent: the second axis of an action batch."""
        return len(self.sizes) or len(self.low)

    def describe(self) -> str:
        """One line for people: `discrete 4`, `multi_discrete 3 5`, `continuous 6`."""
        if self.kind == "continuous":
            return f"continuous {self.width}"
        return f"{self.kind} {' '.join(str(size) for size in self.sizes)}"
