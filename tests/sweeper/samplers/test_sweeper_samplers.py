"""What is particular to single samplers: fronts, grids, Sobol points, the Optuna bridge."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.errors import SearchError
from sweeper.parameter import Parameter
from sweeper.records import Observation, Trial, TrialState
from sweeper.samplers.base import Goal, History
from sweeper.samplers.exhaustive import ExhaustiveSampler
from sweeper.samplers.nsga import fronts, rank_by_front
from sweeper.samplers.optuna_bridge import OptunaSampler, freeze, make_tpe
from sweeper.samplers.pareto import ParetoGeneticSampler, observe
from sweeper.samplers.protein import ProteinSampler
from sweeper.samplers.qmc import QmcSampler
from sweeper.samplers.random_search import RandomSampler
from sweeper.space import SearchSpace

RATE = Parameter("train.learning_rate", "log_normal", 1e-4, 1e-1, False, (), 1e-2, 0.2)
STEPS = Parameter("train.total_timesteps", "log_normal", 1e4, 1e6, True, (), 100_000, 0.2)
EPOCHS = Parameter("train.update_epochs", "int_uniform", 1.0, 4.0, True, (), 1)
BATCH = Parameter("train.minibatch_size", "uniform_pow2", 32.0, 256.0, True, (), 64)
KIND = Parameter("train.optimizer", "categorical", 0.0, 1.0, False, ("adam", "muon"), "adam")


def space_of(*parameters):
    return SearchSpace(parameters, {p.name: p.centre for p in parameters})


def finished(number, values, score, cost=10.0, *, steps=1000, state=TrialState.COMPLETE):
    curve = tuple(Observation(steps * i // 5, cost * i / 5, score * i / 5) for i in range(1, 6))
    return Trial(number, f"u{number}", state, values, curve, score, cost, steps, steps)


def history(space, trials, *, seed=0, goal=None):
    return History.of(space, goal or Goal(), trials, seed)


def test_random_around_the_centre_stays_within_the_scale():
    space = space_of(RATE)
    drawn = [
        RATE.normalised(RandomSampler(around_centre=True).propose(history(space, [], seed=i))[RATE.name])
        for i in range(200)
    ]
    centre = RATE.normalised(1e-2)
    assert min(drawn) == pytest.approx(centre - 0.2, abs=0.02)
    assert max(drawn) == pytest.approx(centre + 0.2, abs=0.02)


def test_random_covers_the_space_evenly():
    space = space_of(RATE)
    drawn = [RATE.to_unit(RandomSampler().propose(history(space, [], seed=i))[RATE.name]) for i in range(500)]
    assert np.histogram(drawn, 5, (0, 1))[0].min() > 60


def test_the_grid_visits_every_combination_once():
    space = space_of(EPOCHS, BATCH, KIND, RATE)
    sampler, trials = ExhaustiveSampler("grid"), []
    while (values := sampler.propose(history(space, trials))) is not None:
        trials.append(finished(len(trials), values, 0.0))
    assert len(trials) == 4 * 4 * 2 * 5
    assert len({tuple(t.values.items()) for t in trials}) == len(trials)


def test_brute_force_takes_every_value_and_refuses_continuous_ones():
    space = space_of(EPOCHS, KIND)
    sampler, trials = ExhaustiveSampler("bruteforce"), []
    while (values := sampler.propose(history(space, trials))) is not None:
        trials.append(finished(len(trials), values, 0.0))
    assert {tuple(t.values.values()) for t in trials} == set(
        itertools.product([1, 2, 3, 4], ["adam", "muon"])
    )
    with pytest.raises(SearchError, match="continuous"):
        sampler.propose(history(space_of(RATE), []))


@pytest.mark.parametrize("name", ["grid", "bruteforce"])
def test_a_step_says_which_values_are_visited(name):
    lambda_ = Parameter("train.gae_lambda", "uniform", 0.6, 0.9, False, (), 0.6, step=0.05)
    space = space_of(
        lambda_, Parameter("train.bptt_horizon", "int_uniform", 8.0, 64.0, True, (), 8, step=8.0)
    )
    trials, seen = [], []
    while (values := ExhaustiveSampler(name).propose(history(space, trials))) is not None:
        seen.append(tuple(values.values()))
        trials.append(finished(len(trials), values, 0.0))
    assert sorted(seen) == sorted(
        itertools.product([0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9], [8, 16, 24, 32, 40, 48, 56, 64])
    )


def test_a_grid_beyond_reason_is_refused():
    with pytest.raises(SearchError, match="combinations"):
        ExhaustiveSampler("grid").propose(
            history(space_of(*(replace(RATE, name=f"env.x{i}") for i in range(9))), [])
        )


def test_sobol_points_are_those_of_one_sequence():
    space, trials = space_of(RATE, replace(RATE, name="env.other")), []
    for number in range(16):
        trials.append(finished(number, QmcSampler().propose(history(space, trials)), 0.0))
    points = np.array([space.encode(t.values) for t in trials])
    # A scrambled Sobol sequence has one of 16 points in each sixteenth of either axis.
    assert np.array_equal(np.sort((points * 16).astype(int), axis=0), np.tile(np.arange(16)[:, None], (1, 2)))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=20))
def test_fronts_are_those_of_the_definition(worths):
    worths = np.array(worths, dtype=float)
    front = fronts(worths)

    def beaten(i, among):
        return any((worths[j] >= worths[i]).all() and (worths[j] > worths[i]).any() for j in among)

    for level in range(int(front.max()) + 1):
        left = np.flatnonzero(front >= level)
        assert {int(i) for i in left if not beaten(i, left)} == set(np.flatnonzero(front == level).tolist())
    order = rank_by_front(worths)
    assert sorted(order.tolist()) == list(range(len(worths)))
    assert (np.diff(front[order]) >= 0).all()


def test_optuna_sees_search_coordinates_and_states():
    space = space_of(RATE, BATCH, KIND)
    distributions = {p.name: p.search_distribution() for p in space.parameters}
    values = {RATE.name: 1e-3, BATCH.name: 128, KIND.name: "muon"}
    frozen = freeze(space, Goal(maximise=False), finished(0, values, 2.0), distributions)
    assert frozen.params == {RATE.name: pytest.approx(1 / 3), BATCH.name: 7, KIND.name: 1}
    assert frozen.value == -2.0
    halted = replace(finished(0, values, 2.0, state=TrialState.PAUSED), total_agent_steps=4000)
    paused = freeze(space, Goal(), halted, distributions)
    assert paused.state is optuna.trial.TrialState.PRUNED
    assert paused.intermediate_values == {250: 1.8}
    running = freeze(space, Goal(), Trial(0, "u", TrialState.RUNNING, values), distributions)
    assert running.state is optuna.trial.TrialState.RUNNING


def test_failures_are_told_to_nobody():
    space = space_of(RATE)
    good = [finished(i, {RATE.name: RATE.from_unit(i / 30)}, 1.0) for i in range(30)]
    failed = [replace(t, number=30 + t.number, uuid=f"f{t.number}", state=TrialState.FAILED) for t in good]
    sampler = OptunaSampler("tpe", make_tpe)
    # The number of trials seeds the draw, so both histories must be of the same length.
    alone = good + [replace(t, state=TrialState.INFEASIBLE) for t in failed]
    assert sampler.propose(history(space, good + failed)) == sampler.propose(history(space, alone))


def test_the_bridge_leaves_optunas_logging_as_it_was():
    before = optuna.logging.get_verbosity()
    OptunaSampler("tpe", make_tpe).propose(history(space_of(RATE), []))
    assert optuna.logging.get_verbosity() == before


def test_a_run_gives_several_observations_where_its_length_is_searched():
    space = space_of(RATE, STEPS)
    trial = finished(0, {RATE.name: 1e-3, STEPS.name: 100_000}, 5.0, steps=100_000)
    points = observe(history(space, [trial]), 5)
    assert len(points) == 5
    assert points.cost.tolist() == [2.0, 4.0, 6.0, 8.0, 10.0]
    assert len(observe(history(space_of(RATE), [trial]), 5)) == 1


@pytest.mark.parametrize("maximise", [True, False])
def test_the_front_follows_the_goal(maximise):
    space = space_of(RATE)
    scores = [(1.0, 5.0), (3.0, 10.0), (2.0, 20.0), (9.0, 30.0)]
    trials = [finished(i, {RATE.name: 1e-3}, s if maximise else -s, c) for i, (s, c) in enumerate(scores)]
    points = observe(history(space, trials, goal=Goal(maximise=maximise)), 5)
    assert points.front().tolist() == [0, 1, 3]


def test_pareto_genetic_steps_from_the_front():
    space = space_of(RATE, EPOCHS)
    best = {RATE.name: 1e-2, EPOCHS.name: 2}
    trials = [finished(0, best, 9.0, 1.0), finished(1, {RATE.name: 1e-4, EPOCHS.name: 4}, 1.0, 50.0)]
    drawn = [
        RATE.to_unit(ParetoGeneticSampler(5).propose(history(space, trials, seed=i))[RATE.name])
        for i in range(100)
    ]
    assert np.mean(drawn) == pytest.approx(RATE.to_unit(1e-2), abs=0.05)
    assert np.std(drawn) > 0.03


def test_protein_learns_and_keeps_to_its_cost():
    space = space_of(RATE, STEPS)
    rng = np.random.default_rng(0)
    trials = []
    for number in range(30):
        z, length = rng.random(2)
        steps = STEPS.from_unit(float(length))
        values = {RATE.name: RATE.from_unit(float(z)), STEPS.name: steps}
        score = (1 - 3 * (z - 0.6) ** 2) * np.log(steps)
        trials.append(finished(number, values, float(score), steps / 1000, steps=steps))
    limit = 200.0
    proposals = [
        ProteinSampler(5, limit, prune_pareto=True).propose(history(space, trials, seed=i)) for i in range(4)
    ]
    assert all(p[STEPS.name] / 1000 < 1.3 * limit for p in proposals)
    # Uniform draws would lie 0.26 away on the mean.
    assert np.median([abs(RATE.to_unit(p[RATE.name]) - 0.6) for p in proposals]) < 0.2


def test_under_the_rule_of_areas_a_level_is_the_area_so_far():
    curve = tuple(Observation(steps, 1.0, score) for steps, score in ((100, 1.0), (200, 3.0), (1000, 9.0)))
    trial = Trial(0, "u", TrialState.PAUSED, {}, curve, 9.0, 1.0, 1000, 1000)
    goal = Goal(rule="auc")
    assert goal.level(trial, 50) is None
    assert goal.level(trial, 100) == pytest.approx(1.0)
    assert goal.level(trial, 200) == pytest.approx((100 * 1.0 + 100 * 2.0) / 200)
    assert goal.level(trial) == pytest.approx((100 * 1.0 + 100 * 2.0 + 800 * 6.0) / 1000)
    assert Goal(maximise=False, rule="auc").level(trial, 100) == pytest.approx(-1.0)
    assert Goal().level(trial, 200) == pytest.approx(3.0)
