"""`train --jsonl` and `--tensorboard` from the command line."""

import json
import sys

import pytest

from sweeper.cli import run
from sweeper.cli.train import new_folder
from trainer.config import Config


def call(capsys, *arguments: str) -> tuple[int, str, str]:
    code = run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_run_is_logged_where_it_is_asked_to(capsys, here) -> None:
    tiny = (
        "--train.total-timesteps",
        "4096",
        "--train.batch-size",
        "2048",
        "--train.device",
        "cpu",
        "--plain",
        "--jsonl",
        "a/b.jsonl",
    )
    code, _, _ = call(capsys, "train", "CartPole-v1", "-o", "run", "--tensorboard", "events", *tiny)
    assert code == 0
    lines = [json.loads(line) for line in (here / "a" / "b.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    expected = {"losses/policy", "seconds/learn", "seconds/copy", "usage/processors", "usage/memory_bytes"}
    assert expected | {"steps_per_second", "score", "learning_rate"} <= set(lines[0])
    assert [path.name[:19] for path in (here / "events").iterdir()] == ["events.out.tfevents"]


def test_a_file_that_is_no_log_is_not_overwritten(capsys, here) -> None:
    (here / "notes.txt").write_text("precious\n")
    code, _, err = call(capsys, "train", "CartPole-v1", "--jsonl", "notes.txt")
    assert code == 1
    assert "no log of a run" in err
    assert files(here) == ["notes.txt"]


def test_a_missing_tensorboard_names_its_extra(capsys, here, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    code, _, err = call(capsys, "train", "CartPole-v1", "--tensorboard", "events")
    assert code == 1
    assert "puffer-sweep[tensorboard]" in err
    assert files(here) == []


def test_a_runs_folder_has_a_name_for_every_file_system(tmp_path) -> None:
    config = Config().override({"train.data_dir": str(tmp_path), "base.env_name": "my_module:make_env"})
    assert new_folder(config, "my_module:make_env").name == "my_module-make_env-0001"
    assert new_folder(config, "configs/best.ini").name == "best-my_module-make_env-0001"
