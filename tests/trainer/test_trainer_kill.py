"""A run that is killed outright goes on from its newest checkpoint as if nothing had happened."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from trainer import load_config, train
from trainer.checkpoint import list_checkpoints, load_checkpoint

ROOT = Path(__file__).parents[2]

SETTINGS = {
    "vec.num_envs": 8,
    "train.device": "cpu",
    "train.num_threads": 1,
    "train.bptt_horizon": 16,
    "train.minibatch_size": 64,
    "train.total_timesteps": 128 * 6,
    "train.checkpoint_interval": 1,
}

KILLED = """
import json, os, signal, sys
from pathlib import Path
from trainer import load_config, train

name, folder, epoch, settings = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])

def on_progress(progress):
    if progress.epoch == epoch:
        os.kill(os.getpid(), signal.SIGKILL)

train(load_config(name).override(settings), on_progress, folder=folder)
"""


@pytest.mark.parametrize(("name", "epoch"), [("ocean/memory", 2), ("ocean/breakout", 5)])
def test_a_killed_run_ends_bit_identical(tmp_path, name, epoch) -> None:
    arguments = [
        sys.executable,
        "-c",
        KILLED,
        name,
        str(tmp_path / "killed"),
        str(epoch),
        json.dumps(SETTINGS),
    ]
    killed = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    newest = list_checkpoints(tmp_path / "killed")[-1]
    assert load_checkpoint(newest).epoch == epoch - 1
    config = load_config(name).override(SETTINGS)
    resumed = train(config, folder=tmp_path / "killed", resume_from=newest)
    whole = train(config, folder=tmp_path / "whole")
    a, b = (load_checkpoint(result.checkpoint) for result in (resumed, whole))
    assert a.agent_steps == b.agent_steps
    assert all(torch.equal(a.agent[key], b.agent[key]) for key in b.agent)
