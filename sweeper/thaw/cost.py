"""What a full run costs: ridge regression of its logarithm on the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sweeper.thaw.records import Array

RIDGE = 0.3
RIDGE_CONSTANT = 1e-3


class CostModel:
    """Predicts the logarithm of a full run's cost; known costs are extrapolated linearly in length."""

    def __init__(self) -> None:
        self._weights = np.empty(0)

    def fit(self, points: Array, log_costs: Array) -> None:
        """Learns from runs: points (n, d), logarithms of the full-length cost (n,)."""
        features = self._features(points)
        penalty = np.append(np.full(points.shape[1], RIDGE), RIDGE_CONSTANT)
        self._weights = np.asarray(
            np.linalg.solve(features.T @ features + np.diag(penalty), features.T @ log_costs),
            dtype=np.float64,
        )

    def log_cost(self, points: Array) -> Array:
        """Of full runs with these configurations (n,)."""
        return np.asarray(self._features(points) @ self._weights)

    @staticmethod
    def _features(points: Array) -> Array:
        return np.hstack([points - 0.5, np.ones((len(points), 1))])
