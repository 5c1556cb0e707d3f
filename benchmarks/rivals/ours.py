"""puffer-sweep's own trainer on one benchmark setting; prints one JSON line.

Runs as `python -m benchmarks.rivals.ours SETTING_JSON`, like the rivals' adapters beside it.
"""

from __future__ import annotations

import json
import os
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: what the sweep's workers do as well

import time
from collections import defaultdict
from typing import Any

import torch

from trainer import load_config, train
from trainer.records import Directive, Progress

WARM_UP_EPOCHS = 2


def overrides(setting: dict[str, Any]) -> dict[str, Any]:
    """The setting in our INI's names."""
    batch_size = setting["num_envs"] * setting["horizon"]
    return {
        "vec.num_envs": setting["num_envs"],
        "train.device": "cpu",
        "train.bptt_horizon": setting["horizon"],
        "train.batch_size": batch_size,
        "train.minibatch_size": batch_size // setting["minibatches"],
        "train.update_epochs": setting["epochs"],
        "train.optimizer": setting["optimizer"],
        "train.precision": setting["precision"],
        "train.total_timesteps": 1_000_000_000,
        "train.checkpoint_interval": 1_000_000,
    }


def run(setting: dict[str, Any]) -> dict[str, Any]:
    """Train for `setting["seconds"]` after a warm-up; agent steps per second, and seconds per step by phase."""
    torch.set_num_threads(setting["threads"])
    config = load_config("atari/breakout" if setting["work"] == "atari" else "CartPole-v1").override(
        overrides(setting)
    )
    if setting["work"] != "atari":
        config = config.override({"policy.hidden_size": 128})
    begin_steps = end_steps = 0
    begin = end = 0.0
    phases: dict[str, float] = defaultdict(float)

    def watch(progress: Progress) -> Directive:
        nonlocal begin_steps, begin, end_steps, end
        now = time.perf_counter()
        if progress.epoch == WARM_UP_EPOCHS:
            begin_steps, begin = progress.agent_steps, now
        elif progress.epoch > WARM_UP_EPOCHS:
            for name, value in progress.metrics.items():
                if name.startswith("seconds/"):
                    phases[name.removeprefix("seconds/")] += value
        end_steps, end = progress.agent_steps, now
        over = progress.epoch > WARM_UP_EPOCHS and now - begin >= setting["seconds"]
        return Directive.STOP if over else Directive.CONTINUE

    train(config, watch)
    steps, seconds = end_steps - begin_steps, end - begin
    profile = {name: 1e6 * value / steps for name, value in phases.items()}
    return {
        "steps_per_second": steps / seconds,
        "steps": steps,
        "seconds": seconds,
        "microseconds_per_step": profile,
    }


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.argv[1]))), flush=True)
