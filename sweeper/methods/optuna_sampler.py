"""The project's own method as an Optuna sampler, for studies that are not ours.

    study = optuna.create_study(sampler=ThawOptunaSampler(seed=0), pruner=optuna.pruners.MedianPruner())

Optuna cannot continue a trial that has ended, so the method proposes configurations here and a pruner of the study
decides how far they run; what pruned trials have reported is learnt from.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import optuna
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import TrialState as OptunaState

from sweeper.errors import SearchError
from sweeper.methods.freeze_thaw import ThawSampler
from sweeper.parameter import Parameter
from sweeper.records import Observation, Trial, TrialState, Value
from sweeper.samplers.base import Goal, History
from sweeper.space import SearchSpace
from trainer.errors import FailureKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

COST_ATTRIBUTE = "cost_seconds"
"""User attribute of a trial that says what it has cost; without it the time it took does."""

STATES = {
    OptunaState.COMPLETE: TrialState.COMPLETE,
    OptunaState.PRUNED: TrialState.PRUNED,
    OptunaState.RUNNING: TrialState.RUNNING,
    OptunaState.FAIL: TrialState.FAILED,
}


class ThawOptunaSampler(BaseSampler):
    """Proposes what Thaw would, one whole configuration a trial.

    The first trial, and parameters that not every trial has, are drawn at random, as Optuna's own samplers do.

    Args:
        seed: every proposal follows from it and from the study's trials.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._independent = RandomSampler(seed=seed)
        self._thaw = ThawSampler()

    def reseed_rng(self) -> None:
        """See `BaseSampler.reseed_rng`."""
        self._independent.reseed_rng()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters that all trials so far have had."""
        del trial
        shared = optuna.search_space.intersection_search_space(study.get_trials(deepcopy=False))
        return {name: distribution for name, distribution in shared.items() if not distribution.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A configuration; values lie in the distributions.

        Raises:
            SearchError: the study has several objectives.
        """
        if not search_space:
            return {}
        if len(study.directions) > 1:
            raise SearchError(
                f"ThawOptunaSampler looks at one objective; this study has {len(study.directions)}.",
                remedy="Take one of Optuna's samplers for several, or a sweep with objectives = score, cost.",
            )
        maximise = study.direction is StudyDirection.MAXIMIZE
        parameters = tuple(parameter_of(name, found) for name, found in search_space.items())
        space = SearchSpace(parameters, {p.name: p.centre for p in parameters})
        others = [
            t for t in study.get_trials(deepcopy=False) if t.number != trial.number and t.state in STATES
        ]
        trials = translate([t for t in others if all(name in t.params for name in search_space)])
        history = History.of(space, Goal(maximise=maximise), trials, self._seed)
        proposed = self._thaw.propose(history)
        return {name: _inside(search_space[name], value) for name, value in proposed.items()}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """See `BaseSampler.sample_independent`."""
        return self._independent.sample_independent(study, trial, param_name, param_distribution)


def parameter_of(name: str, distribution: BaseDistribution) -> Parameter:
    """Optuna's distribution as a parameter, its centre in the middle.

    Raises:
        TypeError: a distribution that Optuna did not have when this was written.
    """
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        # Choices can be anything, None included: their places stand for them.
        places: tuple[Value, ...] = tuple(range(len(distribution.choices)))
        return Parameter(name, "categorical", 0.0, len(places) - 1.0, False, places, 0)
    if not isinstance(
        distribution, (optuna.distributions.FloatDistribution, optuna.distributions.IntDistribution)
    ):
        raise TypeError(f"{name}: {type(distribution).__name__} is not known")
    integer = isinstance(distribution, optuna.distributions.IntDistribution)
    kind = "log_normal" if distribution.log else "int_uniform" if integer else "uniform"
    step = distribution.step if not distribution.log and distribution.step != int(integer) else None
    low, high = float(distribution.low), float(distribution.high)
    draft = Parameter(
        name,
        cast("Any", kind),
        low,
        high,
        integer,
        (),
        low,
        step=None if step is None else float(step),
    )
    return Parameter(
        name, draft.distribution_name, low, high, integer, (), draft.from_unit(0.5), step=draft.step
    )


def translate(trials: Sequence[FrozenTrial]) -> list[Trial]:
    """Trials of a study as the method sees them; reported steps are shares of the furthest step of all."""
    furthest = max((max(t.intermediate_values, default=0) for t in trials), default=0) + 1
    return [_translate(trial, furthest) for trial in trials]


def _translate(trial: FrozenTrial, furthest: int) -> Trial:
    state = STATES[trial.state]
    seconds = trial.duration.total_seconds() if trial.duration is not None else 0.0
    cost = float(trial.user_attrs.get(COST_ATTRIBUTE, seconds))
    steps = {step + 1: value for step, value in sorted(trial.intermediate_values.items())}
    last = furthest if state is TrialState.COMPLETE else max(steps, default=0)
    curve = tuple(
        Observation(step, cost * step / max(last, 1), value)
        for step, value in steps.items()
        if math.isfinite(value)
    )
    score = trial.value if state is TrialState.COMPLETE else curve[-1].score if curve else None
    if state is TrialState.COMPLETE and not curve and score is not None:
        curve = (Observation(furthest, cost, score),)
    return Trial(
        trial.number,
        str(trial.number),
        state,
        _values(trial.params, trial.distributions),
        curve,
        score,
        cost,
        last,
        furthest,
        failure_kind=FailureKind.CRASH if state is TrialState.FAILED else None,
    )


def _values(params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]) -> dict[str, Value]:
    return {
        name: int(found.to_internal_repr(value))
        if isinstance(found := distributions[name], optuna.distributions.CategoricalDistribution)
        else value
        for name, value in params.items()
    }


def _inside(distribution: BaseDistribution, value: Value) -> Any:
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return distribution.choices[int(value)]
    return value
