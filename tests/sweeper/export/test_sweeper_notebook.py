import pytest

from sweeper import open_study
from sweeper.errors import StudyNotFoundError, SweepError
from sweeper.extras import gather_extras
from sweeper.notebook import FIGURES
from trainer.config import load_config_file


def test_a_study_in_a_notebook(filled, tmp_path) -> None:
    study = open_study(storage=filled.storage)
    assert repr(study) == "<Study mine: 4 trials, best 30>"
    assert study.best.number == 1
    assert study.config().train.learning_rate == 0.002
    assert study.config(2).train.learning_rate == 0.003
    assert "trial 1 of the study mine" in study.ini()
    frame = study.dataframe("pandas")
    assert list(frame["state"]) == ["complete"] * 3 + ["failed"]
    assert frame.loc[1, "train.learning_rate"] == 0.002
    curves = study.curves_dataframe("pandas")
    assert list(curves[curves.trial == 1].score) == [6.0, 12.0, 18.0, 24.0, 30.0]
    for name in FIGURES:
        assert study.figure(name).data or study.figure(name).layout.annotations
    assert study.report(tmp_path / "r.html").is_file()


def test_mistakes_in_a_notebook(filled) -> None:
    with pytest.raises(StudyNotFoundError):
        open_study("yours", filled.storage)
    with pytest.raises(SweepError, match="no such figure"):
        open_study(storage=filled.storage).figure("pie")
    with pytest.raises(SweepError, match="pandas or polars"):
        open_study(storage=filled.storage).dataframe("excel")


def config_with(filled, line: str):
    path = filled.folder / "with.ini"
    path.write_text(filled.ini.read_text().replace("[sweep]\n", f"[sweep]\n{line}\n", 1))
    return load_config_file(path)


def test_files_can_be_tried_first(filled) -> None:
    other = filled.folder / "other.ini"
    other.write_text(
        filled.ini.read_text().replace("gamma = 0.99\n", "gamma = 0.5\n").replace("= 0.003", "= 0.004")
    )
    extras, notes = gather_extras(config_with(filled, f"enqueue = {other}"), filled.storage)
    (suggestion,) = extras.enqueued
    assert dict(suggestion.values) == {"train.learning_rate": 0.004, "train.gamma": 0.8}
    assert "train.gamma" in notes[0]


def test_other_studies_can_be_learnt_from(filled) -> None:
    extras, notes = gather_extras(config_with(filled, "warm_start = mine"), filled.storage)
    assert [trial.score for trial in extras.earlier] == [10.0, 30.0, 20.0]
    assert notes == ("Learning from 3 trials of the study mine.",)


def test_a_study_outside_the_space_teaches_nothing(filled) -> None:
    config = config_with(filled, "warm_start = mine").override({"sweep.train.gamma.min": 0.995})
    with pytest.raises(SweepError, match="nothing can be learnt"):
        gather_extras(config, filled.storage)


def test_without_either_there_is_nothing(filled) -> None:
    extras, notes = gather_extras(filled.config, filled.storage)
    assert (extras.enqueued, extras.earlier, notes) == ((), (), ())
