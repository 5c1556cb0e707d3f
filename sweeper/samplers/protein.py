"""PufferLib's `Protein`: Gaussian processes of score and of log cost around the Pareto front of both.

Each proposal aims at a cost of its own, drawn evenly between the front's cheapest and dearest point, so
that the whole front moves and not only its end. Among steps from the front's points, the one of the best
predicted score at about that cost is taken; none that is predicted to cost more than `max_suggestion_cost`.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from sweeper.samplers.base import refuse_above
from sweeper.samplers.pareto import observe, perturb
from sweeper.samplers.random_search import RandomSampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sweeper.records import Value
    from sweeper.samplers.base import History
    from sweeper.samplers.pareto import Points

RANDOM_FIRST = 8
CANDIDATES = 64
"""Steps from each point of the front."""

MAX_POINTS = 250
"""Observations in the models: the front, and the newest of the rest."""

LIMIT = 5_000
COST_WIDTH = 0.2
"""How far, as a share of the front's range of log cost, a proposal may stray from its target."""


class ProteinSampler:
    """See the module.

    Args:
        downsample: observations that a run gives.
        max_cost: of a suggestion, in the study's cost.
        prune_pareto: keep to the front's points that buy score: those before the last hundredth of it.
    """

    name = "protein"

    def __init__(self, downsample: int, max_cost: float, *, prune_pareto: bool) -> None:
        self._downsample = downsample
        self._max_cost = max_cost
        self._prune_pareto = prune_pareto

    def propose(self, history: History) -> dict[str, Value]:
        """See `Sampler.propose`."""
        points = observe(history, self._downsample)
        refuse_above(self.name, LIMIT, len(history.trials))
        if len(points) < RANDOM_FIRST:
            return RandomSampler(around_centre=True).propose(history)
        generator = history.generator(self.name)
        front = points.front()
        if self._prune_pareto:
            front = _prune(points, front)
        kept = np.unique(np.concatenate([front, np.arange(len(points))[-MAX_POINTS + len(front) :]]))
        score, log_cost = points.score[kept], np.log(np.maximum(points.cost[kept], 1e-9))
        score_model = _fit(points.x[kept], score, history.optuna_seed("protein score"))
        cost_model = _fit(points.x[kept], log_cost, history.optuna_seed("protein cost"))
        candidates = perturb(history.space, np.repeat(points.x[front], CANDIDATES, axis=0), generator)
        expected, cost = score_model(candidates), cost_model(candidates)
        reach = np.log(np.maximum(points.cost[front], 1e-9))
        low, high = float(reach.min()), float(min(reach.max(), np.log(self._max_cost)))
        target = low + generator.random() * max(high - low, 0.0)
        span = max(high - low, 1e-6)
        spread = max(float(score.max() - score.min()), 1e-12)
        worth = (expected - score.min()) / spread - np.abs(cost - target) / span / COST_WIDTH
        worth = np.where(cost > np.log(self._max_cost), worth - 1e6, worth)
        return history.space.decode(candidates[int(np.argmax(worth))])


def _prune(points: Points, front: NDArray[np.intp]) -> NDArray[np.intp]:
    """Drops the dear end of the front where it buys next to nothing."""
    score = points.score[front]
    enough = score >= score[-1] - 0.01 * max(float(score[-1] - score[0]), 1e-12)
    return front[: int(np.argmax(enough)) + 1]


def _fit(x: NDArray[np.float64], y: NDArray[np.float64], seed: int) -> Any:
    """A Matern-3/2 process with one length scale a coordinate; returns its mean as a function of points."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    mean, deviation = float(y.mean()), max(float(y.std()), 1e-9)
    kernel = ConstantKernel(1.0, (0.05, 20.0)) * Matern(np.full(x.shape[1], 0.7), (0.05, 20.0), nu=1.5)
    model = GaussianProcessRegressor(kernel + WhiteKernel(0.1, (1e-4, 1.0)), random_state=seed)
    with warnings.catch_warnings():
        # A length scale at its bound says that a parameter does not matter: no news.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, (y - mean) / deviation)

    def predict(at: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(model.predict(at) * deviation + mean)

    return predict
