"""The decision: start a new configuration or continue a run, and how far.

Each action is worth (expected improvement at full length) x (how much of that the look it buys would reveal)
x (chance of no crash) per cost. A share of the cost is kept for the long parts of the leaders' runs.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import qmc

from sweeper.thaw.belief import NEW_RUN, NO_RUN, Belief, expected_excess
from sweeper.thaw.records import Array, Begin, Continue, Decision, Run
from sweeper.thaw.settings import Settings
from sweeper.thaw.surrogate import Rows

TOO_DEAR = 100.0
"""Taken off the worth of points that are predicted to cost more than they may."""

Snap = Callable[[Array], Array]


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
            salt: changes the random numbers where the runs alone would not (points that could not be run,
                say).
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
        num_global = int(n * min(0.5, max(0.03, (8 - d) / 8)))
        num_local = n - num_global
        chosen = np.minimum(rng.geometric(0.35, num_local) - 1, len(best) - 1)
        start = belief.points[best[chosen]]
        size = np.exp(rng.uniform(math.log(0.03), math.log(0.35), (num_local, 1)))
        moved = rng.random((num_local, d)) < rng.choice([min(1.0, 2 / d), 0.4, 1.0], (num_local, 1))
        local = start + size * rng.standard_normal((num_local, d)) * moved
        return np.clip(np.vstack([rng.random((num_global, d)), local]), 0, 1)

    def _improvement(
        self, belief: Belief, points: Array, star: float, sites: Array | None = None
    ) -> tuple[Array, ...]:
        """Logarithm of the expected improvement per cost of full runs, and what it is made of."""
        n = len(points)
        sites = np.full(n, NEW_RUN) if sites is None else sites
        mean, variance, white = belief.surrogate.predict(Rows(points, np.zeros(n), np.full(n, NO_RUN), sites))
        crash = belief.crash.probability(points)
        deviation = np.sqrt(variance)
        value = mean + np.log(np.maximum(1 - crash, 1e-6)) / belief.spread
        log_cost = belief.cost.log_cost(points)
        gain = np.log(deviation * expected_excess((value - star) / deviation) + 1e-12)
        if self.settings.max_cost is not None:
            gain = gain - TOO_DEAR * (log_cost > math.log(self.settings.max_cost))
        return (
            gain + np.log(1 - crash + 1e-9) - (log_cost - belief.reference),
            value,
            variance,
            white,
            crash,
            log_cost,
        )

    def _best_new(
        self, belief: Belief, rng: np.random.Generator, rungs: tuple[float, ...]
    ) -> tuple[float, Decision]:
        settings, d = self.settings, self.d
        star = float(belief.value.max())
        points = self._candidates(belief, rng)
        score = self._improvement(belief, points, star)[0]
        for size in np.geomspace(0.15, 0.03, settings.rounds):
            top = points[np.argsort(-score)[:8]]
            near = np.repeat(top, 12, axis=0)
            moved = rng.random(near.shape) < max(0.3, 2 / d)
            near = np.clip(near + size * rng.standard_normal(near.shape) * moved, 0, 1)
            points = np.vstack([points, near])
            score = np.append(score, self._improvement(belief, near, star)[0])
        points = self._snap(points[np.argsort(-score)[:16]])
        repeated = np.argsort(-belief.value)[: settings.repeats]
        sites = np.append(np.full(len(points), NEW_RUN), belief.sites[repeated])
        points = np.vstack([points, belief.points[repeated]])
        _, value, variance, white, crash, log_cost = self._improvement(belief, points, star, sites)
        best: tuple[float, Decision] | None = None
        n = len(points)
        for share in rungs:
            at = Rows(points, np.full(n, belief.distance(np.array(share))), np.full(n, NEW_RUN), sites)
            worth = self._worth(
                belief, at, value, variance, white, crash, log_cost, share, np.full(n, star), sites == NEW_RUN
            )
            i = int(np.argmax(worth))
            if best is None or worth[i] > best[0]:
                best = (float(worth[i]), Begin(points[i], share, "repeat" if i >= 16 else "new"))
        if best is None:
            raise ValueError("a ladder needs a rung")
        return best

    def _best_continuation(self, belief: Belief, best: tuple[float, Decision]) -> tuple[float, Decision]:
        hope = belief.value + np.sqrt(belief.variance)
        live = np.flatnonzero(belief.unfinished)
        live = live[np.argsort(-hope[live])[:24]]
        ordered = np.sort(belief.value)[::-1]
        star = float(ordered[0])
        # The best run improves on the second best, or it could never be worth a look.
        rival = np.where(belief.value >= star, ordered[1] if len(ordered) > 1 else star - 1, star)
        for share in self.settings.rungs[1:]:
            some = live[belief.lengths[live] < share - 1e-9]
            if not len(some):
                continue
            at = Rows(
                belief.points[some],
                np.full(len(some), belief.distance(np.array(share))),
                some.astype(float),
                belief.sites[some],
            )
            worth = self._worth(
                belief, at, belief.value[some], belief.variance[some], belief.white[:, some],
                belief.risk_of_crash[some], belief.log_cost[some], share - belief.lengths[some], rival[some], np.zeros(len(some), dtype=bool),
            )  # fmt: skip
            i = int(np.argmax(worth))
            if worth[i] > best[0]:
                best = (float(worth[i]), Continue(int(some[i]), share, "continue"))
        return best

    def _worth(
        self,
        belief: Belief,
        at: Rows,
        value: Array,
        variance: Array,
        white: Array,
        crash: Array,
        log_cost: Array,
        length: Array | float,
        star: Array,
        fresh: Array,
    ) -> Array:
        """Logarithm of the worth of looking at runs at a length that costs `length` more of a full run (n,)."""
        surrogate = belief.surrogate
        _, seen_variance, seen_white = surrogate.predict(at, own=True)
        shared = surrogate.full_length_covariance(at.x) - (white * seen_white).sum(0)
        deviation = np.sqrt(variance)
        correlation = np.abs(shared) / np.sqrt(seen_variance + surrogate.noise_variance) / deviation
        gain = deviation * expected_excess(-np.abs(value - star) / deviation)
        gain = gain * np.minimum(correlation, 1.0) ** self.settings.correlation_power
        gain = np.log(gain + self.settings.lead * fresh * np.maximum(value - star, 0.0) + 1e-12)
        return np.asarray(
            gain
            + np.log(1 - crash + 1e-9)
            - (log_cost - belief.reference + np.log(length + self.settings.overhead))
        )
