"""The probability that a configuration crashes: a crash told as a score would bend every model of scores.

Bayesian logistic regression (Laplace approximation, probit-adjusted prediction: MacKay 1992) on linear and
quadratic features. A run that is alive after a part of its length is only a part of a survivor: it weighs
as much as the share of crashes that come before that length.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sweeper.thaw.records import Array

PRIOR_LOGIT = -2.5
NEWTON_STEPS = 8
NUM_INTERVALS = 6
"""Of length, evenly spaced on a logarithmic axis from half the lowest rung to full length."""

PRIOR_HAZARD = 0.05
PRIOR_RUNS = 2.0


class CrashModel:
    """See the module."""

    def __init__(self, dimensions: int, shortest: float) -> None:
        shrink = min(1.0, 3.5 / math.sqrt(dimensions))
        widths = np.concatenate([[3.0], np.full(dimensions, 2.0 * shrink), np.full(dimensions, shrink)])
        self._precision = widths**-2.0
        self._edges = np.geomspace(shortest / 2, 1.0, NUM_INTERVALS + 1)
        self._mode = np.zeros(2 * dimensions + 1)
        self._mode[0] = PRIOR_LOGIT
        self._at = self._mode
        self._covariance = np.diag(widths**2)
        self._survival = self._estimate_survival(np.empty(0), np.empty(0))

    def fit(self, points: Array, lengths: Array, crashed: Array) -> None:
        """Learns from runs: points (n, d), shares trained (n,), whether each crashed there (n,)."""
        self._survival = self._estimate_survival(lengths, crashed)
        weight = np.where(crashed > 0, 1.0, self.exposure(lengths))
        features = _features(points)
        at = self._mode.copy()
        for _ in range(NEWTON_STEPS):
            p = _sigmoid(features @ at)
            hessian = (features * (weight * p * (1 - p))[:, None]).T @ features + np.diag(self._precision)
            step = np.linalg.solve(
                hessian, features.T @ (weight * (crashed - p)) - self._precision * (at - self._mode)
            )
            at = at + step * min(1.0, 4.0 / max(float(np.abs(step).max()), 1e-9))
        self._at, self._covariance = at, np.linalg.inv(hessian)

    def exposure(self, lengths: Array) -> Array:
        """The share of crashes that come before these lengths."""
        alive = np.interp(np.log(np.maximum(lengths, 1e-9)), np.log(self._edges), self._survival)
        return np.asarray((1 - alive) / (1 - self._survival[-1]))

    def _estimate_survival(self, lengths: Array, crashed: Array) -> Array:
        """Share of runs alive at each edge; intervals without evidence have the prior's hazard."""
        alive = [1.0]
        for low, high in pairwise(self._edges):
            entered = (lengths > low) & ((lengths >= high - 1e-9) | (crashed > 0))
            crashes = float(((crashed > 0) & (lengths > low) & (lengths <= high)).sum())
            hazard = (crashes + PRIOR_HAZARD * PRIOR_RUNS) / (float(entered.sum()) + PRIOR_RUNS)
            alive.append(alive[-1] * (1 - min(hazard, 0.999)))
        return np.array(alive)

    def probability(self, points: Array) -> Array:
        """Of a crash before full length, for fresh runs (n,)."""
        features = _features(points)
        variance = ((features @ self._covariance) * features).sum(1)
        return _sigmoid(features @ self._at / np.sqrt(1 + math.pi / 8 * variance))

    def remaining(self, points: Array, lengths: Array) -> Array:
        """Of a crash before full length, for runs that have come this far (n,)."""
        p, seen = self.probability(points), np.clip(self.exposure(lengths), 0, 1)
        seen = np.where(lengths >= 1 - 1e-9, 1.0, seen)
        return p * (1 - seen) / (1 - p * seen)


def _features(points: Array) -> Array:
    z = 2 * points - 1
    return np.hstack([np.ones((len(z), 1)), z, 1.5 * z * z - 0.5])


def _sigmoid(a: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(a, -30, 30))))
