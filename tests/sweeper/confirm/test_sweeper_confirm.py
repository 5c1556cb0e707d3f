import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.clock import SystemClock, VirtualClock
from sweeper.confirm import confirm_study, leaders_of, repeat_seeds
from sweeper.errors import StudyLockedError, SweepError
from sweeper.export import confirmed_leader, export_trial
from sweeper.launchers.simulated import Epoch, SimulatedLauncher
from sweeper.repeats import bootstrap_interval, make_repeat, read_repeats, stands_clear, verdict
from sweeper.seeds import trial_seed
from sweeper.store.ledger import Ledger
from trainer.errors import FailureKind


def noisy(assignment):
    """Trial 2 was lucky in the sweep: with fresh seeds trial 1 comes first again."""
    seed = assignment.config.train.seed
    bonus = (seed // 100_000) % 3
    height = {0: 10.0, 1: 30.0, 2: 40.0}[assignment.number] - (25.0 if assignment.number == 2 else 0.0)
    total = assignment.config.train.total_timesteps
    for epoch in range(1, 6):
        yield Epoch(total * epoch // 5, 1.0, height + bonus)


def confirm(filled, notes, *, top=2, seeds=3, behave=noisy, slots=2):
    clock = VirtualClock()
    launcher = SimulatedLauncher(slots, clock, behave)
    return confirm_study(
        filled.study, filled.storage, clock, top=top, seeds=seeds, on_note=notes.append, launcher=launcher
    )


def test_leaders_are_trained_again_and_ranked_by_their_mean(fill) -> None:
    filled, notes = fill(scores=(10.0, 30.0, 40.0)), []
    assert [trial.number for trial in leaders_of(filled.study, 2)] == [2, 1]
    repeats = confirm(filled, notes)
    assert [repeat.trial_number for repeat in repeats] == [1, 2]
    assert [len(repeat.scores) for repeat in repeats] == [3, 3]
    assert read_repeats(filled.study.attributes()) == repeats
    assert confirmed_leader(filled.study).number == 1
    assert any(
        "trained again with 3 fresh seeds" in line
        for line in export_trial(filled.study, filled.study.trial(1)).header
    )
    assert len(list(filled.study.trial_folder(1).glob("repeat-*/config.ini"))) == 3


def test_what_is_known_is_not_done_again(fill) -> None:
    filled, notes = fill(), []
    first = confirm(filled, notes, seeds=2)
    ran = []

    def remember(assignment):
        ran.append((assignment.number, assignment.config.train.seed))
        yield from noisy(assignment)

    second = confirm(filled, notes, seeds=3, behave=remember)
    assert len(ran) == 2
    assert {seed for _, seed in ran} == {repeat_seeds(42, 3)[2]}
    assert [repeat.scores[:2] for repeat in second] == [repeat.scores for repeat in first]


def test_a_run_that_fails_is_told_and_left_out(fill) -> None:
    filled, notes = fill(), []

    def failing(assignment):
        if assignment.number == 1:
            yield Epoch(10, 1.0, None, failure=FailureKind.NOT_FINITE)
        else:
            yield from noisy(assignment)

    repeats = confirm(filled, notes, behave=failing)
    assert [repeat.trial_number for repeat in repeats] == [2]
    assert any("trial 1, repeat 1 failed" in note for note in notes)


def test_a_study_that_runs_elsewhere_is_left_alone(fill) -> None:
    filled = fill()
    ledger = Ledger(filled.study, SystemClock())
    try:
        with pytest.raises(StudyLockedError):
            confirm(filled, [])
    finally:
        ledger.close()


def test_without_a_complete_trial_there_is_nothing_to_confirm(fill) -> None:
    with pytest.raises(SweepError, match="nothing to confirm"):
        confirm(fill(scores=()), [])


def test_without_repeats_there_is_no_confirmed_leader(filled) -> None:
    with pytest.raises(SweepError, match="puffer-sweep confirm mine"):
        confirmed_leader(filled.study)


@given(st.integers(0, 10_000))
def test_seeds_of_repeats_are_fresh(sweep_seed: int) -> None:
    seeds = repeat_seeds(sweep_seed, 20)
    assert len(set(seeds)) == 20
    assert not set(seeds) & {trial_seed(sweep_seed, number) for number in range(200)}


scores = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=12)


@given(scores)
def test_the_interval_holds_the_mean(found) -> None:
    low, high = bootstrap_interval(found)
    mean = make_repeat(0, found).mean
    slack = 1e-9 * max(1.0, abs(mean)) + 1e-6
    assert min(found) - slack <= low <= mean + slack
    assert mean - slack <= high <= max(found) + slack
    assert bootstrap_interval(found[::-1]) == (low, high)


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    import numpy as np

    rng = np.random.default_rng(1)
    samples = rng.normal(5, 2, size=(120, 12))
    hits = sum(low <= 5 <= high for low, high in (bootstrap_interval(sample) for sample in samples))
    assert 0.82 <= hits / len(samples) <= 1.0


def test_repeats_are_apart_when_their_intervals_are() -> None:
    low, high = make_repeat(0, [1, 1.1, 0.9]), make_repeat(1, [2, 2.1, 1.9])
    assert stands_clear(high, low)
    assert stands_clear(low, high)
    assert not stands_clear(high, make_repeat(2, [0, 2, 4]))
    assert not stands_clear(make_repeat(3, [9, 9]), low)


def test_less_is_better_where_the_study_says_so() -> None:
    kept = {"repeats": {"3": {"1": 2.0}, "4": {"1": 1.0}}}
    assert [repeat.trial_number for repeat in read_repeats(kept, sign=-1)] == [4, 3]
    assert read_repeats({}) == ()


def test_the_export_says_whether_the_leader_stands_clear(fill) -> None:
    filled = fill(scores=(10.0, 30.0, 40.0))
    repeats = confirm(filled, [])
    leader, other = (
        export_trial(filled.study, filled.study.trial(repeat.trial_number)).header for repeat in repeats
    )
    assert any(verdict(*repeats[:2]) == line for line in leader)
    assert not any("the next, trial" in line for line in other)
