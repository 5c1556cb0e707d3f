"""Checkpoints: whole or not at all, and no code in them."""

from __future__ import annotations

import pickle
import zipfile

import pytest
import torch

from trainer.checkpoint import (
    Checkpoint,
    checkpoint_path,
    config_of_checkpoint,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from trainer.config import Config, dump_config
from trainer.errors import CheckpointError


def some_checkpoint(epoch: int = 1) -> Checkpoint:
    return Checkpoint(
        config_text=dump_config(Config().override({"train.gamma": 0.5})),
        agent={"weight": torch.arange(2000.0)},
        optimizer={"state": {}, "param_groups": []},
        epoch=epoch,
        agent_steps=epoch * 100,
        uptime_seconds=1.5,
        random={"cpu": torch.get_rng_state()},
    )


def test_what_is_saved_comes_back(tmp_path) -> None:
    path = save_checkpoint(some_checkpoint(), tmp_path)
    assert path == checkpoint_path(tmp_path, 1)
    loaded = load_checkpoint(path)
    assert torch.equal(loaded.agent["weight"], torch.arange(2000.0))
    assert (loaded.epoch, loaded.agent_steps, loaded.uptime_seconds) == (1, 100, 1.5)
    assert config_of_checkpoint(path).train.gamma == 0.5


def test_only_the_newest_stay(tmp_path) -> None:
    for epoch in (2, 9, 10, 100, 101):
        save_checkpoint(some_checkpoint(epoch), tmp_path)
    assert [load_checkpoint(path).epoch for path in list_checkpoints(tmp_path)] == [10, 100, 101]


def test_a_failed_write_leaves_the_older_ones_and_no_rubbish(tmp_path, monkeypatch) -> None:
    save_checkpoint(some_checkpoint(1), tmp_path)

    def fail(content, file) -> None:
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(CheckpointError, match="No space left"):
        save_checkpoint(some_checkpoint(2), tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["epoch-00000001.pt"]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path, share) -> None:
    path = save_checkpoint(some_checkpoint(), tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CheckpointError, match="no whole checkpoint"):
        load_checkpoint(path)


def test_a_flipped_bit_among_the_weights_is_refused(tmp_path) -> None:
    path = save_checkpoint(some_checkpoint(), tmp_path)
    content = bytearray(path.read_bytes())
    where = bytes(content).index(torch.arange(100.0, 110.0).numpy().tobytes())
    content[where + 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="no whole checkpoint"):
        load_checkpoint(path)


class Evil:
    def __reduce__(self):
        return (open, ("evil.txt", "w"))


@pytest.mark.parametrize("kind", ["pickle", "zip", "text", "torch", "evil", "folder", "missing"])
def test_foreign_files_are_refused_and_never_run(tmp_path, monkeypatch, kind) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "some.pt"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Evil()))
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.txt", "hello")
    elif kind == "text":
        path.write_text("[base]\n")
    elif kind == "torch":
        torch.save({"weights": torch.zeros(3)}, path)
    elif kind == "evil":
        torch.save({"format": "puffer-sweep checkpoint", "agent": Evil()}, path)
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(CheckpointError):
        load_checkpoint(path)
    assert not (tmp_path / "evil.txt").exists()


def test_a_newer_version_is_refused_by_name(tmp_path) -> None:
    path = tmp_path / "newer.pt"
    torch.save({"format": "puffer-sweep checkpoint", "version": 99}, path)
    with pytest.raises(CheckpointError, match="another version"):
        load_checkpoint(path)
