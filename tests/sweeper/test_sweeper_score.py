"""Final scores, thinning, seeds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.records import Observation
from sweeper.score import MAX_OBSERVATIONS, Thinner, final_score
from sweeper.seeds import SEED_SPACING, evaluation_seed, trial_seed


def curve(*pairs):
    return [Observation(steps, steps / 100, score) for steps, score in pairs]


class TestFinalScore:
    def test_last_is_the_mean_of_the_last_tenth(self):
        line = curve(*((s, float(s)) for s in range(10, 1001, 10)))
        assert final_score("last", line, 1000) == pytest.approx(np.mean(range(910, 1001, 10)))

    def test_without_a_score_in_the_last_tenth_the_newest_counts(self):
        assert final_score("last", curve((100, 1.0), (500, 7.0)), 1000) == 7.0

    def test_auc_is_the_mean_height(self):
        line = curve(*((s, float(s)) for s in range(0, 1001, 10)))
        assert final_score("auc", line, 1000) == pytest.approx(500.0)
        assert final_score("auc", curve((500, 4.0)), 1000) == pytest.approx(4.0)

    def test_nothing_to_go_by_is_none(self):
        assert final_score("last", [], 1000) is None
        assert final_score("eval", curve((1000, 3.0)), 1000) is None
        assert final_score("last", curve((1000, float("nan"))), 1000) is None
        with pytest.raises(ValueError, match="unknown"):
            final_score("best", [], 1000)

    @given(
        st.lists(
            st.tuples(st.integers(1, 1000), st.floats(-1e300, 1e300)), unique_by=lambda p: p[0], min_size=1
        ),
        st.sampled_from(["last", "auc"]),
    )
    def test_scores_lie_within_the_curve(self, pairs, rule):
        points = curve(*sorted(pairs))
        score = final_score(rule, points, 1000)
        low, high = min(p.score for p in points), max(p.score for p in points)
        slack = 1e-9 * max(abs(low), abs(high), 1.0)
        assert low - slack <= score <= high + slack


class TestThinner:
    epochs = st.lists(
        st.tuples(st.integers(1, 5000), st.none() | st.floats(-1e6, 1e6)),
        unique_by=lambda p: p[0],
        max_size=200,
    )

    @given(epochs, st.integers(0, 200))
    def test_resuming_anywhere_gives_the_same_observations(self, pairs, cut):
        pairs = sorted(pairs)
        whole = Thinner(5000)
        expected = [o for s, score in pairs if (o := whole.add(s, s / 10, score)) is not None]
        earlier = [Observation(s, s / 10, score) for s, score in pairs[:cut] if score is not None]
        resumed, observations = Thinner.after(earlier, 5000)
        observations += [o for s, score in pairs[cut:] if (o := resumed.add(s, s / 10, score)) is not None]
        assert [o.agent_steps for o in observations] == [o.agent_steps for o in expected] or any(
            score is None for _, score in pairs
        )
        for made in (expected, observations):
            steps = [o.agent_steps for o in made]
            assert steps == sorted(set(steps))
            assert len(steps) <= MAX_OBSERVATIONS

    def test_an_observation_is_the_mean_since_the_one_before(self):
        thinner = Thinner(5000)
        assert thinner.add(50, 1.0, 2.0) is None
        assert thinner.add(99, 2.0, 4.0) is None
        assert thinner.add(100, 3.0, 9.0) == Observation(100, 3.0, 5.0)
        assert thinner.add(300, 4.0, None) is None
        assert thinner.add(350, 5.0, 1.0) == Observation(350, 5.0, 1.0)


class TestSeeds:
    @given(st.integers(0, 2**63), st.integers(0, 20_000))
    def test_seeds_fit_and_leave_room_for_environments(self, sweep_seed, number):
        seed = trial_seed(sweep_seed, number)
        assert 0 <= seed <= evaluation_seed(sweep_seed) - SEED_SPACING // 2
        assert seed % SEED_SPACING == 0
        assert evaluation_seed(sweep_seed) + SEED_SPACING // 2 < 2**31

    @given(st.integers(0, 10**6))
    def test_no_two_trials_of_a_sweep_share_a_stream(self, sweep_seed):
        seeds = [trial_seed(sweep_seed, number) for number in range(3000)]
        assert len(set(seeds)) == 3000

    def test_other_sweeps_have_other_seeds(self):
        assert trial_seed(1, 0) != trial_seed(2, 0)
        assert trial_seed(42, 7) == trial_seed(42, 7)
