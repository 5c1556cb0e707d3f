import pytest
from optuna_dashboard import get_note, save_note

from sweeper.annotate import FIGURE_IDS, annotate_study, trial_note
from sweeper.report.from_store import view_of


@pytest.fixture
def annotated(filled):
    annotate_study(filled.study, view_of(filled.study))
    return filled


def notes_of(filled) -> dict[int, str]:
    attributes = filled.study.storage.get_study_system_attrs(filled.study.study_id)
    trials = filled.study.optuna_study.trials
    return {trial.number: attributes.get(f"dashboard:{trial._trial_id}:note_str:0", "") for trial in trials}


def test_the_study_has_a_note_and_two_figures(annotated) -> None:
    assert "Trial 1 is the best" in get_note(annotated.study.optuna_study)
    keys = " ".join(annotated.study.storage.get_study_system_attrs(annotated.study.study_id))
    for figure_id in FIGURE_IDS.values():
        assert figure_id in keys


def test_every_ended_trial_has_a_note(annotated) -> None:
    notes = notes_of(annotated)
    assert "| `train.learning_rate` | 0.003 | 0.002 |" in notes[1]
    assert "Score **30**" in notes[1]
    assert "**Failed:** The policy loss is NaN." in notes[3]


def test_a_second_time_changes_nothing_but_the_studys_own_note(annotated) -> None:
    before = notes_of(annotated)
    annotate_study(annotated.study, view_of(annotated.study))
    assert notes_of(annotated) == before


def test_a_persons_note_stays(filled) -> None:
    save_note(filled.study.optuna_study, "my own words")
    annotate_study(filled.study, view_of(filled.study))
    assert get_note(filled.study.optuna_study) == "my own words"


def test_marks_of_markdown_are_escaped(filled) -> None:
    from dataclasses import replace

    trial = replace(filled.study.trial(3), failure_message="<script>*bold*|`x`")
    assert "\\<script\\>\\*bold\\*\\|\\`x\\`" in trial_note(trial, {})
