"""The probability that a configuration crashes: a crash told as a score would bend every model of scores.

Bayesian logistic regression (Laplace approximation, probit-adjusted prediction: MacKay 1992) on linear and
quadratic features. A run that is alive after a part of its length is only a part of a survivor: it weighs
as much as the share of crashes that come before that length. The mode is found by damped Newton steps.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sweeper.thaw.records import Array

PRIOR_LOGIT = -2.5
MAX_NEWTON_STEPS = 30
CONVERGED = 1e-6
"""Newton decrement, twice what the loss could still fall by."""

SMALLEST_STEP = 1e-6
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
        loss, p = self._loss(at, features, weight, crashed)
        for _ in range(MAX_NEWTON_STEPS):
            hessian = (features * (weight * p * (1 - p))[:, None]).T @ features + np.diag(self._precision)
            gradient = features.T @ (weight * (p - crashed)) + self._precision * (at - self._mode)
            step = np.linalg.solve(hessian, gradient)
            decrement = float(gradient @ step)
            if decrement < CONVERGED:
                break
            # Where crashes crowd together, whole steps overshoot, from one side of certainty to the other.
            size = 1.0
            while size > SMALLEST_STEP:
                tried, p_tried = self._loss(at - size * step, features, weight, crashed)
                if tried <= loss - 0.25 * size * decrement:
                    break
                size /= 2
            else:
                break
            at, loss, p = at - size * step, tried, p_tried
        self._at, self._covariance = at, np.linalg.inv(hessian)

    def _loss(self, at: Array, features: Array, weight: Array, crashed: Array) -> tuple[float, Array]:
        """Negative logarithm of the posterior density, and the probabilities that go with it."""
        logits = features @ at
        off = at - self._mode
        likelihood = (weight * (np.logaddexp(0.0, logits) - crashed * logits)).sum()
        return float(likelihood + 0.5 * (self._precision * off * off).sum()), _sigmoid(logits)

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
