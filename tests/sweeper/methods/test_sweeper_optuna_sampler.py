"""The project's own method in a plain Optuna study."""

from __future__ import annotations

import optuna
import pytest

from sweeper.errors import SearchError
from sweeper.methods.optuna_sampler import ThawOptunaSampler, parameter_of


@pytest.fixture(autouse=True)
def quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


def objective(trial):
    rate = trial.suggest_float("rate", 1e-5, 1e-1, log=True)
    share = trial.suggest_float("share", 0.0, 1.0, step=0.25)
    count = trial.suggest_int("count", 1, 8)
    kind = trial.suggest_categorical("kind", ["plain", None, "other"])
    # Seconds would differ from run to run, and with them what a look is worth.
    trial.set_user_attr("cost_seconds", 1.0)
    score = -abs(share - 0.5) - abs(count - 3) / 8 - (kind is None) - abs(rate - 1e-3)
    for step in range(4):
        trial.report(score * (step + 1) / 4, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    if count == 8:
        raise RuntimeError("crashed")
    return score


def run(num_trials, seed=0, direction="maximize"):
    study = optuna.create_study(
        direction=direction,
        sampler=ThawOptunaSampler(seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
    )
    sign = 1.0 if direction == "maximize" else -1.0
    study.optimize(lambda trial: sign * objective(trial), num_trials, catch=(RuntimeError,))
    return study


def test_it_learns_and_stays_inside_the_distributions():
    study = run(25)
    assert study.best_value > -0.35
    assert all(trial.params["share"] in (0.0, 0.25, 0.5, 0.75, 1.0) for trial in study.trials)


def test_the_seed_decides():
    assert [t.params for t in run(8).trials] == [t.params for t in run(8).trials]
    assert [t.params for t in run(8).trials] != [t.params for t in run(8, seed=1).trials]


def test_parameters_that_appear_later_are_drawn_at_random():
    study = optuna.create_study(sampler=ThawOptunaSampler())
    for number in range(6):
        trial = study.ask()
        value = trial.suggest_float("x", 0, 1) + (trial.suggest_float("late", 0, 1) if number > 3 else 0)
        study.tell(trial, value)
    assert "late" in study.trials[-1].params


def test_several_objectives_are_refused():
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=ThawOptunaSampler())
    first = study.ask()
    first.suggest_float("x", 0, 1)
    study.tell(first, [1.0, 1.0])
    with pytest.raises(SearchError, match="one objective"):
        study.ask().suggest_float("x", 0, 1)


def test_distributions_become_parameters():
    whole = parameter_of("n", optuna.distributions.IntDistribution(2, 10, step=2))
    assert whole.all_values() == (2, 4, 6, 8, 10)
    log = parameter_of("n", optuna.distributions.IntDistribution(1, 64, log=True))
    assert (log.distribution_name, log.centre, log.step) == ("log_normal", 8, None)
    assert parameter_of("n", optuna.distributions.IntDistribution(1, 4)).step is None
