"""What the core believes after a set of runs: values at full length, chances of a crash, costs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr
from scipy.stats import rankdata

from sweeper.thaw.cost import CostModel
from sweeper.thaw.crash import CrashModel
from sweeper.thaw.dud import DudModel
from sweeper.thaw.surrogate import Rows, Surrogate
from sweeper.thaw.takeoff import nothing_learnt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sweeper.thaw.records import Array, Run
    from sweeper.thaw.settings import Settings

NOBODY = -1.0
"""Stands for the run or the configuration of something that has none yet."""


class Belief:
    """Fitted once for a set of runs; everything the decision needs is read from it.

    Scores are scaled to [0, 1] over all observations, compressed by a logarithm (most of a space is bad,
    and the differences among the bad must not drown those among the good) and standardised.

    Attributes:
        usable: there is enough to fit; without it, only runs and costs are known.
        flat: nothing has been learnt yet, and no score is believed.
    """

    def __init__(self, runs: list[Run], settings: Settings) -> None:
        self.settings = settings
        self.runs = runs
        self.points = np.array([run.point for run in runs])
        self.lengths = np.array([run.length for run in runs])
        self.crashed = np.array([run.crashed for run in runs])
        self.open = np.array([run.open and not run.crashed and run.target is None for run in runs])
        self.unfinished = self.open & (self.lengths < 1 - 1e-9)
        index, share, level = self._observations()
        self.usable, self.flat = len(level) >= 2, False
        if not self.usable:
            return
        self._fit_cost_and_crash()
        self.flat = settings.flat_rule and nothing_learnt(runs)
        if self.flat:
            return
        y = self._compress(level)
        _, first, inverse = np.unique(self.points.round(9), axis=0, return_index=True, return_inverse=True)
        self.sites = first[inverse.reshape(-1)].astype(float)
        rows = Rows(
            self.points[index], self.distance(share), index.astype(float), self.sites[index], np.ones(len(y))
        )
        surrogate = Surrogate(self.points.shape[1], settings.prior)
        few = self._telling_rows(rows.run, y)
        # Before the fit as well: one dead seed would teach it that every seed is a gamble.
        rows = self._find_outliers(surrogate, rows, y)
        surrogate.tune(rows.take(few), y[few], settings.tune_iterations)
        rows = self._find_outliers(surrogate, rows, y)
        surrogate.fit(rows, y)
        self.luck = np.ones(len(runs))
        self.luck[index] = rows.luck
        full = Rows(
            self.points, np.zeros(len(runs)), np.full(len(runs), NOBODY), self.sites, np.ones(len(runs))
        )
        self._fit_duds(index)
        self.seen = np.isin(self.sites, self.sites[index])
        self.mean, self.shown_variance, self.white = surrogate.predict(full)
        self.variance = self.shown_variance
        pending = [i for i, run in enumerate(runs) if run.target is not None and not run.crashed]
        if pending:
            rows, y = self._believe(surrogate, rows, y, pending)
            surrogate.fit(rows, y)
            self.mean, self.variance, self.white = surrogate.predict(full)
        self.surrogate = surrogate
        remaining = self.crash.remaining(self.points, self.lengths)
        self.risk_of_crash = np.where(self.crashed, 1.0, remaining)
        self.risk_of_dud = self.chance_of_dud(self.points, self.sites)
        self.value = self.mean + self.log_share(self.risk_of_crash, self.risk_of_dud)
        self.value = np.where(self.crashed, -1e9, self.value)

    def distance(self, share: Array) -> Array:
        """Distance v of shares from full length: 1 at the lowest rung, 0 at full length."""
        lowest = self.settings.rungs[0]
        return np.asarray(np.clip(np.log(np.asarray(share, dtype=float)) / math.log(lowest), 0.0, 1.0))

    def best(self) -> int:
        """The run whose configuration is recommended: the best value that is not mere hope.

        Values are compared where they add up, in scores, crashes and duds counting as the worst score seen. What
        running runs are expected to show makes nobody surer here, and a configuration that has shown nothing yet is no
        answer.
        """
        cautious = self.mean - self.settings.risk * np.sqrt(self.shown_variance)
        worth = (1 - self.risk_of_crash) * (1 - self.risk_of_dud) * self._decompress(cautious)
        return int(np.argmax(np.where(self.seen, worth, -np.inf)))

    def _observations(self) -> tuple[Array, Array, Array]:
        """Run, share and level of the observations to keep, the most telling ones first."""
        found = []
        for i, run in enumerate(self.runs):
            m = len(run.levels)
            for j in range(m):
                if math.isfinite(run.levels[j]):
                    entry = (min(m - 1 - j, 2), -run.levels[j], i, run.rungs[j], run.levels[j])
                    found.append(entry)
        # The last look at each run first, then the one before; among equals the better ones.
        found.sort()
        kept = found[: self.settings.max_rows]
        columns = np.array([(i, share, level) for _, _, i, share, level in kept]).reshape(-1, 3)
        return columns[:, 0].astype(int), columns[:, 1], columns[:, 2]

    def _telling_rows(self, run: Array, y: Array) -> NDArray[np.intp]:
        """Rows for the hyperparameters: whole curves of the longest runs, then looks at runs of all kinds."""
        limit = self.settings.tune_rows
        if len(y) <= limit:
            return np.arange(len(y))
        furthest = np.lexsort((-y, -self.lengths[run.astype(int)]))
        whole = furthest[: limit // 2]
        others = np.setdiff1d(np.arange(len(y)), whole)
        others = others[np.argsort(-y[others], kind="stable")]
        spread = others[np.linspace(0, len(others) - 1, limit - len(whole)).round().astype(int)]
        return np.concatenate([whole, spread])

    def _find_outliers(self, surrogate: Surrogate, rows: Rows, y: Array) -> Rows:
        """Iteratively reweighted runs, as for offsets with Student-t tails (Lange et al. 1989).

        The tail lies on the side of bad luck alone, unless the settings say otherwise.
        """
        for _ in range(self.settings.robust_rounds):
            surrogate.fit(rows, y)
            size, sign = surrogate.outlyingness()
            luck = (self.settings.tail + size) / (self.settings.tail + 1)
            if not self.settings.lucky_outliers:
                luck = np.where(sign > 0, np.minimum(luck, 1.0), luck)
            rows = replace(rows, luck=np.clip(luck, 0.2, 1e3))
        return rows

    def _compress(self, level: Array) -> Array:
        low, high = float(level.min()), float(level.max())
        self.scale = max(high - low, 1e-12)
        if self.settings.percentile:
            z = rankdata(level) / len(level)
            self.centre, self.spread = float(z.mean()), max(float(z.std()), 1e-9)
            return np.asarray((z - z.mean()) / self.spread)
        z = np.log((level - low) / self.scale + self.settings.compression)
        self.centre, self.spread = float(z.mean()), max(float(z.std()), 1e-9)
        return np.asarray((z - self.centre) / self.spread)

    def _decompress(self, y: Array) -> Array:
        """Scores scaled to [0, 1] over all observations, at least 0."""
        z = y * self.spread + self.centre
        if self.settings.percentile:
            return np.asarray(np.maximum(z, 0.0))
        return np.asarray(np.maximum(np.exp(z) - self.settings.compression, 0.0) + 1e-6 * np.exp(z))

    def _believe(self, surrogate: Surrogate, rows: Rows, y: Array, pending: list[int]) -> tuple[Rows, Array]:
        """Adds what running runs are expected to show, so that nobody is sent to look at the same thing."""
        at = Rows(
            self.points[pending],
            self.distance(np.array([self.runs[i].target or 1.0 for i in pending])),
            np.array(pending, dtype=float),
            self.sites[pending],
            self.luck[pending],
        )
        expected, _, _ = surrogate.predict(at, own=True)
        together = Rows(
            np.vstack([rows.x, at.x]),
            np.append(rows.v, at.v),
            np.append(rows.run, at.run),
            np.append(rows.site, at.site),
            np.append(rows.luck, at.luck),
        )
        return together, np.append(y, expected)

    def chance_of_dud(self, points: Array, sites: Array) -> Array:
        """Of fresh runs of these configurations (n,), those of `sites` or new ones (n,); see `DudModel`."""
        return np.zeros(len(points)) if self._duds is None else self._duds.probability(points, sites)

    def log_share(self, crash: Array, dud: Array) -> Array:
        """What these chances (n,) take from a value: the rest is lost, and values are logarithms of scores."""
        return np.asarray(np.log(np.maximum((1 - crash) * (1 - dud), 1e-6)) / self.spread)

    def _fit_duds(self, index: Array) -> None:
        self._duds: DudModel | None = None
        if self.settings.dud_model:
            seen = np.zeros(len(self.runs), dtype=bool)
            seen[index] = True
            shortest = self.settings.rungs[0]
            self._duds = DudModel(self.points, self.lengths, self.sites, self.luck, seen, shortest)

    def _fit_cost_and_crash(self) -> None:
        spent = np.array([run.cost for run in self.runs])
        begun = (self.lengths > 0) & (spent > 0)
        self.cost = CostModel()
        log_costs = np.log(np.maximum(spent[begun], 1e-9) / self.lengths[begun])
        if not self.settings.cost_model:
            log_costs = np.full_like(log_costs, np.median(log_costs) if len(log_costs) else 0.0)
        if not begun.any():
            # Nothing has cost anything measurable: every run costs the same.
            begun, log_costs = np.ones(len(self.runs), dtype=bool), np.zeros(len(self.runs))
        self.cost.fit(self.points[begun], log_costs)
        self.log_cost = self.cost.log_cost(self.points)
        self.log_cost[begun] = log_costs
        self.reference = float(np.median(log_costs))
        self.crash = CrashModel(self.points.shape[1], self.settings.rungs[0])
        tried = self.lengths > 0
        if self.settings.crash_model:
            self.crash.fit(self.points[tried], self.lengths[tried], self.crashed[tried].astype(float))


def expected_excess(z: Array) -> Array:
    """E[max(N(z, 1), 0)], the expected improvement of a standard normal over -z."""
    return np.asarray(np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) + z * ndtr(z))
