"""Whether anything has been learnt yet: before the first run takes off, differences of scores are noise.

Where rewards are rare, every run stands still until it takes off, and most never do. A model of scores would find the
best of that noise and follow it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sweeper.thaw.records import Run

LEVEL_WINDOW = 0.1
"""Share of a full run that a level is the mean of: looks that lie closer together share some of their noise."""

FEWEST_CHANGES = 3
NORMAL_QUARTILE = 0.6745
ALLOWANCE = 1.6
"""The size of the noise is known by a few changes only."""

MOST_LIKENESS = 0.5
"""Correlation of earlier and later looks of the same runs up to which runs count as alike."""


def nothing_learnt(runs: Sequence[Run]) -> bool:
    """Whether all scores so far may be noise around a single level.

    How large the noise is, the declines along runs tell: where scores are noise, half of all later looks lie below
    the looks before them; where runs learn, few do. All of n scores then lie within some 2 sqrt(2 ln n) deviations,
    and a run's later looks know nothing of its earlier ones. Without declines, and with too few changes to tell, runs
    learn.
    """
    levels = np.concatenate([run.levels for run in runs]) if runs else np.empty(0)
    levels = levels[np.isfinite(levels)]
    if not len(levels):
        return True
    span = float(np.ptp(levels))
    if span == 0.0:
        return True
    pairs = np.array([pair for run in runs for pair in _pairs(run)])
    if len(pairs) < FEWEST_CHANGES:
        return False
    earlier, later = pairs.T
    # The lower quartile of the differences of two independent looks.
    noise = -float(np.quantile(later - earlier, 0.25)) / (NORMAL_QUARTILE * math.sqrt(2))
    if span > ALLOWANCE * 2 * math.sqrt(2 * math.log(len(levels))) * noise:
        return False
    spread = float(earlier.std() * later.std())
    shared = float(((earlier - earlier.mean()) * (later - later.mean())).mean())
    return shared <= MOST_LIKENESS * spread


def _pairs(run: Run) -> Iterator[tuple[float, float]]:
    """Levels of one look and the next along a run, of looks that share no noise."""
    after: tuple[float, float] | None = None
    for share, level in zip(run.rungs[::-1], run.levels[::-1], strict=True):
        if not math.isfinite(level):
            continue
        if after is None:
            after = (share, level)
        elif share <= after[0] - LEVEL_WINDOW:
            yield level, after[1]
            after = (share, level)
