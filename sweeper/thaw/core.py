"""The decision: start a new configuration or continue a run, and how far.

Each action is worth what the look it buys can change of the belief in who is best (the knowledge gradient
between a configuration and its best rival, Frazier et al. 2009), plus the lead a new configuration is
predicted to have, times its chance not to crash, per cost. A share of the cost is kept for the long parts
of the leaders' runs.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from sweeper.thaw.belief import NOBODY, Belief, expected_excess
from sweeper.thaw.records import Array, Begin, Continue, Decision, Run
from sweeper.thaw.settings import Settings
from sweeper.thaw.surrogate import Rows

TOO_DEAR = 100.0
"""Taken off the worth of points that are predicted to cost more than they may."""

TINY = 1e-12
FINALISTS = 16
"""New points for which every rung is weighed."""

MAX_LIVE = 24
"""Paused runs for which every rung is weighed."""

Snap = Callable[[Array], Array]


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


class Thaw:
    """Decides from runs. Pure: the same runs and seed bring the same decision.

    Args:
        centre: where the search begins (d,).
        snap: moves points (n, d) to those that configurations can have.
    """

    def __init__(self, centre: Array, snap: Snap, seed: int, settings: Settings | None = None) -> None:
        self.settings = settings if settings is not None else Settings()
        self._centre = np.asarray(centre, dtype=float)
        self._snap = snap
        self._seed = abs(seed)
        self.d = len(self._centre)
        self._last: tuple[bytes, Belief] | None = None

    def decide(self, runs: Sequence[Run], salt: int = 0) -> Decision:
        """What to do with a free slot.

        Args:
            runs: all there are, always in the same order.
            salt: the number of trials where not all of them are runs here (points that could not be run, old
                ones that are no longer shown); changes the random numbers with it.
        """
        if self.settings.only_new:
            decision = self._decide(runs, salt)
            return Begin(decision.point, 1.0, decision.reason) if isinstance(decision, Begin) else decision
        return self._decide(runs, salt)

    def _decide(self, runs: Sequence[Run], salt: int) -> Decision:
        rungs, n = self.settings.rungs, len(runs)
        if n == 0:
            return Begin(self._snap(self._centre[None])[0], rungs[self.settings.first_rung], "centre")
        # Random numbers follow from how much has been seen, so that asking twice brings the same answer.
        rng = np.random.default_rng([self._seed, n, sum(len(run.levels) for run in runs), salt])
        if n < 4 + self.d // 4:
            return self._initial(runs, salt)
        belief = self._belief(runs)
        if not belief.usable:
            return self._initial(runs, salt)
        if self.settings.only_new:
            return self._best_new(belief, rng, (1.0,))[1]
        if self._is_uncut(max(n, salt)):
            return self._best_new(belief, rng, (1.0,), "uncut")[1]
        leader = self._leader(belief)
        if leader is not None:
            return Continue(leader, self._next_rung(runs[leader].length), "leader")
        return self._best_continuation(belief, self._best_new(belief, rng, rungs))[1]

    def recommend(self, runs: Sequence[Run]) -> int | None:
        """The run whose configuration to take; None while only observed scores can say."""
        if len(runs) < 4 + self.d // 4:
            return None
        belief = self._belief(runs)
        return belief.best() if belief.usable else None

    def _belief(self, runs: Sequence[Run]) -> Belief:
        """Fits, or takes the last fit if it was for the same runs."""
        digest = hashlib.blake2b()
        for run in runs:
            digest.update(run.point.tobytes() + run.levels.tobytes() + run.rungs.tobytes())
            digest.update(repr((run.length, run.cost, run.crashed, run.target, run.open)).encode())
        key = digest.digest()
        if self._last is None or self._last[0] != key:
            self._last = (key, Belief(list(runs), self.settings))
        return self._last[1]

    def _next_rung(self, length: float) -> float:
        return min(share for share in self.settings.rungs if share > length + 1e-9)

    def _initial(self, runs: Sequence[Run], salt: int) -> Decision:
        """Points around the centre: all of the cube in few dimensions, sparse moves in many."""
        n = len(runs)
        rng = np.random.default_rng([self._seed, n, salt])
        # Sobol points as far as they go; where runs only crash, there may be more to try than that.
        draw = (
            qmc.Sobol(self.d, scramble=True, rng=self._seed).random_base2(6)[n]
            if n < 64
            else rng.random(self.d)
        )
        if self.d > 6:
            draw = np.where(rng.random(self.d) < 0.5, draw, 0.5)
        radius = min(1.0, 6.0 / self.d * (1 + n / 32))
        point = np.clip(self._centre + radius * (draw - 0.5), 0, 1)
        return Begin(self._snap(point[None])[0], self.settings.rungs[0 if n > 2 else 1], "initial")

    def _is_uncut(self, count: int) -> bool:
        """Whether run number `count`, the next new one, is one of those that run whole, evenly over a study."""
        share = self.settings.uncut
        return math.floor(count * share) > math.floor((count - 1) * share)

    def _leader(self, belief: Belief) -> int | None:
        """The unfinished run with the best value, while long runs have had less than their share."""
        settings = self.settings
        if not belief.unfinished.any():
            return None
        spent = np.array([run.cost for run in belief.runs])
        long = spent * np.clip(1 - settings.long_from / np.maximum(belief.lengths, 1e-9), 0, None)
        if long.sum() >= settings.verify * spent.sum():
            return None
        value = np.where(belief.unfinished, belief.value, -np.inf)
        leader = int(np.argmax(value))
        return leader if belief.value[leader] >= belief.value[belief.best()] else None

    def _candidates(self, belief: Belief, rng: np.random.Generator) -> Array:
        """Local moves around the best runs, and a share of points from the whole cube that falls with d."""
        n, d = self.settings.num_candidates, self.d
        best = np.argsort(-belief.value)[:6]
        share = self.settings.global_share
        num_global = int(n * (min(0.5, max(0.03, (8 - d) / 8)) if share is None else share))
        num_local = n - num_global
        chosen = np.minimum(rng.geometric(0.35, num_local) - 1, len(best) - 1)
        start = belief.points[best[chosen]]
        size = np.exp(rng.uniform(math.log(0.03), math.log(0.35), (num_local, 1)))
        moved = rng.random((num_local, d)) < rng.choice([min(1.0, 2 / d), 0.4, 1.0], (num_local, 1))
        local = start + size * rng.standard_normal((num_local, d)) * moved
        return np.clip(np.vstack([rng.random((num_global, d)), local]), 0, 1)

    def _prospects(self, belief: Belief, points: Array, sites: Array | None = None) -> Prospects:
        """What is believed of new runs at these points (n, d)."""
        n = len(points)
        sites = np.full(n, NOBODY) if sites is None else sites
        mean, variance, white = belief.surrogate.predict(
            Rows(points, np.zeros(n), np.full(n, NOBODY), sites, np.ones(n))
        )
        crash = belief.crash.probability(points)
        value = mean + np.log(np.maximum(1 - crash, 1e-6)) / belief.spread
        log_cost = belief.cost.log_cost(points)
        return Prospects(
            points,
            np.full(n, NOBODY),
            sites,
            np.ones(n),
            np.zeros(n),
            value,
            variance,
            white,
            crash,
            log_cost,
        )

    def _promise(self, belief: Belief, new: Prospects, star: float) -> Array:
        """Logarithm of the expected improvement of full runs per cost (n,)."""
        deviation = np.sqrt(new.variance)
        gain = np.log(deviation * expected_excess((new.value - star) / deviation) + TINY)
        if self.settings.max_cost is not None:
            gain = gain - TOO_DEAR * (new.log_cost > math.log(self.settings.max_cost))
        return np.asarray(gain + np.log(1 - new.crash + TINY) - (new.log_cost - belief.reference))

    def _best_new(
        self, belief: Belief, rng: np.random.Generator, rungs: tuple[float, ...], reason: str = "new"
    ) -> tuple[float, Decision]:
        """The most worthwhile new run, and what it is worth."""
        settings, d = self.settings, self.d
        star = float(belief.value.max())
        points = self._candidates(belief, rng)
        promise = self._promise(belief, self._prospects(belief, points), star)
        for size in np.geomspace(0.15, 0.03, settings.rounds):
            near = np.repeat(points[np.argsort(-promise)[:8]], 12, axis=0)
            moved = rng.random(near.shape) < max(0.3, 2 / d)
            near = np.clip(near + size * rng.standard_normal(near.shape) * moved, 0, 1)
            points = np.vstack([points, near])
            promise = np.append(promise, self._promise(belief, self._prospects(belief, near), star))
        points = self._snap(points[np.argsort(-promise)[:FINALISTS]])
        repeated = np.argsort(-belief.value)[: settings.repeats if reason == "new" else 0]
        sites = np.append(np.full(len(points), NOBODY), belief.sites[repeated])
        new = self._prospects(belief, np.vstack([points, belief.points[repeated]]), sites)
        fresh = sites == NOBODY
        worth = np.array(
            [self._worth(belief, new, share, np.full(len(sites), star), fresh) for share in rungs]
        )
        rung, i = np.unravel_index(int(np.argmax(worth)), worth.shape)
        return float(worth[rung, i]), Begin(new.points[i], rungs[rung], reason if fresh[i] else "repeat")

    def _best_continuation(self, belief: Belief, best: tuple[float, Decision]) -> tuple[float, Decision]:
        """The most worthwhile continuation of a paused run, if it is worth more than the best so far."""
        hope = belief.value + np.sqrt(belief.variance)
        live = np.flatnonzero(belief.unfinished)
        live = live[np.argsort(-hope[live])[:MAX_LIVE]]
        ordered = np.sort(belief.value)[::-1]
        star = float(ordered[0])
        # The best run improves on the second best, or it could never be worth a look.
        rival = np.where(belief.value >= star, ordered[1] if len(ordered) > 1 else star - 1, star)
        for share in self.settings.rungs[1:]:
            some = live[belief.lengths[live] < share - 1e-9]
            if not len(some):
                continue
            paused = Prospects(
                belief.points[some],
                some.astype(float),
                belief.sites[some],
                belief.luck[some],
                belief.lengths[some],
                belief.value[some],
                belief.variance[some],
                belief.white[:, some],
                belief.risk_of_crash[some],
                belief.log_cost[some],
            )
            worth = self._worth(belief, paused, share, rival[some], np.zeros(len(some), dtype=bool))
            i = int(np.argmax(worth))
            if worth[i] > best[0]:
                best = (float(worth[i]), Continue(int(some[i]), share, "continue"))
        return best

    def _worth(self, belief: Belief, of: Prospects, share: float, star: Array, fresh: Array) -> Array:
        """Logarithm of the worth of looking at runs at a share of their length, per cost (n,)."""
        surrogate, settings = belief.surrogate, self.settings
        distance = np.full(len(of.value), belief.distance(np.array(share)))
        look = Rows(of.points, distance, of.run, of.site, of.luck)
        _, seen_variance, seen_white = surrogate.predict(look, own=True)
        shared = surrogate.full_length_covariance - (of.white * seen_white).sum(0)
        deviation = np.sqrt(of.variance)
        correlation = np.abs(shared) / np.sqrt(seen_variance + surrogate.noise_variance) / deviation
        # What the look can change of the belief; a look that says little about full length can change little.
        shift = deviation * np.minimum(correlation, 1.0)
        if settings.knowledge_gradient:
            gain = shift * expected_excess(-np.abs(of.value - star) / np.maximum(shift, TINY))
            # A new configuration that is predicted to be ahead gains that lead by any look at all.
            gain = gain + settings.lead * fresh * np.maximum(of.value - star, 0.0)
        else:
            gain = shift * expected_excess((of.value - star) / deviation)
        cost = of.log_cost - belief.reference + np.log(share - of.length + settings.overhead)
        return np.asarray(np.log(gain + TINY) + np.log(1 - of.crash + TINY) - cost)
