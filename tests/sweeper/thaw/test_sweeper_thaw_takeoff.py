"""Runs that stand still until they take off, if they ever do: what is believed before, and of chance afterwards."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.thaw.belief import Belief
from sweeper.thaw.core import Thaw
from sweeper.thaw.dud import DudModel
from sweeper.thaw.records import Begin, Continue, Run
from sweeper.thaw.settings import Settings
from sweeper.thaw.surrogate import Prior, Rows, Surrogate
from sweeper.thaw.takeoff import nothing_learnt

RUNGS = np.array(Settings().rungs)


def looked_at(levels, point=(0.5, 0.5), length=1.0, **changes):
    rungs = RUNGS[length >= RUNGS]
    return Run(np.array(point), length, 10 * length, rungs, np.asarray(levels)[: len(rungs)], **changes)


def still(rng, n=12, length=1.0, d=2):
    """Runs that have learnt nothing: noise of size one around -500, different ones at each look."""
    return [
        looked_at(-500 + rng.standard_normal(5), rng.random(d), length, open=length < 1) for _ in range(n)
    ]


def rising(rng, n=12, noise=0.02):
    heights = rng.random(n)
    steps = 1 - np.exp(-5 * RUNGS)
    return [looked_at(h * steps + noise * rng.standard_normal(5), rng.random(2)) for h in heights]


class TestNothingLearnt:
    @pytest.mark.parametrize(("n", "share"), [(3, 0.6), (10, 0.85), (50, 0.95)])
    def test_pure_noise_is_found_out_mostly(self, n, share):
        rng = np.random.default_rng(0)
        assert np.mean([nothing_learnt(still(rng, n)) for _ in range(200)]) > share

    @given(st.integers(0, 2**31), st.integers(3, 60), st.sampled_from([0.0, 0.02, 0.05]))
    def test_learning_is_never_taken_for_noise(self, seed, n, noise):
        assert not nothing_learnt(rising(np.random.default_rng(seed), n, noise))

    @pytest.mark.parametrize("seed", range(5))
    def test_runs_that_have_levelled_off_and_shake_have_learnt(self, seed):
        """As many looks go down as up; but every run keeps to its own level."""
        rng = np.random.default_rng(seed)
        runs = [looked_at(h + 0.1 * rng.standard_normal(5)) for h in rng.random(20)]
        assert not nothing_learnt(runs)

    def test_a_single_run_that_has_taken_off_is_enough(self):
        runs = still(np.random.default_rng(0), 40)
        assert nothing_learnt(runs)
        assert not nothing_learnt([*runs, looked_at([-500, -500, -500, -400, -100])])

    def test_equal_scores_say_nothing_however_few(self):
        assert nothing_learnt([looked_at([-500.0] * 5)])
        assert nothing_learnt([looked_at([-500.0] * 5, length=0.12), looked_at([-500.0] * 5)])
        assert not nothing_learnt([looked_at([-500.0, -499.0], length=0.12)])

    def test_looks_that_share_noise_are_no_pair(self):
        """0.06 and 0.12 of a run lie within one level's window."""
        runs = [looked_at([1.0, 0.0], length=0.12), looked_at([0.0, 0.5], length=0.12)] * 4
        assert not nothing_learnt(runs)

    def test_no_scores_say_nothing(self):
        assert nothing_learnt([])
        assert nothing_learnt([Run(np.zeros(2), 0.1, 1.0, np.array([0.06]), np.array([np.nan]))])


class TestUntilThen:
    """What the core does before anything has learnt."""

    def core(self, d=2, **changes):
        return Thaw(np.full(d, 0.5), lambda points: points, 3, Settings(**changes))

    def test_the_config_as_written_comes_first_and_whole(self):
        runs = [looked_at([-500.0] * 5, length=0.25), *still(np.random.default_rng(0), 12)]
        assert self.core().decide(runs) == Continue(0, 1.0, "centre")

    def test_an_earlier_studys_run_of_it_stands_in_nobodys_way(self):
        runs = [looked_at([-500.0] * 5, open=False), looked_at([-500.0] * 5, length=0.25)]
        runs += [looked_at([-500.0] * 5, (0.1, 0.2), 0.06, open=False) for _ in range(4)]
        assert self.core().decide(runs) == Continue(1, 1.0, "centre")

    def test_then_whole_runs_around_it(self):
        rng = np.random.default_rng(0)
        runs = [looked_at(-500 + rng.standard_normal(5), open=False), *still(rng, 20, length=0.25)]
        decisions = [self.core().decide(runs, salt=i) for i in range(40)]
        assert {(type(d), d.until, d.reason) for d in decisions} == {(Begin, 1.0, "whole")}
        points = np.array([d.point for d in decisions])
        assert points.min() < 0.2
        assert points.max() > 0.8

    def test_and_it_is_what_is_recommended(self):
        rng = np.random.default_rng(1)
        runs = [*still(rng, 20), looked_at(-500 + rng.standard_normal(5), open=False)]
        assert self.core().recommend(runs) == 20
        runs.append(looked_at([-500, -500, -450, -200, -90], (0.1, 0.1), open=False))
        assert self.core().recommend(runs) == 21

    def test_points_that_crash_or_cost_are_drawn_less(self):
        rng = np.random.default_rng(2)
        runs = still(rng, 12)
        for x in rng.random(30):
            dear = float(np.exp(3 * x))
            runs.append(Run(np.array([x, 0.3]), 1.0, dear, RUNGS, -500 + rng.standard_normal(5), open=False))
            runs.append(Run(np.array([x, 0.9]), 0.1, 0.1 * dear, crashed=True, open=False))
        points = np.array([self.core().decide(runs, salt=i).point for i in range(100)])
        assert points[:, 0].mean() < 0.45
        assert points[:, 1].mean() < 0.45
        cheap = [self.core(max_cost=float(np.exp(1.5))).decide(runs, salt=i).point[0] for i in range(40)]
        assert np.mean(np.array(cheap) < 0.6) > 0.95

    def test_without_the_rule_noise_is_believed(self):
        runs = [looked_at([-500.0] * 5, length=0.25), *still(np.random.default_rng(0), 12)]
        assert self.core(flat_rule=False).decide(runs).reason not in ("centre", "whole")


def test_short_runs_that_all_stand_still_are_no_evidence():
    """Alike at first and different at the end: growth is learnt, and a short look moves little."""
    rng = np.random.default_rng(0)
    runs = [
        looked_at([0.0, 0.0, 0.0, 0.3 * h, h] + 0.003 * rng.standard_normal(5), p)
        for p in rng.random((30, 2))
        for h in [float(p[0] > 0.4)]
    ]
    runs += [looked_at(0.003 * rng.standard_normal(5), p, 0.06) for p in rng.random((30, 2))]
    grown = Belief(runs, Settings()).surrogate
    assert grown.growth > 1.0
    full, short = np.zeros(1), np.ones(1)
    told = grown.full_length_covariance(short) / grown.full_length_covariance(full)
    assert (grown.full_length_covariance(short) - 4.0) / (grown.full_length_covariance(full) - 4.0) < 0.3
    assert told < 1.0


def test_with_growth_a_runs_luck_is_found_from_its_long_looks():
    """The posterior of a run's offset, from the joint covariance of offset and looks."""
    rng = np.random.default_rng(1)
    run = np.repeat(np.arange(8.0), 3)
    rows = Rows(
        np.repeat(rng.random((8, 2)), 3, axis=0),
        np.tile([1.0, 0.5, 0.0], 8),
        run,
        run,
        np.repeat(rng.uniform(0.5, 3, 8), 3),
    )
    y = rng.standard_normal(24)
    surrogate = Surrogate(2, Prior(growth=0.8))
    surrogate.fit(rows, y)
    size, sign = surrogate.outlyingness()
    k = surrogate.covariance(rows, rows) + (surrogate.noise_variance + 1e-6) * np.eye(24)
    prior = surrogate.seed_variance * rows.luck
    shared = (run[:, None] == run[None]) * np.exp(-0.8 * rows.v)[:, None] * prior[None]
    mean = shared.T @ np.linalg.solve(k, y)
    variance = prior - np.einsum("ij,ij->j", shared, np.linalg.solve(k, shared))
    assert size == pytest.approx((mean**2 + variance) / surrogate.seed_variance)
    assert sign == pytest.approx(np.sign(mean))


class TestDuds:
    def model(self, luck, points=None, sites=None, lengths=None, seen=None):
        n = len(luck)
        return DudModel(
            np.random.default_rng(0).random((n, 2)) if points is None else points,
            np.ones(n) if lengths is None else lengths,
            np.arange(float(n)) if sites is None else sites,
            np.asarray(luck, dtype=float),
            np.ones(n, dtype=bool) if seen is None else seen,
            0.06,
        )

    def at(self, model, point, site=-1.0):
        return float(model.probability(np.array([point]), np.array([site]))[0])

    def test_their_share_is_learnt_where_they_are(self):
        points = np.random.default_rng(1).random((80, 2))
        model = self.model(np.where(points[:, 0] > 0.6, 50.0, 1.0), points)
        assert self.at(model, (0.1, 0.5)) < 0.1
        assert self.at(model, (0.95, 0.5)) > 0.7

    def test_a_few_anywhere_are_a_few_everywhere(self):
        luck = np.ones(60)
        luck[::20] = 50.0
        model = self.model(luck)
        chances = [self.at(model, point) for point in np.random.default_rng(2).random((50, 2))]
        assert 0.01 < np.mean(chances) < 0.12

    def test_a_configurations_own_runs_count(self):
        points = np.vstack([np.random.default_rng(3).random((20, 2)), np.full((3, 2), 0.5)])
        sites = np.append(np.arange(20.0), [20.0] * 3)
        lucky = self.model(np.ones(23), points, sites)
        unlucky = self.model(np.append(np.ones(20), [50.0, 50.0, 1.0]), points, sites)
        assert self.at(lucky, (0.5, 0.5), 20.0) < self.at(lucky, (0.5, 0.5))
        assert self.at(unlucky, (0.5, 0.5), 20.0) > self.at(unlucky, (0.5, 0.5)) + 0.1

    def test_what_has_shown_nothing_is_no_dud(self):
        luck = np.append(np.ones(20), [50.0] * 5)
        seen = np.append(np.ones(20, dtype=bool), [False] * 5)
        assert self.at(self.model(luck, seen=seen), (0.5, 0.5)) < 0.1

    def test_a_gamble_is_no_recommendation(self):
        """One seed in two of it is better than anything else, and the other learns nothing."""
        rng = np.random.default_rng(4)
        steps = np.array([0.1, 0.3, 0.6, 0.9, 1.0])
        runs = [
            looked_at((0.85 + 0.02 * rng.standard_normal()) * steps, (0.2 + 0.1 * rng.random(), rng.random()))
            for _ in range(12)
        ]
        for _ in range(8):
            point = (0.8 + 0.02 * rng.random(), 0.5)
            runs.append(looked_at(1.0 * steps, point))
            runs.append(looked_at(0.01 * rng.random() * steps, point))
        thaw = Belief(runs, Settings())
        assert thaw.best() < 12
        assert Belief(runs, Settings(dud_model=False)).best() >= 12
