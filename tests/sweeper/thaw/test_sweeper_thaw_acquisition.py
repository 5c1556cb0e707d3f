"""What looks are worth: against sampling, and in cases that have only one sensible answer."""

from __future__ import annotations

import numpy as np
import pytest

from sweeper.thaw.acquisition import Acquisition, new_prospects, paused_prospects
from sweeper.thaw.belief import NOBODY, Belief
from sweeper.thaw.records import Run
from sweeper.thaw.settings import Settings
from sweeper.thaw.surrogate import Rows

RUNGS = Settings().rungs


def run_at(point, share, level):
    rungs = np.array([rung for rung in RUNGS if rung <= share + 1e-9])
    return Run(np.asarray(point, float), share, share, rungs, level * rungs**0.2, open=share < 1)


def some_runs(n=30, d=3, seed=0):
    rng = np.random.default_rng(seed)
    points = rng.random((n, d))
    return [
        run_at(p, RUNGS[i % 4], float(np.exp(-3 * ((p - 0.3) ** 2).sum()) + 0.05 * rng.standard_normal()))
        for i, p in enumerate(points)
    ]


@pytest.mark.parametrize("share", [0.06, 0.5, 1.0])
def test_the_knowledge_gradient_is_an_expectation_over_what_a_look_may_show(share):
    settings = Settings(overhead=0.0, crash_model=False, cost_model=False)
    belief = Belief(some_runs(), settings)
    at = np.array([[0.35, 0.3, 0.25]])
    new = new_prospects(belief, at)
    worth = Acquisition(belief, settings).worth(new, share)
    # The same from samples of the joint posterior of every configuration's value and the look.
    surrogate = belief.surrogate
    n = len(belief.points)
    full = Rows(
        np.vstack([belief.points, at]),
        np.zeros(n + 1),
        np.full(n + 1, NOBODY),
        np.append(belief.sites, NOBODY),
        np.ones(n + 1),
    )
    look = Rows(at, belief.distance(np.array([share])), np.array([NOBODY]), np.array([NOBODY]), np.ones(1))
    mean, _, white = surrogate.predict(full)
    _, variance, white_look = surrogate.predict(look, own=True)
    shared = surrogate.covariance(full, look)[:, 0] - white.T @ white_look[:, 0]
    shared[-1] = surrogate.full_length_covariance(look.v)[0] - white[:, -1] @ white_look[:, 0]
    slope = shared / np.sqrt(variance[0] + surrogate.noise_variance)
    value = np.append(belief.value, new.value)
    draws = np.random.default_rng(1).standard_normal(40_000)
    assert mean[:-1] == pytest.approx(belief.mean)
    gain = (value[:, None] + slope[:, None] * draws).max(0).mean() - value[:-1].max()
    expected = gain * (1 - new.crash[0]) / (share * np.exp(new.log_cost[0] - belief.reference))
    assert np.exp(worth[0]) == pytest.approx(expected, rel=0.05)


def test_another_look_at_the_leaders_twin_is_worth_little():
    """What moves leader and twin alike cannot change which of the two is best."""
    runs = [*some_runs(), run_at([0.3, 0.3, 0.3], 1.0, 1.3)]
    settings = Settings()
    belief = Belief(runs, settings)
    assert int(np.argmax(belief.value)) == len(runs) - 1
    leader = runs[-1].point
    near_and_far = np.array([leader + 1e-4, leader + np.array([0.25, 0.0, 0.0])])
    new = new_prospects(belief, near_and_far)
    with_ties = Acquisition(belief, settings).worth(new, 1.0)
    without = Acquisition(belief, Settings(correlated=False)).worth(new, 1.0)
    assert with_ties[0] < without[0] - 0.5
    assert (
        Acquisition(belief, settings).promise(new)[0]
        < Acquisition(belief, Settings(correlated=False)).promise(new)[0]
    )


def test_a_longer_look_tells_more_and_dearer_ones_are_worth_less():
    settings = Settings(overhead=0.0)
    belief = Belief(some_runs(), settings)
    some = np.flatnonzero(belief.unfinished & (belief.lengths < 0.5))[:5]
    paused = paused_prospects(belief, some)
    acquisition = Acquisition(belief, settings)
    longer = acquisition.worth(paused, 1.0) + np.log(1.0 - paused.length)
    shorter = acquisition.worth(paused, 0.5) + np.log(0.5 - paused.length)
    # But for rounding, which is seen where a look is worth next to nothing.
    assert np.all(longer >= shorter - 1e-2)
    cautious = Acquisition(belief, Settings(max_cost=1e-6))
    new = new_prospects(belief, np.full((1, 3), 0.4))
    assert cautious.promise(new)[0] < acquisition.promise(new)[0] - 50
