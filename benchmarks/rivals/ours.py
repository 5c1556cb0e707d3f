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
from typing import TYPE_CHECKING, Any

import torch

from trainer import load_config, train
from trainer.config import resolve
from trainer.device import torch_settings
from trainer.loop import Trainer
from trainer.records import Directive, EnvironmentFacts, Progress
from trainer.vector import make_vector

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.config import Config

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
        "train.prio_alpha": 0.8,  # as in PufferLib's own defaults: the same work for both
        "train.prio_beta0": 0.2,
        "train.num_threads": setting["threads"],
        "train.total_timesteps": 1_000_000_000,
        "train.checkpoint_interval": 1_000_000,
    }


def config_of(setting: dict[str, Any]) -> Config:
    """A shipped config with the setting over it."""
    if setting["work"] == "atari":
        return load_config("atari/breakout").override(overrides(setting))
    return load_config("CartPole-v1").override(
        overrides(setting) | {"policy.hidden_size": 128, "policy.activation": "relu"}
    )


def run(setting: dict[str, Any]) -> dict[str, Any]:
    """Train for `setting["seconds"]` after a warm-up; agent steps per second, and seconds per step by phase."""
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

    train(config_of(setting), watch)
    steps, seconds = end_steps - begin_steps, end - begin
    return {
        "steps_per_second": steps / seconds,
        "steps": steps,
        "seconds": seconds,
        "microseconds_per_step": {name: 1e6 * value / steps for name, value in phases.items()},
    }


def run_stages(setting: dict[str, Any]) -> dict[str, Any]:
    """The no-overlap limit: environments, acting and learning, each timed alone at full speed."""
    config, device = config_of(setting), torch.device("cpu")
    with torch_settings(config.train, device):
        vector = make_vector(config, device)
        facts = EnvironmentFacts(agents_per_env=vector.agents_per_env, backend=vector.backend)
        config = resolve(config, facts, cuda_available=False).config
        trainer = Trainer(config, vector, device, folder=None, on_heartbeat=lambda: None)
        trainer.begin(None)
        trainer.compute.refresh()
        for _ in range(WARM_UP_EPOCHS):
            trainer.collector.collect(trainer.buffer)
            trainer.learner.update(trainer.buffer, trainer.coefficients)
        batch = trainer.batch_steps
        actions = torch.randint(0, vector.action_layout.sizes[0], (vector.num_agents, 1))

        def play() -> None:
            vector.send(actions)
            vector.recv()

        frames = trainer.buffer.observations[0, : vector.num_agents]
        noise = torch.rand(vector.num_agents, 1)

        def act_once() -> None:
            with torch.no_grad():
                trainer.collector.act_function(
                    trainer.compute.agent, trainer.parts.memory.distribution, frames, (),
                    torch.zeros(vector.num_agents, dtype=torch.bool), noise,
                )  # fmt: skip

        def learn() -> None:
            trainer.learner.update(trainer.buffer, trainer.coefficients)

        share = setting["seconds"] / 3
        stages = {
            "environment": _seconds_per_call(play, share) / vector.num_agents,
            "forward": _seconds_per_call(act_once, share) / vector.num_agents,
            "learn": _seconds_per_call(learn, share) / batch,
        }
        vector.close()
    return {
        "steps_per_second": 1.0 / sum(stages.values()),
        "microseconds_per_step": {name: 1e6 * value for name, value in stages.items()},
    }


def _seconds_per_call(work: Callable[[], None], seconds: float) -> float:
    work()
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        work()
        count += 1
    return (time.perf_counter() - began) / count


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    if "core" in asked:
        os.sched_setaffinity(0, {asked["core"]})
    print(json.dumps((run_stages if asked.get("stages") else run)(asked)), flush=True)
