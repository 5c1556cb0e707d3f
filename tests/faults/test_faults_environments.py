"""An environment that hangs in native code takes the worker along, and the sweep knows which and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeper.launchers.cores import SlotPlan
from sweeper.launchers.local import LocalLauncher
from sweeper.loop import Sweep
from sweeper.records import TrialState
from sweeper.store import open_store
from trainer.config import load_config_file
from trainer.errors import FailureKind

TEXT = """
[base]
env_name = planted_environments:Faulty

[vec]
num_envs = 2
backend = Serial
timeout_seconds = 2

[env]
fault = hang in native code
victim = -1

[train]
device = cpu
num_threads = 1
total_timesteps = 1_000
batch_size = 32
bptt_horizon = 16
minibatch_size = 32

[sweep]
method = random
pruner = median
max_runs = 1
retries = 0

[sweep.train.learning_rate]
distribution = log_normal
min = 0.001
max = 1.0
mean = 0.03
"""


@pytest.mark.slow
def test_the_account_is_in_the_trials_failure(tmp_path):
    path = tmp_path / "hang.ini"
    path.write_text(TEXT, encoding="utf-8")
    storage = tmp_path / "studies.db"
    launcher = LocalLauncher(SlotPlan((None,), 1))
    Sweep(load_config_file(path), storage, "hang", launcher=launcher).run()
    (trial,) = open_store(storage, must_exist=True).open("hang").trials()
    assert (trial.state, trial.failure_kind) == (TrialState.FAILED, FailureKind.ENVIRONMENT)
    assert "hangs in native code" in trial.failure_message
    assert "Environment 0 (Serial) has not come back" in trial.attributes["log_tail"]
    assert "hang_in_native_code" in trial.attributes["log_tail"]
    assert Path(storage).is_file()
