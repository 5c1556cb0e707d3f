"""The names of methods and pruners, and what stands behind each. Case does not matter."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from sweeper.errors import SearchError
from sweeper.methods.base import ComposedMethod, Method
from sweeper.methods.freeze_thaw import ThawMethod, ThawSampler
from sweeper.pruners.base import JudgingPruner, Pruner
from sweeper.pruners.halving import HalvingPruner, hyperband
from sweeper.pruners.promotion import PromotionPruner
from sweeper.pruners.rungs import Ladder
from sweeper.pruners.stopping import CostQuantilePruner, PatientPruner, PercentilePruner, ThresholdPruner
from sweeper.samplers.base import Goal, Sampler, single_objective
from sweeper.samplers.cmaes_search import CmaEsSampler
from sweeper.samplers.exhaustive import ExhaustiveSampler
from sweeper.samplers.nsga import NsgaSampler
from sweeper.samplers.optuna_bridge import OptunaSampler, make_gp, make_tpe
from sweeper.samplers.pareto import ParetoGeneticSampler
from sweeper.samplers.protein import ProteinSampler
from sweeper.samplers.qmc import QmcSampler
from sweeper.samplers.random_search import RandomSampler
from trainer.errors import Place, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sweeper.records import Suggestion, Trial
    from sweeper.space import SearchSpace
    from trainer.config import Config

OWN = ("thaw", "carbs")
"""Names of the project's own method; Carbs is read as it, and says so."""

SINGLE_OBJECTIVE = ("cmaes",)

SAMPLERS: Mapping[str, Callable[[Config], Sampler]] = {
    "random": lambda config: RandomSampler(around_centre=config.sweep.random_scale),
    "tpe": lambda _: OptunaSampler("tpe", make_tpe, keep=5_000),
    "gp": lambda _: OptunaSampler("gp", make_gp, limit=1000),
    "cmaes": lambda _: CmaEsSampler(),
    "qmc": lambda _: QmcSampler(),
    "grid": lambda _: ExhaustiveSampler("grid"),
    "bruteforce": lambda _: ExhaustiveSampler("bruteforce"),
    "nsgaii": lambda _: NsgaSampler(),
    "pareto_genetic": lambda config: ParetoGeneticSampler(config.sweep.downsample),
    "protein": lambda config: ProteinSampler(
        config.sweep.downsample, config.sweep.max_suggestion_cost, prune_pareto=config.sweep.prune_pareto
    ),
}

PRUNERS: Mapping[str, Callable[[Config, Goal], Pruner]] = {
    "none": lambda _config, _goal: JudgingPruner(),
    "median": lambda _, goal: PercentilePruner("median", goal, 50.0),
    "percentile": lambda config, goal: PercentilePruner(
        "percentile", goal, 100 * _or(config.sweep.early_stop_quantile, 0.25)
    ),
    "successive_halving": lambda _, goal: HalvingPruner(goal, [Ladder.geometric()]),
    "hyperband": lambda _, goal: hyperband(goal),
    "patient": lambda _, goal: PatientPruner(goal),
    "threshold": lambda config, goal: ThresholdPruner(goal, config.sweep.early_stop_quantile),
    "cost_quantile": lambda config, goal: CostQuantilePruner(goal, config.sweep.early_stop_quantile),
    "promotion": lambda config, goal: PromotionPruner(goal, seed=config.sweep.seed),
}


def make_goal(config: Config) -> Goal:
    """What the config's study is after."""
    sweep = config.sweep
    return Goal(
        tuple(sweep.objectives),
        sweep.goal == "maximize",
        sweep.cost,
        sweep.metric_distribution == "percentile",
        sweep.score_rule,
    )


def make_pruner(config: Config) -> Pruner:
    """The pruner that `[sweep] pruner` names.

    Raises:
        UnknownNameError: no such pruner.
    """
    return PRUNERS[_look_up(config.sweep.pruner, PRUNERS, "pruner")](config, make_goal(config))


def make_method(
    config: Config,
    space: SearchSpace,
    seed: int,
    *,
    enqueued: Sequence[Suggestion] = (),
    earlier: Sequence[Trial] = (),
) -> Method:
    """The method that `[sweep] method` and `pruner` name.

    Args:
        config: the study's.
        space: what it searches.
        seed: the sweep's; every decision follows from it and from the trials.
        enqueued: configs to try after the config as written and the means.
        earlier: trials of other studies to learn from, values inside this space.

    Raises:
        UnknownNameError: no such method or pruner.
        SearchError: they do not fit the objectives.
    """
    name = _look_up(config.sweep.method, (*OWN, *SAMPLERS), "method")
    goal = make_goal(config)
    first = [*space.first_points(), *enqueued]
    total_steps = config.train.total_timesteps
    notes = []
    if name == "carbs":
        notes.append(
            "Carbs is read as Thaw, the cost-aware method of this project, which searches in its manner."
        )
    if name in SINGLE_OBJECTIVE:
        single_objective(name, goal)
    pruner = make_pruner(config)
    _fit_objectives(name, pruner.name, goal)
    if name in OWN and pruner.name == PromotionPruner.name:
        explicit = config.origin("sweep.max_suggestion_cost").kind != "default"
        return ThawMethod(
            space,
            goal,
            seed,
            total_steps=total_steps,
            first=first,
            earlier=earlier,
            max_cost=config.sweep.max_suggestion_cost if explicit else None,
            notes=notes,
        )
    sampler: Sampler = ThawSampler() if name in OWN else SAMPLERS[name](config)
    return ComposedMethod(
        sampler, pruner, space, goal, seed, total_steps=total_steps, first=first, earlier=earlier, notes=notes
    )


def _fit_objectives(method: str, pruner: str, goal: Goal) -> None:
    """Refuses objectives without a score, and pruners that would have to follow the cost.

    Thaw with promotion weighs all objectives whatever their order.

    Raises:
        SearchError: they do not fit.
    """
    place = Place(section="sweep", key="objectives")
    if "score" not in goal.objectives:
        raise SearchError(
            "There is no score among the objectives.",
            place=place,
            value=", ".join(goal.objectives),
            rule="A search for the lowest cost alone would find what trains nothing.",
            remedy="objectives = score, or objectives = score, cost.",
        )
    follows = pruner != "none" and not (method in OWN and pruner == PromotionPruner.name)
    if goal.objectives[0] != "score" and follows:
        raise SearchError(
            f"The pruner {pruner} follows the first objective, and trials cannot be pruned by their cost.",
            place=place,
            value=", ".join(goal.objectives),
            rule="Pruners compare scores at equal agent steps.",
            remedy="objectives = score, cost; or pruner = none.",
        )


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _look_up(name: str, known: Iterable[str], key: str) -> str:
    names = list(known)
    wanted = name.lower().replace("-", "_")
    for candidate in names:
        if wanted in (candidate, candidate.replace("_", "")) or wanted.replace("_", "") == candidate.replace(
            "_", ""
        ):
            return candidate
    near = difflib.get_close_matches(wanted, names, n=1)
    raise UnknownNameError(
        f"There is no {key} of this name.",
        place=Place(section="sweep", key=key),
        value=name,
        rule=f"There are: {', '.join(names)}.",
        remedy=f"Did you mean {near[0]}?" if near else None,
    )
