"""Stable-Baselines3's PPO on one benchmark setting; prints one JSON line.

Runs as `python -m benchmarks.rivals.stable_baselines3 SETTING_JSON`.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import gymnasium
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_atari_env, make_vec_env
from stable_baselines3.common.vec_env import SubprocVecEnv, VecFrameStack


class Stopwatch(BaseCallback):
    """Counts steps from the third rollout's start until the time is up."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.limit_seconds = seconds
        self.rollouts = 0
        self.begin_steps, self.begin = 0, 0.0
        self.end_steps, self.end = 0, 0.0

    def _on_step(self) -> bool:
        return self.rollouts < 4 or time.perf_counter() - self.begin < self.limit_seconds

    def _on_rollout_start(self) -> None:
        self.rollouts += 1
        now = time.perf_counter()
        if self.rollouts == 3:
            self.begin_steps, self.begin = self.num_timesteps, now
        self.end_steps, self.end = self.num_timesteps, now


def run(setting: dict[str, Any]) -> dict[str, float]:
    """Train for about `setting["seconds"]` after a warm-up of two rollouts; agent steps per second."""
    torch.set_num_threads(setting["threads"])
    num_envs, horizon = setting["num_envs"], setting["horizon"]
    if setting["work"] == "atari":
        import ale_py

        gymnasium.register_envs(ale_py)
        subprocesses = {"vec_env_cls": SubprocVecEnv} if setting["backend"] == "Subproc" else {}
        env = VecFrameStack(
            make_atari_env("BreakoutNoFrameskip-v4", n_envs=num_envs, seed=1, **subprocesses), 4
        )
        policy, extra = "CnnPolicy", {}
    else:
        env = make_vec_env("CartPole-v1", n_envs=num_envs, seed=1)
        policy, extra = "MlpPolicy", {"policy_kwargs": {"net_arch": [128]}}
    model = PPO(
        policy, env, n_steps=horizon, batch_size=num_envs * horizon // setting["minibatches"],
        n_epochs=setting["epochs"], device="cpu", seed=1, learning_rate=2.5e-4, **extra,
    )  # fmt: skip
    watch = Stopwatch(setting["seconds"])
    model.learn(10**9, callback=watch)
    steps, seconds = watch.end_steps - watch.begin_steps, watch.end - watch.begin
    env.close()
    return {"steps_per_second": steps / seconds, "steps": steps, "seconds": seconds}


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.argv[1]))), flush=True)
