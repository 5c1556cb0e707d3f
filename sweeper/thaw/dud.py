"""The probability that a run is a dud: that its seed keeps it from what its configuration can do.

Some seeds fail whatever the configuration, and little is to be learnt from them: the surrogate takes the offset of
a run far below its neighbours for bad luck. Where how often that happens is itself what settings change, as with
rewards so rare that runs begin to learn only by chance, the mean over seeds is decided by it. So the share of duds
is learnt as crashes are, from the runs whose luck is an outlier; a configuration's own runs count beside what its
neighbours say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweeper.thaw.crash import CrashModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sweeper.thaw.records import Array

DUD_LUCK = 11 / 3
"""Luck (see `Rows`) from which on a run is held to be a dud: with the default tail, an offset of three deviations."""

NEIGHBOURS_WEIGHT = 2.0
"""Full runs of a configuration that count as much as all that its neighbours say."""


class DudModel:
    """See the module. It learns when it is made.

    Args:
        points: of all runs (n, d).
        lengths: shares trained (n,).
        sites: of the configuration of each run, the number of one of its runs (n,).
        luck: above 1 for outliers (n,).
        seen: runs that have shown a score (n,).
        shortest: the lowest rung.
    """

    def __init__(
        self,
        points: Array,
        lengths: Array,
        sites: Array,
        luck: Array,
        seen: NDArray[np.bool_],
        shortest: float,
    ) -> None:
        duds = (luck > DUD_LUCK) & seen
        self._neighbours = CrashModel(points.shape[1], shortest)
        self._neighbours.fit(points[seen], lengths[seen], duds[seen].astype(float))
        told = np.where(duds, 1.0, self._neighbours.exposure(lengths)) * seen
        numbers = sites.astype(int)
        self._runs = np.bincount(numbers, told, len(points))
        self._duds = np.bincount(numbers, duds.astype(float), len(points))

    def probability(self, points: Array, sites: Array) -> Array:
        """Of fresh runs of these configurations (n,), those of `sites` or, where that is negative, new ones (n,)."""
        known = sites >= 0
        numbers = np.where(known, sites, 0).astype(int)
        runs, duds = self._runs[numbers] * known, self._duds[numbers] * known
        chance = NEIGHBOURS_WEIGHT * self._neighbours.probability(points) + duds
        return np.asarray(chance / (NEIGHBOURS_WEIGHT + runs))
