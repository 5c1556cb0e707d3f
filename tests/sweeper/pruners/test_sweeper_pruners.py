"""Pruners on curves made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.pruners.base import JudgingPruner
from sweeper.pruners.halving import HalvingPruner, hyperband
from sweeper.pruners.promotion import PromotionPruner
from sweeper.pruners.rungs import Ladder
from sweeper.pruners.stopping import CostQuantilePruner, PatientPruner, PercentilePruner, ThresholdPruner
from sweeper.records import Observation, Resume, Trial, TrialState, Verdict
from sweeper.samplers.base import Goal, window_mean

TOTAL = 2700
GOAL = Goal()


def trial(number, scores, state=TrialState.RUNNING, *, step=100, seconds=1.0):
    """A trial with a score every `step` agent steps."""
    curve = tuple(Observation((i + 1) * step, (i + 1) * seconds, s) for i, s in enumerate(scores))
    end = curve[-1] if curve else Observation(0, 0.0, 0.0)
    return Trial(
        number,
        f"u{number}",
        state,
        {},
        curve,
        scores[-1] if scores else None,
        end.cost_seconds,
        end.agent_steps,
        TOTAL,
    )


def complete(number, level):
    return trial(number, [level] * 27, TrialState.COMPLETE)


OTHERS = [complete(i, float(i)) for i in range(10)]


def test_none_never_stops():
    assert JudgingPruner().judge(trial(10, [-99.0] * 20), OTHERS) is Verdict.CONTINUE


@pytest.mark.parametrize(("level", "verdict"), [(4.4, Verdict.STOP), (4.6, Verdict.CONTINUE)])
def test_median_stops_the_worse_half(level, verdict):
    assert PercentilePruner("median", GOAL, 50).judge(trial(10, [level] * 9), OTHERS) is verdict


def test_median_looks_at_the_best_level_so_far():
    assert (
        PercentilePruner("median", GOAL, 50).judge(trial(10, [9.0] * 5 + [0.0] * 5), OTHERS)
        is Verdict.CONTINUE
    )


def test_percentile_turns_with_the_goal():
    pruner = PercentilePruner("percentile", Goal(maximise=False), 25)
    assert pruner.judge(trial(10, [8.9] * 9), OTHERS) is Verdict.STOP
    assert pruner.judge(trial(10, [0.1] * 9), OTHERS) is Verdict.CONTINUE


def test_nobody_is_judged_in_the_warm_up_or_without_company():
    pruner = PercentilePruner("median", GOAL, 50)
    assert pruner.judge(trial(10, [-1.0] * 2), OTHERS) is Verdict.CONTINUE
    assert pruner.judge(trial(10, [-1.0] * 20), OTHERS[:4]) is Verdict.CONTINUE


def test_failed_trials_are_no_company():
    failed = [replace(other, state=TrialState.FAILED) for other in OTHERS]
    assert PercentilePruner("median", GOAL, 50).judge(trial(10, [-1.0] * 20), failed) is Verdict.CONTINUE


def test_threshold_compares_with_final_scores_after_half():
    pruner = ThresholdPruner(GOAL, 0.3)
    assert pruner.judge(trial(10, [1.0] * 10), OTHERS) is Verdict.CONTINUE
    assert pruner.judge(trial(10, [1.0] * 20), OTHERS) is Verdict.STOP
    assert pruner.judge(trial(10, [3.0] * 20), OTHERS) is Verdict.CONTINUE
    assert ThresholdPruner(GOAL, None).judge(trial(10, [1.0] * 20), OTHERS) is Verdict.CONTINUE


def test_patient_waits_for_an_improvement():
    pruner = PatientPruner(GOAL, 0.3)
    assert pruner.judge(trial(0, [float(i) for i in range(20)]), []) is Verdict.CONTINUE
    assert pruner.judge(trial(0, [5.0] + [1.0] * 15), []) is Verdict.STOP
    assert pruner.judge(trial(0, [5.0] + [1.0] * 5), []) is Verdict.CONTINUE


def test_cost_quantile_compares_at_equal_cost():
    pruner = CostQuantilePruner(GOAL, 0.3)
    rising = [
        trial(i, [float(i) * j for j in range(1, 28)], TrialState.COMPLETE, seconds=1.0) for i in range(1, 11)
    ]
    # Ten seconds in, the others stood at about 9.5 times their slope.
    assert pruner.judge(trial(20, [20.0] * 10), rising) is Verdict.STOP
    assert pruner.judge(trial(20, [60.0] * 10), rising) is Verdict.CONTINUE
    # A slow trial is compared with what the others had at its own cost: nearly their ends.
    assert pruner.judge(trial(20, [60.0] * 10, seconds=2.6), rising) is Verdict.STOP


def test_halving_keeps_a_third_at_each_rung():
    pruner = HalvingPruner(GOAL, [Ladder.geometric()])
    stopped = []
    for level in range(9):
        seen = [trial(i, [float(i)], TrialState.PRUNED) for i in range(9) if i != level]
        if pruner.judge(trial(level, [float(level)]), seen) is Verdict.STOP:
            stopped.append(level)
    assert stopped == [0, 1, 2, 3, 4, 5]


def test_the_first_on_a_rung_goes_on():
    assert HalvingPruner(GOAL, [Ladder.geometric()]).judge(trial(0, [-5.0]), []) is Verdict.CONTINUE


def test_hyperband_lets_some_trials_begin_higher():
    pruner = hyperband(GOAL)
    better = [trial(i, [9.0] * 2, TrialState.PRUNED) for i in range(0, 40, 4)]
    assert pruner.judge(trial(40, [0.0] * 2), better) is Verdict.STOP
    assert pruner.judge(trial(43, [0.0] * 2), better) is Verdict.CONTINUE


def test_the_ladder_is_geometric():
    ladder = Ladder.geometric(3, 1 / 27)
    assert ladder.shares == pytest.approx((1 / 27, 1 / 9, 1 / 3, 1))
    assert [ladder.pause(rung, TOTAL) for rung in range(4)] == [100, 300, 900, None]


@given(st.integers(1, 10**10), st.integers(2, 5))
def test_a_pause_is_a_rung_that_counts_as_reached(total, factor):
    ladder = Ladder.geometric(factor, 1 / 30)
    for rung in range(len(ladder.shares)):
        steps = ladder.steps(rung, total)
        assert 1 <= steps <= total
        there = Trial(0, "u", TrialState.PAUSED, {}, agent_steps=steps, total_agent_steps=total)
        assert ladder.reached(there) >= rung


def paused(number, scores):
    return trial(number, scores, TrialState.PAUSED)


def test_promotion_takes_the_best_third_of_the_highest_rung():
    pruner = PromotionPruner(GOAL)
    trials = [paused(i, [float(i)]) for i in range(6)]
    assert pruner.promote(trials[:2]) is None
    assert pruner.promote(trials[:3]) == Resume("u2", 300)
    assert pruner.promote(trials) == Resume("u5", 300)
    trials[5] = replace(trials[5], state=TrialState.RUNNING)
    assert pruner.promote(trials) == Resume("u4", 300)
    trials[4] = paused(4, [4.0] * 3)
    trials[5] = paused(5, [5.0] * 3)
    assert pruner.promote(trials) is None
    trials[3] = paused(3, [3.0] * 3)
    assert pruner.promote(trials) == Resume("u5", 900)


def test_promotion_ends_with_the_whole_run():
    trials = [paused(i, [float(i)] * 9) for i in range(3)]
    assert PromotionPruner(GOAL).promote(trials) == Resume("u2", None)


def test_a_trial_paused_below_the_first_rung_completes_it_first():
    assert PromotionPruner(GOAL).promote([trial(0, [1.0], TrialState.PAUSED, step=50)]) == Resume("u0", 100)


def test_promotion_passes_failed_trials_over():
    trials = [paused(i, [float(i)]) for i in range(3)]
    trials.append(replace(paused(3, [9.0]), state=TrialState.FAILED))
    assert PromotionPruner(GOAL).promote(trials) == Resume("u2", 300)


def test_a_share_of_the_trials_is_left_alone():
    pruner = PromotionPruner(GOAL, uncut=0.1, seed=5)
    alone = [number for number in range(2000) if pruner.first_pause(number, TOTAL) is None]
    assert 140 < len(alone) < 260
    assert alone == [
        n for n in range(2000) if PromotionPruner(GOAL, uncut=0.1, seed=5).first_pause(n, TOTAL) is None
    ]


@given(st.permutations(range(8)))
def test_the_order_of_the_snapshots_decides_nothing(order):
    trials = [paused(i, [float(i % 3)]) for i in range(8)]
    assert PromotionPruner(GOAL).promote([trials[i] for i in order]) == PromotionPruner(GOAL).promote(trials)


def test_the_level_is_the_mean_of_the_last_tenth():
    assert window_mean(trial(0, [float(i) for i in range(27)]), TOTAL) == pytest.approx(25.0)
    assert window_mean(trial(0, [float(i) for i in range(27)]), 100) == 0.0
    assert window_mean(trial(0, []), 100) is None


def test_what_another_pruner_paused_is_taken_up_again():
    assert JudgingPruner().promote([paused(3, [1.0]), paused(1, [0.0])]) == Resume("u1", None)
