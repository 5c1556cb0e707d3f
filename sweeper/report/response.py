"""What the trials say about the parameters: how much each one matters, and how the score answers to it.

Importances are Optuna's own (PED-ANOVA and fANOVA), computed on the warped axes, where the search space is even. The
answers (main effects, the surface of a pair) are partial dependences of a random forest fitted to the trials: the
mean prediction over all trials with one or two parameters set to a value.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import optuna
from numpy.typing import NDArray

from sweeper.report.axes import Axis, axis_of
from sweeper.report.study_view import score_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sklearn.ensemble import RandomForestRegressor

    from sweeper.parameter import Parameter
    from sweeper.records import Observation, Trial
    from sweeper.report.study_view import StudyView

FEWEST_TRIALS = 8
"""Fewer trials than this say too little about any parameter."""

_ENOUGH_TRIALS = 12
_MOST_TRIALS = 600
_NUM_TREES = 64
_GRID = 32
_SURFACE_GRID = 28

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Importances:
    """Shares of the parameters; each mapping sums to one, or is empty when it could not be computed."""

    ped_anova: Mapping[str, float]
    fanova: Mapping[str, float]

    def ordered(self) -> list[str]:
        """Parameter names by the mean of both, most important first."""
        names = {**self.ped_anova, **self.fanova}
        return sorted(names, key=lambda name: -self.mean(name))

    def mean(self, name: str) -> float:
        """The mean share of a parameter over the methods that know it."""
        shares = [method[name] for method in (self.ped_anova, self.fanova) if name in method]
        return sum(shares) / len(shares) if shares else 0.0


@dataclass(frozen=True, slots=True)
class Response:
    """A study's parameters as axes, its completed trials as a matrix of positions, and a forest over them.

    Attributes:
        parameters, axes: of the parameters that take at least two values among the trials.
        positions: (trials, parameters), where each value lies on its axis.
        scores: (trials,), of complete trials, or of all trials at the same number of agent steps.
        at_steps: that number of steps; None where the scores are final ones.
        importances: how much each parameter matters.
        forest: predicts scores from positions.
    """

    parameters: tuple[Parameter, ...]
    axes: tuple[Axis, ...]
    trials: tuple[Trial, ...]
    positions: Array
    scores: Array
    importances: Importances
    forest: RandomForestRegressor
    at_steps: int | None = None

    def ordered(self) -> list[int]:
        """Indices of the parameters, most important first."""
        rank = {name: index for index, name in enumerate(self.importances.ordered())}
        indices = range(len(self.parameters))
        return sorted(indices, key=lambda index: rank.get(self.parameters[index].name, len(rank)))

    def ranking(self, sign: int) -> list[int]:
        """Rows, best first."""
        return [int(row) for row in np.argsort(-sign * self.scores, kind="stable")]

    def best_rows(self, sign: int) -> list[int]:
        """Rows of the best tenth, at least of three trials."""
        return self.ranking(sign)[: max(3, len(self.trials) // 10)]

    def score_of(self, trial: Trial) -> float | None:
        """The score that a trial has here; None if it is not among these trials."""
        numbers = {known.number: row for row, known in enumerate(self.trials)}
        row = numbers.get(trial.number)
        return None if row is None else float(self.scores[row])

    def main_effect(self, index: int) -> tuple[Array, Array]:
        """Positions along one axis and the mean predicted score at each."""
        grid = _grid(self.axes[index], _GRID)
        return grid, self._dependence([index], [(position,) for position in grid], most=150)

    def surface(self, first: int, second: int) -> tuple[Array, Array, Array]:
        """Positions along two axes and the mean predicted score, (second, first)."""
        across, upwards = _grid(self.axes[first], _SURFACE_GRID), _grid(self.axes[second], _SURFACE_GRID)
        places: list[tuple[float, ...]] = [(x, y) for y in upwards for x in across]
        heights = self._dependence([first, second], places, most=60)
        return across, upwards, heights.reshape(len(upwards), len(across))

    def _dependence(self, indices: list[int], places: list[tuple[float, ...]], most: int) -> Array:
        """Mean prediction over (at most so many) trials with some parameters moved to each place: (places,)."""
        points = self.positions[:: max(1, math.ceil(len(self.positions) / most))]
        moved = np.repeat(points[np.newaxis], len(places), axis=0)
        moved[:, :, indices] = np.asarray(places)[:, np.newaxis, :]
        predictions = self.forest.predict(moved.reshape(-1, points.shape[1]))
        mean: Array = np.asarray(predictions, dtype=np.float64).reshape(len(places), len(points)).mean(axis=1)
        return mean


_RESPONSES: WeakKeyDictionary[StudyView, Response | None] = WeakKeyDictionary()
"""A view never changes, so what was computed from it stays true."""


def response_of(study: StudyView) -> Response | None:
    """The study's response, computed once a view; None when fewer than `FEWEST_TRIALS` trials can be compared."""
    if study not in _RESPONSES:
        _RESPONSES[study] = _fit(study)
    return _RESPONSES[study]


def comparable_scores(study: StudyView) -> tuple[list[tuple[Trial, float]], int | None]:
    """Trials with scores that can be compared, and the agent steps they are taken at (None: at the end).

    Where at least half of the trials with a score ran to the end, these are taken. A sweep that stops or pauses most
    of its trials early says more at the longest run length that half of them reached, unless fewer have a score there
    than ran to the end: an environment with long episodes gives its first score late.
    """
    complete = [(trial, score_of(trial)) for trial in study.complete]
    if len(complete) >= FEWEST_TRIALS and 2 * len(complete) >= len(study.scored):
        return complete, None
    reached = sorted(
        (study.curve(trial)[-1].agent_steps for trial in study.scored if study.curve(trial)), reverse=True
    )
    at_steps = (
        reached[min(len(reached), max(_ENOUGH_TRIALS, len(reached) // 2)) - 1]
        if len(reached) >= FEWEST_TRIALS
        else None
    )
    if at_steps is None or (len(complete) >= FEWEST_TRIALS and at_steps >= reached[0]):
        return complete, None
    early = [
        (trial, score)
        for trial in study.scored
        if (score := score_at(study.curve(trial), at_steps)) is not None
    ]
    return (early, at_steps) if len(early) > len(complete) else (complete, None)


def score_at(curve: Sequence[Observation], steps: int) -> float | None:
    """Mean of the curve over the last tenth of these steps; None where it does not reach them."""
    if not curve or curve[-1].agent_steps < steps:
        return None
    before = [point for point in curve if point.agent_steps <= steps]
    last = [point.score for point in before if point.agent_steps > 0.9 * steps]
    last = last or [point.score for point in before[-1:]]
    return sum(last) / len(last) if last else None


def _fit(study: StudyView) -> Response | None:
    from sklearn.ensemble import RandomForestRegressor

    names = [parameter.name for parameter in study.parameters]
    compared, at_steps = comparable_scores(study)
    pairs = [(trial, score) for trial, score in compared if all(name in trial.values for name in names)]
    if len(pairs) < FEWEST_TRIALS:
        return None
    trials = tuple(trial for trial, _ in pairs)
    axes = [axis_of(p, [trial.values[p.name] for trial in trials]) for p in study.parameters]
    columns = [
        [axis.position(trial.values[name]) for trial in trials]
        for axis, name in zip(axes, names, strict=True)
    ]
    varied = [index for index, column in enumerate(columns) if len(set(column)) > 1]
    if not varied:
        return None
    positions = np.array([columns[index] for index in varied], dtype=np.float64).T
    scores = np.array([score for _, score in pairs], dtype=np.float64)
    forest = RandomForestRegressor(_NUM_TREES, min_samples_leaf=2, max_features=0.7, random_state=0, n_jobs=1)
    forest.fit(positions, scores)
    kept = tuple(study.parameters[index] for index in varied)
    kept_axes = tuple(axes[index] for index in varied)
    importances = _importances(study, kept, kept_axes, positions, scores)
    return Response(kept, kept_axes, trials, positions, scores, importances, forest, at_steps)


def _importances(
    study: StudyView,
    parameters: tuple[Parameter, ...],
    axes: tuple[Axis, ...],
    positions: Array,
    scores: Array,
) -> Importances:
    if len(parameters) < 2 or np.ptp(scores) == 0:
        return Importances({}, {})
    from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator

    warped = _warped_study(study, parameters, axes, positions, scores)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return Importances(
            ped_anova=_shares(warped, PedAnovaImportanceEvaluator()),
            fanova=_shares(warped, FanovaImportanceEvaluator(n_trees=_NUM_TREES, seed=0)),
        )


def _shares(
    study: optuna.Study, evaluator: optuna.importance._base.BaseImportanceEvaluator
) -> dict[str, float]:
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator, normalize=False)
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()} if total > 0 else {}


def _warped_study(
    study: StudyView,
    parameters: tuple[Parameter, ...],
    axes: tuple[Axis, ...],
    positions: Array,
    scores: Array,
) -> optuna.Study:
    """The completed trials in memory with positions for values; of very many, an even choice."""
    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        parameter.name: (
            optuna.distributions.CategoricalDistribution(tuple(range(len(axis.choices))))
            if axis.kind == "categorical"
            else optuna.distributions.FloatDistribution(axis.low, axis.high)
        )
        for parameter, axis in zip(parameters, axes, strict=True)
    }
    # Optuna would announce the study on stderr, where a live screen may be drawn.
    told = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        warped = optuna.create_study(
            direction="minimize" if study.sign < 0 else "maximize",
            sampler=optuna.samplers.RandomSampler(seed=0),
        )
    finally:
        optuna.logging.set_verbosity(told)
    for row in range(0, len(scores), max(1, math.ceil(len(scores) / _MOST_TRIALS))):
        values = {
            parameter.name: int(position)
            if axis.kind == "categorical"
            else min(max(position, axis.low), axis.high)
            for parameter, axis, position in zip(parameters, axes, positions[row].tolist(), strict=True)
        }
        warped.add_trial(
            optuna.trial.create_trial(params=values, distributions=distributions, value=float(scores[row]))
        )
    return warped


def _grid(axis: Axis, size: int) -> Array:
    if axis.kind == "categorical":
        return np.arange(len(axis.choices), dtype=np.float64)
    return np.linspace(axis.low, axis.high, size)
