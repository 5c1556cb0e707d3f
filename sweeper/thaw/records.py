"""What the core is told and answers. Points lie in the unit cube, lengths are shares of a full run."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Run:
    """One run as far as it has come.

    Attributes:
        point: its configuration (d,).
        length: share of a full run that it has trained.
        cost: what that has cost, in any unit.
        rungs: shares at which it was looked at, rising, the last one being `length` (m,).
        levels: its score there, more being better (m,).
        crashed: it ended by itself with an error that its configuration may have caused.
        target: the share it is training towards right now; None if it is not running.
        open: it can be continued.
    """

    point: Array
    length: float
    cost: float
    rungs: Array = field(default_factory=lambda: np.empty(0))
    levels: Array = field(default_factory=lambda: np.empty(0))
    crashed: bool = False
    target: float | None = None
    open: bool = True


@dataclass(frozen=True, slots=True)
class Begin:
    """Start a run at `point` and pause it at the share `until`."""

    point: Array
    until: float
    reason: str


@dataclass(frozen=True, slots=True)
class Continue:
    """Go on with run number `index` up to the share `until`."""

    index: int
    until: float
    reason: str


Decision = Begin | Continue
