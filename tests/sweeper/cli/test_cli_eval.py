"""`puffer-sweep eval` on folders, checkpoints wherever they lie, and files that are none."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from sweeper.cli import run
from trainer.checkpoint import FORMAT, VERSION


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("harm"),)


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run_it(*arguments: str) -> tuple[int, str, str]:
        code = run(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_it


@pytest.fixture
def trained(call) -> Path:
    tiny = ("--train.total-timesteps", "4096", "--train.device", "cpu", "--plain")
    assert call("train", "ocean/squared", "-o", "run", *tiny)[0] == 0
    return Path("run")


def test_a_run_is_evaluated_sampled_and_greedily(call, trained) -> None:
    """More episodes than are played side by side, too."""
    code, out, _ = call("eval", str(trained), "--episodes", "40")
    assert code == 0
    assert "over 40 episodes (95 % interval" in out
    code, out, _ = call("eval", str(trained), "--episodes", "40", "--greedy", "--json")
    record = json.loads(out)
    assert code == 0
    assert len(record["scores"]) == 40
    assert record["interval"][0] <= record["mean"] <= record["interval"][1]
    code, out, _ = call("eval", str(trained), "--episodes", "1")
    assert "over 1 episode\n" in out


def test_a_checkpoint_alone_knows_its_config(call, trained) -> None:
    (path,) = (trained / "checkpoints").iterdir()
    expected = json.loads(call("eval", str(path), "--json")[1])
    shutil.copy(path, "elsewhere.pt")
    code, out, _ = call("eval", "elsewhere.pt", "--json")
    assert code == 0
    assert json.loads(out)["scores"] == expected["scores"]


def test_a_truncated_checkpoint_is_refused(call, trained) -> None:
    (path,) = (trained / "checkpoints").iterdir()
    path.write_bytes(path.read_bytes()[:2000])
    code, _, err = call("eval", str(trained))
    assert code == 1
    assert "no whole checkpoint" in err


@pytest.mark.parametrize("write", ["text", "pickle", "archive", "tensor"])
def test_what_is_no_checkpoint_is_refused_and_runs_nothing(call, write) -> None:
    if write == "text":
        Path("foreign.pt").write_text("hello")
    elif write == "pickle":
        Path("foreign.pt").write_bytes(pickle.dumps(Evil()))
    elif write == "archive":
        torch.save({"format": FORMAT, "version": VERSION, "agent": Evil()}, "foreign.pt")
    else:
        torch.save(torch.zeros(3), "foreign.pt")
    code, _, err = call("eval", "foreign.pt")
    assert code == 1
    assert err.startswith("Error: foreign.pt: This")
    assert not Path("harm").exists()
