"""Gives an Optuna sampler the warped space and the history, through Optuna's public interface only.

The study of the sweep holds natural values for people to read. For a proposal the history is told to a
fresh study in memory over the search coordinates (`Parameter.to_search`): log, logit and powers of two
become linear there, whole numbers stay whole. Trials are told in order of their numbers:

complete            COMPLETE with its objectives
paused, pruned      PRUNED with its last level, at the share of its full length in thousandths as the step
running, queued     RUNNING, so that samplers that mind parallel workers keep away from it
failed, infeasible  not at all: a failure told as a bad value draws TPE to crashes as soon as a pruner is
                    on, since any complete trial outranks every pruned one
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import optuna
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from sweeper.records import Trial, TrialState, Value
from sweeper.samplers.base import Goal, History, refuse_above

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

    from sweeper.space import SearchSpace

RESOLUTION = 1000
"""Steps of a full-length run as an Optuna pruner or sampler counts them."""


class OptunaSampler:
    """Any Optuna sampler behind our `Sampler` protocol.

    Args:
        name: the method's name, for messages.
        make: makes the sampler from a seed.
        limit: refuse more finished trials than this.
        keep: show the sampler at most this many trials: the best half and the newest half; None for all.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[int], BaseSampler],
        *,
        limit: int | None = None,
        keep: int | None = None,
    ) -> None:
        self.name = name
        self._make = make
        self._limit = limit
        self._keep = keep

    def propose(self, history: History) -> dict[str, Value]:
        """See `Sampler.propose`."""
        told = [trial for trial in history.learnt() if _is_told(history.goal, trial)]
        if self._limit is not None:
            refuse_above(self.name, self._limit, sum(t.state is TrialState.COMPLETE for t in told))
        if self._keep is not None and len(told) > self._keep:
            told = _thin(history.goal, told, self._keep)
        with quiet_optuna():
            study = optuna.create_study(
                directions=["maximize"] * len(history.goal.objectives),
                sampler=self._make(history.optuna_seed(self.name)),
            )
            distributions = {p.name: p.search_distribution() for p in history.space.parameters}
            study.add_trials([freeze(history.space, history.goal, trial, distributions) for trial in told])
            asked = study.ask(fixed_distributions=distributions)
        return {p.name: p.from_search(asked.params[p.name]) for p in history.space.parameters}


def freeze(
    space: SearchSpace, goal: Goal, trial: Trial, distributions: Mapping[str, BaseDistribution]
) -> FrozenTrial:
    """A trial in search coordinates, as Optuna keeps it; values outside the space go to its edge."""
    params = {p.name: p.to_search(trial.values[p.name]) for p in space.parameters}
    worth = goal.worth(trial)
    if worth is not None:
        return optuna.trial.create_trial(
            state=OptunaState.COMPLETE, values=list(worth), params=params, distributions=dict(distributions)
        )
    if trial.state in (TrialState.RUNNING, TrialState.QUEUED):
        return optuna.trial.create_trial(
            state=OptunaState.RUNNING, params=params, distributions=dict(distributions)
        )
    level = goal.level(trial)
    share = trial.agent_steps / trial.total_agent_steps if trial.total_agent_steps else 0.0
    return optuna.trial.create_trial(
        state=OptunaState.PRUNED,
        params=params,
        distributions=dict(distributions),
        intermediate_values={} if level is None else {max(1, round(share * RESOLUTION)): level},
    )


def _is_told(goal: Goal, trial: Trial) -> bool:
    if trial.state in (TrialState.FAILED, TrialState.INFEASIBLE):
        return False
    if trial.state in (TrialState.RUNNING, TrialState.QUEUED):
        return True
    # Optuna can neither report nor prune with several objectives.
    single = len(goal.objectives) == 1
    return goal.worth(trial) is not None or (single and goal.level(trial) is not None)


def _thin(goal: Goal, trials: list[Trial], keep: int) -> list[Trial]:
    newest = trials[-(keep // 2) :]
    rest = trials[: -(keep // 2)]

    def rank(trial: Trial) -> tuple[float, float]:
        worth = goal.worth(trial)
        return (1.0, worth[0]) if worth is not None else (0.0, goal.level(trial) or 0.0)

    best = sorted(rest, key=rank, reverse=True)[: keep - len(newest)]
    return sorted(best, key=lambda t: t.number) + newest


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keeps Optuna from announcing every study in memory and its experimental corners."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def make_tpe(seed: int) -> BaseSampler:
    """Tree-structured Parzen estimator (Bergstra 2011), multivariate (Falkner 2018)."""
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)


def make_gp(seed: int) -> BaseSampler:
    """Optuna's Gaussian-process sampler, told that scores are noisy."""
    return optuna.samplers.GPSampler(seed=seed, deterministic_objective=False)
