"""What a run that could be begun or continued is worth: expected improvement, and the knowledge gradient of a look.

A look at one run moves the belief in all configurations that resemble it, the leader above all. What it is worth is
therefore the knowledge gradient with correlated beliefs (Frazier, Powell and Dayanik 2009, for Gaussian processes
Scott, Frazier and Powell 2011): with m_i the values believed at full length and c_i the covariance of each with what
the look will show, in units of the look's deviation,

    E[max_i (m_i + c_i Z)] - max_i m_i,   Z a standard normal,

over the leading configurations and the one looked at. A second look at what is as good as the leader's twin moves both
alike and is worth little; taken as independent of the leader, twins would be worth most of all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweeper.thaw.belief import NOBODY, Belief, expected_excess
from sweeper.thaw.surrogate import Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sweeper.thaw.records import Array
    from sweeper.thaw.settings import Settings

TOO_DEAR = 100.0
"""Taken off the worth of points that are predicted to cost more than they may."""

TINY = 1e-12
NODES = np.linspace(-4.0, 4.0, 41)
"""Of the standard normal, for expectations of a maximum; no closed form for many correlated lines is as cheap."""

WEIGHTS = np.exp(-0.5 * NODES**2) / np.exp(-0.5 * NODES**2).sum()


@dataclass(frozen=True, slots=True)
class Prospects:
    """Runs that could be begun or continued, and what is believed of their configurations at full length.

    Attributes:
        points: (n, d).
        run, site: whose they are, NOBODY's for new ones (n,).
        luck: as in `Rows` (n,).
        length: shares trained so far (n,).
        value, variance, white: as in `Belief` (n,), (n,), (rows, n).
        crash: probability (n,).
        log_cost: of a full run (n,).
    """

    points: Array
    run: Array
    site: Array
    luck: Array
    length: Array
    value: Array
    variance: Array
    white: Array
    crash: Array
    log_cost: Array


def new_prospects(belief: Belief, points: Array, sites: Array | None = None) -> Prospects:
    """What is believed of new runs at these points (n, d), whose configurations are those of `sites` or new (n,)."""
    n = len(points)
    sites = np.full(n, NOBODY) if sites is None else sites
    nobody, ones, zeros = np.full(n, NOBODY), np.ones(n), np.zeros(n)
    mean, variance, white = belief.surrogate.predict(Rows(points, zeros, nobody, sites, ones))
    crash = belief.crash.probability(points)
    value = mean + belief.log_share(crash, belief.chance_of_dud(points, sites))
    log_cost = belief.cost.log_cost(points)
    return Prospects(points, nobody, sites, ones, zeros, value, variance, white, crash, log_cost)


def paused_prospects(belief: Belief, runs: NDArray[np.intp]) -> Prospects:
    """What is believed of runs that could be continued, by their numbers (n,)."""
    return Prospects(
        belief.points[runs],
        runs.astype(float),
        belief.sites[runs],
        belief.luck[runs],
        belief.lengths[runs],
        belief.value[runs],
        belief.variance[runs],
        belief.white[:, runs],
        belief.risk_of_crash[runs],
        belief.log_cost[runs],
    )


class Acquisition:
    """Weighs prospects against the configurations that lead so far.

    Args:
        belief: fitted, and usable.
        settings: of the core.
    """

    def __init__(self, belief: Belief, settings: Settings) -> None:
        self._belief = belief
        self._settings = settings
        # One run for each configuration, the most hopeful ones.
        order = np.argsort(-(belief.value + np.sqrt(belief.variance)), kind="stable")
        _, first = np.unique(belief.sites[order], return_index=True)
        leading = order[np.sort(first)][: settings.rivals]
        best = int(np.argmax(belief.value))
        self._rivals = leading if best in leading else np.append(leading, best)
        self._best = np.array([best])
        self.star = float(belief.value[best])

    def promise(self, new: Prospects) -> Array:
        """Logarithm of the expected improvement of full runs per cost (n,).

        The leader's value is uncertain, too: what counts is by how much it is exceeded.
        """
        belief, settings = self._belief, self._settings
        variance = new.variance
        if settings.correlated:
            shared = belief.surrogate.covariance(_full_length(new), self._rows(self._best))[:, 0]
            shared = shared - new.white.T @ belief.white[:, self._best[0]]
            variance = variance + belief.variance[self._best[0]] - 2 * shared
        deviation = np.sqrt(np.maximum(variance, TINY))
        gain = np.log(deviation * expected_excess((new.value - self.star) / deviation) + TINY)
        if settings.max_cost is not None:
            gain = gain - TOO_DEAR * (new.log_cost > math.log(settings.max_cost))
        return np.asarray(gain + np.log(1 - new.crash + TINY) - (new.log_cost - belief.reference))

    def worth(self, of: Prospects, share: float) -> Array:
        """Logarithm of the worth of looking at runs at a share of their length, per cost (n,)."""
        belief, settings = self._belief, self._settings
        surrogate = belief.surrogate
        distance = np.full(len(of.value), belief.distance(np.array(share)))
        look = Rows(of.points, distance, of.run, of.site, of.luck)
        _, variance, white = surrogate.predict(look, own=True)
        seen = np.sqrt(variance + surrogate.noise_variance)
        deviation = np.sqrt(of.variance)
        # What the look can change of the belief; a look that says little about full length can change little.
        shift = surrogate.full_length_covariance(distance) - (of.white * white).sum(0)
        shift = np.clip(shift / seen, -deviation, deviation)
        if settings.knowledge_gradient:
            gain = self._knowledge_gradient(of, look, shift, white, seen)
        else:
            gain = np.abs(shift) * expected_excess((of.value - self.star) / deviation)
        cost = of.log_cost - belief.reference + np.log(share - of.length + settings.overhead)
        return np.asarray(np.log(gain + TINY) + np.log(1 - of.crash + TINY) - cost)

    def _knowledge_gradient(
        self, of: Prospects, look: Rows, shift: Array, white: Array, seen: Array
    ) -> Array:
        """See the module; how much the expected maximum grows (n,)."""
        belief, rivals = self._belief, self._rivals
        moved = belief.surrogate.covariance(self._rows(rivals), look) - belief.white[:, rivals].T @ white
        moved /= seen
        if not self._settings.correlated:
            moved *= belief.sites[rivals][:, None] == of.site
        after = belief.value[rivals][:, None, None] + moved[:, :, None] * NODES
        own = of.value[:, None] + shift[:, None] * NODES
        # Never negative but for rounding, which is as coarse as the values are large.
        return np.asarray(np.maximum(np.maximum(after.max(0), own) @ WEIGHTS - self.star, 0.0))

    def _rows(self, runs: NDArray[np.intp]) -> Rows:
        """The configurations of runs at full length."""
        n, belief = len(runs), self._belief
        return Rows(belief.points[runs], np.zeros(n), np.full(n, NOBODY), belief.sites[runs], np.ones(n))


def _full_length(of: Prospects) -> Rows:
    n = len(of.points)
    return Rows(of.points, np.zeros(n), np.full(n, NOBODY), of.site, np.ones(n))
