"""The decision: start a new configuration or continue a run, and how far.

Proposals are weighed as full runs first; then the best of them, the leading configurations with a fresh seed and the
paused runs by what a look at each rung is worth (`acquisition.py`). Shares of the training are set aside for the long
parts of the leaders' runs and for runs that nobody cuts.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import softmax
from scipy.stats import qmc

from sweeper.thaw.acquisition import TOO_DEAR, Acquisition, new_prospects, paused_prospects
from sweeper.thaw.belief import NOBODY, Belief
from sweeper.thaw.records import Array, Begin, Continue, Decision, Run
from sweeper.thaw.settings import Settings

FINALISTS = 16
"""New points for which every rung is weighed."""

MAX_LIVE = 24
"""Paused runs for which every rung is weighed."""

UNCUT_STREAM = 1
"""Keeps the draws of uncut runs apart from the random numbers of proposals."""

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
        if belief.flat:
            return self._whole(belief, rng)
        if self.settings.only_new:
            return self._best_new(belief, rng, (1.0,))[1]
        if self._is_uncut(runs, max(n, salt)):
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
        if not belief.usable:
            return None
        return self._nearest_centre(belief) if belief.flat else belief.best()

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
        """The first points: short runs, since there is nothing yet that a long one could be compared with."""
        n = len(runs)
        rng = np.random.default_rng([self._seed, n, salt])
        # Sobol points as far as they go; where runs only crash, there may be more to try than that.
        draw = (
            qmc.Sobol(self.d, scramble=True, rng=self._seed).random_base2(6)[n]
            if n < 64
            else rng.random(self.d)
        )
        point = self._around_centre(n, rng, draw)
        return Begin(self._snap(point[None])[0], self.settings.rungs[0 if n > 2 else 1], "initial")

    def _whole(self, belief: Belief, rng: np.random.Generator) -> Decision:
        """Where nothing has learnt yet: the config as written to its end, then whole runs ever further around it.

        Short runs have nothing to show there and models of scores would follow noise. Points are drawn in proportion to
        how many of them the same cost buys alive.
        """
        begun = self._nearest_centre(belief)
        if belief.unfinished[begun] and not self.settings.only_new:
            return Continue(begun, 1.0, "centre")
        count = len(belief.runs)
        points = self._snap(np.array([self._around_centre(count, rng) for _ in range(FINALISTS)]))
        log_cost = belief.cost.log_cost(points)
        worth = np.log1p(-np.minimum(belief.crash.probability(points), 0.999)) - log_cost
        if self.settings.max_cost is not None:
            worth = worth - TOO_DEAR * (log_cost > math.log(self.settings.max_cost))
        chosen = rng.choice(len(points), p=softmax(worth))
        return Begin(points[chosen], 1.0, "whole")

    def _nearest_centre(self, belief: Belief) -> int:
        """The run of the config as written, or the closest to it; one that can be continued rather than its twins."""
        far = ((belief.points - self._centre) ** 2).sum(1).round(9)
        return int(np.lexsort((~belief.unfinished, far, belief.crashed))[0])

    def _around_centre(self, count: int, rng: np.random.Generator, draw: Array | None = None) -> Array:
        """A point around the centre: of all the cube in few dimensions, sparse moves in many."""
        draw = rng.random(self.d) if draw is None else draw
        if self.d > 6:
            draw = np.where(rng.random(self.d) < 0.5, draw, 0.5)
        radius = min(1.0, 6.0 / self.d * (1 + count / 32))
        return np.clip(self._centre + radius * (draw - 0.5), 0, 1)

    def _is_uncut(self, runs: Sequence[Run], count: int) -> bool:
        """Whether run number `count`, the next new one, is one of those that run whole.

        A draw for each number, so likely that such runs have their share of all training, however short the others
        are kept.
        """
        trained = sum(run.length for run in runs) / len(runs)
        draw = np.random.default_rng([self._seed, count, UNCUT_STREAM]).random()
        return bool(draw < self.settings.uncut * trained)

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

    def _best_new(
        self, belief: Belief, rng: np.random.Generator, rungs: tuple[float, ...], reason: str = "new"
    ) -> tuple[float, Decision]:
        """The most worthwhile new run, and what it is worth."""
        settings, d = self.settings, self.d
        acquisition = Acquisition(belief, settings)
        points = self._candidates(belief, rng)
        promise = acquisition.promise(new_prospects(belief, points))
        for size in np.geomspace(0.15, 0.03, settings.rounds):
            near = np.repeat(points[np.argsort(-promise)[:8]], 12, axis=0)
            moved = rng.random(near.shape) < max(0.3, 2 / d)
            near = np.clip(near + size * rng.standard_normal(near.shape) * moved, 0, 1)
            points = np.vstack([points, near])
            promise = np.append(promise, acquisition.promise(new_prospects(belief, near)))
        points = self._snap(points[np.argsort(-promise)[:FINALISTS]])
        repeated = np.argsort(-belief.value)[: settings.repeats if reason == "new" else 0]
        sites = np.append(np.full(len(points), NOBODY), belief.sites[repeated])
        new = new_prospects(belief, np.vstack([points, belief.points[repeated]]), sites)
        worth = np.array([acquisition.worth(new, share) for share in rungs])
        rung, i = np.unravel_index(int(np.argmax(worth)), worth.shape)
        return float(worth[rung, i]), Begin(
            new.points[i], rungs[rung], reason if sites[i] == NOBODY else "repeat"
        )

    def _best_continuation(self, belief: Belief, best: tuple[float, Decision]) -> tuple[float, Decision]:
        """The most worthwhile continuation of a paused run, if it is worth more than the best so far."""
        acquisition = Acquisition(belief, self.settings)
        hope = belief.value + np.sqrt(belief.variance)
        live = np.flatnonzero(belief.unfinished)
        live = live[np.argsort(-hope[live])[:MAX_LIVE]]
        for share in self.settings.rungs[1:]:
            some = live[belief.lengths[live] < share - 1e-9]
            if not len(some):
                continue
            worth = acquisition.worth(paused_prospects(belief, some), share)
            i = int(np.argmax(worth))
            if worth[i] > best[0]:
                best = (float(worth[i]), Continue(int(some[i]), share, "continue"))
        return best
