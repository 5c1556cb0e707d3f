"""Artifacts in the dashboard: what is listed, what is served, what stays a person's own."""

import hashlib
import io
import json

import pytest
from optuna.artifacts import FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna_dashboard.artifact._backend import list_study_artifacts, list_trial_artifacts

from sweeper.annotate import LiveAnnotations, annotate_study
from sweeper.dashboard import StudyArtifacts
from sweeper.records import TrialState
from sweeper.report.from_store import view_of
from sweeper.store.dashboard_rows import is_unchanged, signed


@pytest.fixture
def shelved(filled):
    folder = filled.study.trial_folder(1)
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.ini").write_text("[train]\n")
    (folder / "video.mp4").write_bytes(b"film")
    (folder / "checkpoints" / "epoch-00000003.pt").write_bytes(b"weights")
    (filled.study.folder / "best.ini").write_text("[best]\n")
    annotate_study(filled.study, view_of(filled.study))
    return filled


def listed(filled, number: int) -> dict[str, str]:
    """Name → id, as optuna-dashboard reads them."""
    storage, study = filled.study.storage, filled.study.optuna_study
    trial = study.trials[number]
    found = list_trial_artifacts(
        storage.get_study_system_attrs(filled.study.study_id),
        storage.get_trial_system_attrs(trial._trial_id),
        trial,
    )
    return {meta["filename"]: meta["artifact_id"] for meta in found}


def test_what_there_is_is_listed_and_served(shelved, tmp_path) -> None:
    artifacts = StudyArtifacts(shelved.study.storage, FileSystemArtifactStore(tmp_path / "uploads"))
    names = listed(shelved, 1)
    assert set(names) == {"config.ini", "video.mp4", "checkpoint.pt"}
    assert listed(shelved, 0) == {}
    for name, content in {
        "config.ini": b"[train]\n",
        "video.mp4": b"film",
        "checkpoint.pt": b"weights",
    }.items():
        with artifacts.open_reader(names[name]) as file:
            assert file.read() == content
    (own,) = list_study_artifacts(shelved.study.storage.get_study_system_attrs(shelved.study.study_id))
    assert own["filename"] == "best.ini"
    with artifacts.open_reader(own["artifact_id"]) as file:
        assert file.read() == b"[best]\n"


def test_what_is_gone_is_not_found_and_no_longer_listed(shelved, tmp_path) -> None:
    artifacts = StudyArtifacts(shelved.study.storage, FileSystemArtifactStore(tmp_path / "uploads"))
    names = listed(shelved, 1)
    (shelved.study.trial_folder(1) / "video.mp4").unlink()
    with pytest.raises(ArtifactNotFound):
        artifacts.open_reader(names["video.mp4"])
    annotate_study(shelved.study, view_of(shelved.study))
    assert set(listed(shelved, 1)) == {"config.ini", "checkpoint.pt"}


def test_uploads_are_a_persons_own(shelved, tmp_path) -> None:
    uploads = tmp_path / "uploads"
    artifacts = StudyArtifacts(shelved.study.storage, FileSystemArtifactStore(uploads))
    uploads.mkdir(exist_ok=True)
    artifacts.write("abc-1", io.BytesIO(b"mine"))
    meta = {"artifact_id": "abc-1", "filename": "notes.txt", "mimetype": "text/plain", "encoding": None}
    study = shelved.study
    study.storage.set_study_system_attr(study.study_id, "artifacts:abc-1", json.dumps(meta))
    annotate_study(study, view_of(study))
    names = [
        m["filename"] for m in list_study_artifacts(study.storage.get_study_system_attrs(study.study_id))
    ]
    assert sorted(names) == ["best.ini", "notes.txt"]
    with artifacts.open_reader("abc-1") as file:
        assert file.read() == b"mine"
    artifacts.remove("abc-1")
    with pytest.raises(ArtifactNotFound):
        artifacts.open_reader("abc-1")


def test_removing_a_studys_own_file_leaves_it(shelved, tmp_path) -> None:
    artifacts = StudyArtifacts(shelved.study.storage, FileSystemArtifactStore(tmp_path / "uploads"))
    artifacts.remove(listed(shelved, 1)["config.ini"])
    assert (shelved.study.trial_folder(1) / "config.ini").is_file()


def test_a_running_sweep_describes_what_is_new(filled) -> None:
    writes = []
    live = LiveAnnotations(filled.study, {}, writes.append)
    trials = filled.study.trials()
    live.look(trials)
    live.look(trials)
    assert len(writes) == 1
    with filled.study.engine.begin() as connection:
        writes[0](connection)
    attributes = filled.study.storage.get_study_system_attrs(filled.study.study_id)
    assert sum(":note_ver" in key for key in attributes) == len(trials)
    from dataclasses import replace

    live.look([replace(trials[0], agent_steps=1), replace(trials[1], state=TrialState.RUNNING)])
    assert len(writes) == 2


def test_a_signature_tells_changed_notes() -> None:
    assert is_unchanged("")
    assert is_unchanged(signed("body"))
    assert is_unchanged(signed("") + "\n")
    assert not is_unchanged(signed("body").replace("body", "mine"))
    assert not is_unchanged("somebody's own")


def test_notes_of_earlier_versions_are_known() -> None:
    old = f"body\n\n<!-- puffer-sweep {hashlib.sha256(b'body').hexdigest()[:12]} -->"
    assert is_unchanged(old)
    assert not is_unchanged(old.replace("body", "mine"))
    assert not is_unchanged("mine")
