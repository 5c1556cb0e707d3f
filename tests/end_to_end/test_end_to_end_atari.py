"""The main job through the command line: a real sweep on Atari, killed, continued, exported, trained again."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.config import dump_config, load_config_file

pytest.importorskip("ale_py", reason="Atari is not installed")

PROGRAM = [sys.executable, "-m", "sweeper.cli"]
ATARI = Path(__file__).parents[2] / "config" / "atari.ini"
SMALL = ["--train.total-timesteps", "2048", "--vec.num-envs", "8", "--train.bptt-horizon", "32"]
SMALL += ["--train.minibatch-size", "128", "--sweep.max-runs", "3", "--sweep.method", "Random"]
SMALL += [
    "--sweep.pruner",
    "none",
    "--sweep.eval-episodes",
    "2",
    "--sweep.workers",
    "1",
    "--train.checkpoint-interval",
    "2",
]
START = [*PROGRAM, "start", str(ATARI), "--study", "tiny", "--json", *SMALL]


def run(folder: Path, *arguments: str, code: int = 0) -> str:
    done = subprocess.run([*PROGRAM, *arguments], cwd=folder, capture_output=True, text=True, timeout=280)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def events(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> tuple[Path, list[dict], list[dict]]:
    """A sweep killed without warning in its second trial, and continued by the same command."""
    folder = tmp_path_factory.mktemp("sweep")
    before: list[dict] = []
    process = subprocess.Popen(START, cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        before.append(json.loads(line))
        if before[-1]["event"] == "trial_reported" and before[-1]["trial"] == 1:
            os.kill(process.pid, signal.SIGKILL)
            break
    process.wait(timeout=60)
    process.stdout.close()
    done = subprocess.run(START, cwd=folder, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, before, events(done.stdout)


def test_the_same_command_continues_after_a_kill(swept) -> None:
    _folder, before, after = swept
    finished_before = [event["trial"] for event in before if event["event"] == "trial_finished"]
    finished_after = [event["trial"] for event in after if event["event"] == "trial_finished"]
    assert sorted(finished_before + finished_after) == [0, 1, 2]
    assert after[-1]["event"] == "sweep_finished"
    assert after[-1]["reason"] == "runs"
    assert after[-1]["counts"]["complete"] == 3


def test_every_trial_has_a_score_and_a_curve(swept) -> None:
    folder, _, _ = swept
    status = json.loads(run(folder, "status", "tiny", "--json"))
    assert [trial["state"] for trial in status["trials"]] == ["complete"] * 3
    for trial in status["trials"]:
        assert trial["score"] == trial["score"]
        assert trial["agent_steps"] >= 2048
        lines = (
            (folder / "studies" / "tiny" / f"trial-{trial['trial']:04d}" / "curve.jsonl")
            .read_text()
            .splitlines()
        )
        steps = [json.loads(line)["agent_steps"] for line in lines]
        assert steps == sorted(set(steps))
        assert steps[-1] == trial["agent_steps"]
    assert len({trial["values"]["train.learning_rate"] for trial in status["trials"]}) == 3


def test_it_leaves_a_report_and_the_best_config(swept) -> None:
    folder, _, after = swept
    report = (folder / "studies" / "tiny" / "report.html").read_text(encoding="utf-8")
    assert "tiny" in report
    best = load_config_file(folder / "studies" / "tiny" / "best.ini")
    assert best.train.learning_rate == after[-1]["best"]["values"]["train.learning_rate"]


def test_the_export_is_the_trials_config_and_trains_the_same_agent(swept) -> None:
    folder, _before, _ = swept
    # Trial 0 ran in one piece, so its whole curve must come again.
    run(folder, "export", "tiny", "--trial", "0", "-o", "zero.ini")
    exported = load_config_file(folder / "zero.ini")
    trial_folder = folder / "studies" / "tiny" / "trial-0000"
    own = load_config_file(trial_folder / "config.ini", fill_in_default=False)
    assert exported == own.override({"train.device": "auto"})
    assert dump_config(exported) in (folder / "zero.ini").read_text()
    finished = events(run(folder, "train", "zero.ini", "-o", "again", "--json"))[-1]
    assert finished["status"] == "completed"

    def curve(path: Path) -> list[tuple]:
        records = [json.loads(line) for line in (path / "curve.jsonl").read_text().splitlines()]
        return [
            (record["agent_steps"], record["score"], record["metrics"]["losses/policy"]) for record in records
        ]

    assert curve(folder / "again") == curve(trial_folder)


def test_an_agent_is_evaluated(swept) -> None:
    folder, _, _ = swept
    result = json.loads(run(folder, "eval", "tiny", "--episodes", "2", "--json"))
    assert len(result["scores"]) == 2


def test_a_changed_setting_is_refused_with_the_difference(swept) -> None:
    folder, _, _ = swept
    arguments = [*START[len(PROGRAM) :], "--train.total-timesteps", "4096"]
    done = subprocess.run([*PROGRAM, *arguments], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "train.total_timesteps" in done.stderr
    assert "Traceback" not in done.stderr
