"""The core of the project's own method: its models against references, its decisions on runs made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.thaw.belief import Belief, expected_excess
from sweeper.thaw.core import Thaw
from sweeper.thaw.cost import CostModel
from sweeper.thaw.crash import CrashModel
from sweeper.thaw.records import Begin, Continue, Run
from sweeper.thaw.settings import Settings
from sweeper.thaw.surrogate import Prior, Rows, Surrogate

RUNGS = Settings().rungs


def random_rows(rng, n, d):
    return Rows(
        rng.random((n, d)),
        rng.random(n).round(1),
        rng.integers(0, n // 2, n).astype(float),
        rng.integers(0, n // 2, n).astype(float),
        np.ones(n),
    )


@pytest.mark.parametrize("d", [1, 4])
def test_the_gradient_is_that_of_the_posterior(d):
    rng = np.random.default_rng(0)
    rows, y = random_rows(rng, 25, d), rng.standard_normal(25)
    surrogate = Surrogate(d, Prior())
    at = surrogate.theta + 0.3 * rng.standard_normal(surrogate.theta.shape)

    def value(theta):
        surrogate.theta = theta
        return surrogate._negative_log_posterior(rows, y)

    gradient = value(at)[1]
    for i in range(len(at)):
        step = np.eye(len(at))[i] * 1e-5
        assert gradient[i] == pytest.approx(
            (value(at + step)[0] - value(at - step)[0]) / 2e-5, rel=1e-4, abs=1e-4
        )


@given(st.integers(0, 2**31), st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_the_covariance_is_one(seed, d):
    rng = np.random.default_rng(seed)
    rows = random_rows(rng, 20, d)
    surrogate = Surrogate(d, Prior())
    k = surrogate.covariance(rows, rows)
    assert np.allclose(k, k.T)
    assert np.linalg.eigvalsh(k).min() > -1e-8
    assert np.allclose(np.diag(k), surrogate.variance(rows, own=True))
    full = replace(rows, v=np.zeros(20), run=np.full(20, -1.0))
    assert np.allclose(np.diag(surrogate.covariance(full, rows)), surrogate.full_length_covariance(rows.v))


def test_the_posterior_is_that_of_the_textbook():
    rng = np.random.default_rng(1)
    rows, at, y = random_rows(rng, 30, 3), random_rows(rng, 7, 3), rng.standard_normal(30)
    at = replace(at, run=np.full(7, -1.0), site=np.full(7, -1.0))
    surrogate = Surrogate(3, Prior())
    surrogate.fit(rows, y)
    mean, variance, _ = surrogate.predict(at)
    k = surrogate.covariance(rows, rows) + (surrogate.noise_variance + 1e-6) * np.eye(30)
    cross = surrogate.covariance(at, rows)
    assert mean == pytest.approx(cross @ np.linalg.solve(k, y))
    expected = surrogate.variance(at, own=False) - np.einsum("ij,ji->i", cross, np.linalg.solve(k, cross.T))
    assert variance == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_a_crowd_of_crashes_is_believed(seed):
    """Crowded in many dimensions, whole Newton steps diverged and the crowd was held to be safe."""
    rng = np.random.default_rng(seed)
    d = 14
    points = np.clip(rng.random(d) + 0.15 * rng.normal(size=(60, d)) * (rng.random((60, d)) < 0.3), 0, 1)
    lengths = rng.choice([0.06, 0.06, 0.06, 0.12, 0.25], 60)
    crashed = np.zeros(60)
    crashed[:14], lengths[:14] = 1.0, rng.uniform(0.1, 0.5, 14)
    lengths[-3:] = 1.0
    model = CrashModel(d, 0.06)
    model.fit(points, lengths, crashed)
    assert model.probability(points[:14]).min() > 0.4


def test_crashes_are_learnt_where_they_are():
    rng = np.random.default_rng(2)
    points = rng.random((200, 4))
    crashed = (points[:, 1] > 0.6).astype(float)
    model = CrashModel(4, 0.04)
    model.fit(points, np.where(crashed > 0, 0.1, 1.0), crashed)
    probe = np.full((2, 4), 0.5)
    probe[:, 1] = (0.1, 0.95)
    low, high = model.probability(probe)
    assert low < 0.1
    assert high > 0.8
    assert model.remaining(probe, np.array([1.0, 1.0])) == pytest.approx([0.0, 0.0])


def test_short_survivors_prove_little():
    points = np.full((30, 2), 0.5)
    short, long = CrashModel(2, 0.04), CrashModel(2, 0.04)
    short.fit(points, np.full(30, 0.04), np.zeros(30))
    long.fit(points, np.ones(30), np.zeros(30))
    assert long.probability(points[:1]) < short.probability(points[:1])


def test_costs_are_learnt():
    rng = np.random.default_rng(3)
    points = rng.random((100, 3))
    model = CostModel()
    model.fit(points, 2.0 + 1.5 * points[:, 0])
    assert model.log_cost(np.array([[0.0, 0.5, 0.5], [1.0, 0.5, 0.5]])) == pytest.approx([2.0, 3.5], abs=0.1)


def test_the_expected_excess_is_an_expectation():
    z = np.random.default_rng(4).standard_normal(400_000)
    for mean in (-1.5, 0.0, 2.0):
        assert expected_excess(np.array([mean]))[0] == pytest.approx(np.maximum(z + mean, 0).mean(), abs=5e-3)


def height(point):
    return float(np.exp(-3 * ((point - 0.3) ** 2).sum()))


def finished(point, share, *, level=None, target=None, noise=0.0):
    rungs = np.array([r for r in RUNGS if r <= share + 1e-9])
    top = height(point) if level is None else level
    levels = (top + noise) * (1 - np.exp(-5 * rungs)) / (1 - np.exp(-5))
    return Run(point, share, share * 10, rungs, levels, target=target, open=share < 1 and target is None)


def many_runs(n=40, d=3, seed=0):
    rng = np.random.default_rng(seed)
    return [finished(rng.random(d), RUNGS[i % len(RUNGS)], noise=0.02 * rng.normal()) for i in range(n)]


def core(d=3, seed=0, **changes):
    return Thaw(np.full(d, 0.5), lambda points: points, seed, Settings(**changes))


def test_the_first_run_is_the_centre():
    decision = core().decide([])
    assert isinstance(decision, Begin)
    assert decision.point == pytest.approx(np.full(3, 0.5))


def test_decisions_follow_from_runs_and_seed():
    runs = many_runs()
    first = core().decide(runs)
    again = core().decide(runs)
    assert type(first) is type(again)
    assert repr(first) == repr(again)
    salted = [repr(core(verify=0.0).decide(runs, salt=i)) for i in range(4)]
    assert len(set(salted)) > 1


def test_finished_and_crashed_runs_are_never_continued():
    runs = [replace(run, open=False) for run in many_runs()]
    runs[0] = Run(runs[0].point, 0.04, 0.4, crashed=True, open=False)
    for salt in range(5):
        assert isinstance(core().decide(runs, salt=salt), Begin)


def test_the_leader_gets_its_share():
    runs = [finished(run.point, RUNGS[0]) for run in many_runs()]
    decision = core(verify=0.9).decide(runs)
    assert isinstance(decision, Continue)
    assert decision.until == RUNGS[1]


def test_the_recommendation_is_near_the_top():
    runs = many_runs(60)
    chosen = core().recommend(runs)
    best = max(height(run.point) for run in runs)
    assert height(runs[chosen].point) > best - 0.1


def test_a_lucky_seed_is_not_believed():
    runs = [finished(run.point, 1.0) for run in many_runs(40)]
    # The same configuration three times: one lucky run, two sober ones.
    poor = np.full(3, 0.9)
    runs += [finished(poor, 1.0, level=level) for level in (1.05, 0.05, 0.04)]
    assert core().recommend(runs) < 40


def test_a_crash_is_no_recommendation():
    runs = many_runs(40)
    runs.append(
        Run(np.full(3, 0.3), 0.16, 1.6, np.array([0.04, 0.08]), np.array([0.9, 0.95]), True, open=False)
    )
    assert core().recommend(runs) != 40


def test_trust_in_short_runs_is_learnt():
    def trust(shuffle):
        rng = np.random.default_rng(5)
        runs = []
        for _ in range(40):
            point = rng.random(2)
            final = height(point)
            early = final if not shuffle else 0.3 * rng.random()
            runs.append(Run(point, 1.0, 10.0, np.array((*RUNGS[:2], 1.0)), np.array([early, early, final])))
        surrogate = Belief(runs, Settings()).surrogate
        variances = np.exp(2 * surrogate.theta[surrogate.d :])
        return float(variances[1] + variances[4])

    assert trust(shuffle=True) > 2 * trust(shuffle=False)


def test_running_runs_lower_the_uncertainty_where_they_run():
    runs = many_runs()
    spot = np.array([0.31, 0.29, 0.3])
    alone = Belief(runs, Settings()).surrogate
    with_pending = Belief([*runs, Run(spot, 0.0, 0.0, target=1.0, open=False)], Settings()).surrogate
    at = Rows(spot[None], np.zeros(1), np.full(1, -1.0), np.full(1, -1.0), np.ones(1))
    assert with_pending.predict(at)[1][0] < alone.predict(at)[1][0]


def test_what_runs_for_the_first_time_is_no_recommendation_and_makes_nobody_surer():
    runs = many_runs()
    alone = Belief(runs, Settings())
    best = Run(np.full(3, 0.3), 0.0, 0.0, target=1.0, open=False)
    with_it = Belief([*runs, best], Settings())
    assert with_it.variance[-1] < with_it.shown_variance[-1]
    assert with_it.shown_variance[:-1] == pytest.approx(alone.variance)
    assert with_it.best() == alone.best()


def test_points_that_cost_too_much_are_left_out():
    rng = np.random.default_rng(6)
    runs = []
    for _ in range(30):
        point = rng.random(2)
        runs.append(replace(finished(point, 1.0), cost=float(np.exp(4 * point[0]))))
    decision = core(2, max_cost=float(np.exp(2.0)), verify=0.0).decide(runs)
    assert isinstance(decision, Begin)
    assert decision.point[0] < 0.6


@given(st.lists(st.sampled_from([0.0, 1.0, -1e300, 1e300, 5e-324]), min_size=8, max_size=20))
@settings(max_examples=20, deadline=None)
def test_extreme_levels_stop_nothing(levels):
    rng = np.random.default_rng(7)
    runs = [Run(rng.random(2), 0.04, 1.0, np.array([0.04]), np.array([level])) for level in levels]
    with np.errstate(over="ignore"):
        decision = core(2).decide(runs)
    assert decision is not None


def test_ranks_only_with_percentile():
    runs = [finished(run.point, 1.0) for run in many_runs(30)]
    bent = [replace(run, levels=np.exp(5 * run.levels)) for run in runs]
    one, other = (Belief(r, Settings(percentile=True)) for r in (runs, bent))
    assert one.mean == pytest.approx(other.mean)


def test_a_share_of_all_training_goes_to_runs_that_nobody_cuts():
    core = Thaw(np.full(2, 0.5), lambda points: points, 0, Settings(uncut=0.25))
    runs, whole = [], 0.0
    for n in range(600):
        if n and core._is_uncut(runs, n):
            runs.append(finished(np.full(2, 0.5), 1.0))
            whole += 1.0
        else:
            runs.append(replace(finished(np.full(2, 0.5), 1.0), length=0.06))
    assert 0.15 < whole / sum(run.length for run in runs) < 0.35


def test_an_uncut_run_is_a_new_one_of_full_length():
    runs = [replace(run, open=False) for run in many_runs(12, d=2)]
    decision = Thaw(np.full(2, 0.5), lambda points: points, 0, Settings(uncut=1e6)).decide(runs)
    assert isinstance(decision, Begin)
    assert (decision.reason, decision.until) == ("uncut", 1.0)


def test_dead_seeds_are_outliers_and_lucky_ones_are_not_by_default():
    rng = np.random.default_rng(1)
    points = np.linspace(0, 1, 12)[:, None]

    def luck_of(height, **changes):
        levels = 0.5 + 0.01 * rng.standard_normal(12)
        levels[6] = height
        runs = [
            Run(p, 1.0, 1.0, np.array([0.5, 1.0]), np.array([v, v]))
            for p, v in zip(points, levels, strict=True)
        ]
        return Belief(runs, Settings(compression=100.0, **changes)).luck[6]

    assert luck_of(0.0) > 2
    assert luck_of(1.0) <= 1
    assert luck_of(1.0, lucky_outliers=True) > 2
