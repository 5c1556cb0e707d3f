"""Configs for sweeps that only pretend to train."""

from __future__ import annotations

import tempfile
from pathlib import Path

from trainer.config import load_config_file, parse_overrides

TEXT = """
[base]
package = gymnasium
env_name = CartPole-v1

[vec]
num_envs = 2
backend = Serial

[train]
device = cpu
num_threads = 1
total_timesteps = 10_000
batch_size = 128
bptt_horizon = 64
minibatch_size = 128
learning_rate = 0.01
checkpoint_interval = 1

[sweep]
method = random
pruner = median
max_runs = 10

[sweep.train.learning_rate]
distribution = log_normal
min = 0.001
max = 1.0
mean = 0.03

[sweep.train.gamma]
distribution = logit_normal
min = 0.8
max = 0.999
mean = 0.98
"""


def planted_config(*settings, text=TEXT):
    """The config above with command-line settings (`--sweep.max-runs 4`)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "planted.ini"
        path.write_text(text, encoding="utf-8")
        return load_config_file(path, overrides=parse_overrides(settings))
