"""`enqueue` and `warm_start` through `Sweep(config)`, as a notebook uses them."""

from __future__ import annotations

import pytest
from planted_rehearsal import Notes, Rehearsal

from sweeper.errors import StudyNotFoundError
from trainer.errors import PufferError


@pytest.fixture
def rehearsal(tmp_path):
    return Rehearsal(tmp_path)


def test_an_enqueued_config_is_tried_behind_the_first_two(rehearsal, tmp_path) -> None:
    other = tmp_path / "other.ini"
    other.write_text("[train]\nlearning_rate = 0.0123\n")
    rehearsal.run("--sweep.max-runs", "4", "--sweep.enqueue", f"[{str(other)!r}]")
    trials = rehearsal.study.trials()
    assert [trial.attributes["source"] for trial in trials[:3]] == ["config", "means", "enqueued"]
    assert trials[2].values["train.learning_rate"] == pytest.approx(0.0123)


def test_a_config_can_be_enqueued_in_the_ini_itself(rehearsal) -> None:
    written = "train.learning_rate=0.0123"
    rehearsal.run("--sweep.max-runs", "4", "--sweep.enqueue", f"[{written!r}]")
    trial = rehearsal.study.trials()[2]
    assert trial.attributes["source"] == "enqueued"
    assert trial.values["train.learning_rate"] == pytest.approx(0.0123)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("train.seed=3", "is not searched"),
        ("train.learning_rat=0.1", "Did you mean train.learning_rate"),
        ("train.learning_rate=fast", "fast"),
        ("train.learning_rate=", "learning_rate"),
    ],
)
def test_what_cannot_be_enqueued_is_refused_before_anything_is_written(rehearsal, written, said) -> None:
    with pytest.raises(PufferError, match=said):
        rehearsal.run("--sweep.enqueue", f"[{written!r}]")
    assert not rehearsal.storage.exists()


def test_a_study_to_learn_from_is_learnt_from(rehearsal) -> None:
    rehearsal.run("--sweep.max-runs", "6", name="first")
    listener = Notes()
    outcome = rehearsal.run("--sweep.max-runs", "4", "--sweep.warm-start", "['first']", listener=listener)
    assert sum(outcome.counts.values()) == 4
    assert any("Learning from 6 trials of the study first" in note for note in listener.notes)


def test_a_study_that_is_not_there_is_refused_before_anything_is_written(rehearsal) -> None:
    rehearsal.run("--sweep.max-runs", "1", name="first")
    with pytest.raises(StudyNotFoundError, match="second"):
        rehearsal.run("--sweep.warm-start", "['second']")
    with pytest.raises(StudyNotFoundError):
        _ = rehearsal.study
