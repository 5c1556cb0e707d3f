"""What the core believes after a set of runs: values at full length, chances of a crash, costs."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr

from sweeper.thaw.cost import CostModel
from sweeper.thaw.crash import CrashModel
from sweeper.thaw.records import Array, Run
from sweeper.thaw.settings import Settings
from sweeper.thaw.surrogate import Rows, Surrogate

NEW_RUN = -2.0
NO_RUN = -1.0


class Belief:
    """Fitted once for a set of runs; everything the decision needs is read from it.

    Scores are scaled to [0, 1] over all observations, compressed by a logarithm (most of a space is bad, and the
    differences among the bad must not drown those among the good) and standardised.
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
        self.usable = len(level) >= 2
        if not self.usable:
            return
        y = self._compress(level)
        rows = Rows(self.points[index], self.distance(share), index.astype(float))
        surrogate = Surrogate(self.points.shape[1], settings.prior)
        few = slice(None, settings.tune_rows)
        surrogate.tune(Rows(rows.x[few], rows.v[few], rows.run[few]), y[few], settings.tune_iterations)
        surrogate.fit(rows, y)
        pending = [i for i, run in enumerate(runs) if run.target is not None and not run.crashed]
        if pending:
            rows, y = self._believe(surrogate, rows, y, pending)
            surrogate.fit(rows, y)
        self.surrogate = surrogate
        self._fit_cost_and_crash()
        full = Rows(self.points, np.zeros(len(runs)), np.full(len(runs), NO_RUN))
        self.mean, self.variance, self.white = surrogate.predict(full)
        remaining = self.crash.remaining(self.points, self.lengths)
        self.risk_of_crash = np.where(self.crashed, 1.0, remaining)
        safe = np.log(np.maximum(1 - self.risk_of_crash, 1e-6)) / self.spread
        self.value = np.where(self.crashed, -1e9, self.mean + safe)

    def distance(self, share: Array) -> Array:
        """Distance v of shares from full length: 1 at the lowest rung, 0 at full length."""
        lowest = self.settings.rungs[0]
        return np.asarray(np.clip(np.log(np.asarray(share, dtype=float)) / math.log(lowest), 0.0, 1.0))

    def best(self) -> int:
        """The run whose configuration is recommended: the best value that is not mere hope."""
        return int(np.argmax(self.value - self.settings.risk * np.sqrt(self.variance)))

    def _observations(self) -> tuple[Array, Array, Array]:
        """Run, share and level of the observations to keep, the most telling ones first."""
        found = []
        for i, run in enumerate(self.runs):
            m = len(run.levels)
            for j in range(m):
                if np.isfinite(run.levels[j]):
                    found.append((min(m - 1 - j, 2), -run.levels[j], i, run.rungs[j], run.levels[j]))
        # The last look at each run first, then the one before; among equals the better ones.
        found.sort()
        kept = found[: self.settings.max_rows]
        columns = np.array([(i, share, level) for _, _, i, share, level in kept]).reshape(-1, 3)
        return columns[:, 0].astype(int), columns[:, 1], columns[:, 2]

    def _compress(self, level: Array) -> Array:
        low, high = float(level.min()), float(level.max())
        self.scale = max(high - low, 1e-12)
        z = np.log((level - low) / self.scale + self.settings.compression)
        self.spread = max(float(z.std()), 1e-9)
        return (z - z.mean()) / self.spread

    def _believe(self, surrogate: Surrogate, rows: Rows, y: Array, pending: list[int]) -> tuple[Rows, Array]:
        """Adds what running runs are expected to show, so that nobody is sent to look at the same thing."""
        at = Rows(
            self.points[pending],
            self.distance(np.array([self.runs[i].target or 1.0 for i in pending])),
            np.array(pending, dtype=float),
        )
        expected, _, _ = surrogate.predict(at, own=True)
        together = Rows(np.vstack([rows.x, at.x]), np.append(rows.v, at.v), np.append(rows.run, at.run))
        return together, np.append(y, expected)

    def _fit_cost_and_crash(self) -> None:
        spent = np.array([run.cost for run in self.runs])
        begun = self.lengths > 0
        self.cost = CostModel()
        log_costs = np.log(np.maximum(spent[begun], 1e-9) / self.lengths[begun])
        self.cost.fit(self.points[begun], log_costs)
        self.log_cost = self.cost.log_cost(self.points)
        self.log_cost[begun] = log_costs
        self.reference = float(np.median(log_costs))
        self.crash = CrashModel(self.points.shape[1], self.settings.rungs[0])
        self.crash.fit(self.points[begun], self.lengths[begun], self.crashed[begun].astype(float))


def expected_excess(z: Array) -> Array:
    """E[max(N(z, 1), 0)], the expected improvement of a standard normal over -z."""
    return np.asarray(np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) + z * ndtr(z))
