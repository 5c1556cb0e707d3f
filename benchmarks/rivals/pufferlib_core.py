"""PufferLib 3's trainer (package pufferlib-core) on one benchmark setting; prints one JSON line.

Runs as `python -m benchmarks.rivals.pufferlib_core SETTING_JSON`. The package's advantage kernel is built for CUDA;
where it does not load, the operator is registered here as a NumPy loop in place, which is faster than PyTorch's (76 µs
at 32 × 64), so that the rival is not held back by it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from typing import Any

import gymnasium
import numpy as np
import pufferlib
import pufferlib.emulation
import pufferlib.models
import pufferlib.pufferl
import pufferlib.vector
import torch


def advantages_in_place(
    values: torch.Tensor,
    rewards: torch.Tensor,
    dones: torch.Tensor,
    ratios: torch.Tensor,
    advantages: torch.Tensor,
    gamma: float,
    gae_lambda: float,
    rho_clip: float,
    c_clip: float,
) -> None:
    """Clipped importance-weighted advantages of (S, T) segments, last step without a successor."""
    v, r, d = (tensor.detach().float().numpy() for tensor in (values, rewards, dones))
    ratio = ratios.detach().float().numpy()
    rho, c = np.minimum(ratio, rho_clip), np.minimum(ratio, c_clip)
    out = advantages.numpy()
    running = np.zeros(len(v), np.float32)
    for t in range(v.shape[1] - 2, -1, -1):
        alive = 1.0 - d[:, t + 1]
        delta = rho[:, t] * (r[:, t + 1] + gamma * v[:, t + 1] * alive - v[:, t])
        running = delta + gamma * gae_lambda * c[:, t] * running * alive
        out[:, t] = running


def register_kernel() -> None:
    """Give the trainer its operator where the compiled one is missing."""
    if pufferlib.pufferl._C_AVAILABLE:
        return
    library = torch.library.Library("pufferlib", "DEF")
    library.define(
        "compute_puff_advantage(Tensor values, Tensor rewards, Tensor dones, Tensor ratio, Tensor(a!) advantages, "
        "float gamma, float gae_lambda, float rho, float c) -> ()"
    )
    library.impl("compute_puff_advantage", advantages_in_place, "CPU")
    register_kernel.library = library  # type: ignore[attr-defined]  # kept alive with the function
    pufferlib.pufferl._C_AVAILABLE = True


def make_atari(buf: Any = None, seed: int = 0) -> Any:
    """Breakout, 84×84 grey, frameskip 4, stack 4, by Gymnasium's wrappers: how its users run Atari."""
    import ale_py

    gymnasium.register_envs(ale_py)
    env = gymnasium.make("ALE/Breakout-v5", frameskip=1, repeat_action_probability=0.0)
    env = gymnasium.wrappers.AtariPreprocessing(env, noop_max=30, frame_skip=4, screen_size=84)
    env = gymnasium.wrappers.FrameStackObservation(env, 4)
    return pufferlib.emulation.GymnasiumPufferEnv(env=env, buf=buf, seed=seed)


class NativeCartPole(pufferlib.PufferEnv):  # type: ignore[misc]
    """Gymnasium's own CartPoleVectorEnv behind PufferLib's native interface."""

    def __init__(self, num_envs: int, buf: Any = None, seed: int = 0) -> None:
        self.envs = gymnasium.make_vec(
            "CartPole-v1", num_envs=num_envs, vectorization_mode="vector_entry_point"
        )
        self.single_observation_space = self.envs.single_observation_space
        self.single_action_space = self.envs.single_action_space
        self.num_agents = num_envs
        super().__init__(buf)

    def reset(self, seed: int | None = None) -> tuple[np.ndarray, list[Any]]:
        self.observations[:], _ = self.envs.reset(seed=seed)
        return self.observations, []

    def step(self, actions: np.ndarray) -> tuple[Any, ...]:
        self.observations[:], self.rewards[:], self.terminals[:], self.truncations[:], _ = self.envs.step(
            actions
        )
        return self.observations, self.rewards, self.terminals, self.truncations, []

    def close(self) -> None:
        self.envs.close()


def make_vecenv(setting: dict[str, Any]) -> Any:
    backend, num_envs = setting["backend"], setting["num_envs"]
    if setting["work"] == "cartpole":
        return pufferlib.vector.make(
            NativeCartPole, env_kwargs={"num_envs": num_envs}, backend=pufferlib.PufferEnv
        )
    workers = {"num_workers": os.cpu_count()} if backend == "Multiprocessing" else {}
    return pufferlib.vector.make(
        make_atari, backend=getattr(pufferlib.vector, backend), num_envs=num_envs, seed=1, **workers
    )


def run(setting: dict[str, Any]) -> dict[str, float]:
    """Train for `setting["seconds"]` after a warm-up of two epochs; agent steps per second."""
    torch.set_num_threads(setting["threads"])
    register_kernel()
    vecenv = make_vecenv(setting)
    network = pufferlib.models.Convolutional if setting["work"] == "atari" else pufferlib.models.Default
    extra = {"framestack": 4, "flat_size": 64 * 7 * 7} if setting["work"] == "atari" else {"hidden_size": 128}
    policy = network(vecenv.driver_env, **extra)
    if not hasattr(policy, "forward_eval"):
        policy.forward_eval = policy.forward
    batch_size = setting["num_envs"] * setting["horizon"]
    config = {
        "env": setting["work"], "device": "cpu", "seed": 1, "torch_deterministic": True, "cpu_offload": False,
        "precision": setting["precision"], "compile": False, "compile_mode": "default", "compile_fullgraph": True,
        "total_timesteps": 10**9, "batch_size": batch_size, "bptt_horizon": setting["horizon"],
        "minibatch_size": batch_size // setting["minibatches"], "max_minibatch_size": 32768,
        "update_epochs": setting["epochs"], "optimizer": setting["optimizer"], "learning_rate": 1e-3,
        "anneal_lr": True, "min_lr_ratio": 0.0, "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_eps": 1e-8,
        "max_grad_norm": 0.5, "gamma": 0.99, "gae_lambda": 0.95, "clip_coef": 0.2, "vf_coef": 0.5,
        "vf_clip_coef": 0.2, "ent_coef": 0.01, "vtrace_rho_clip": 1.0, "vtrace_c_clip": 1.0, "prio_alpha": 0.8,
        "prio_beta0": 0.2, "data_dir": tempfile.mkdtemp(), "checkpoint_interval": 10**9, "use_rnn": False,
    }  # fmt: skip
    trainer = pufferlib.pufferl.PuffeRL(config, vecenv, policy)
    trainer.print_dashboard = lambda *_, **__: None
    begin_steps, begin = 0, time.perf_counter()
    epoch = 0
    while epoch < 3 or time.perf_counter() - begin < setting["seconds"]:
        if epoch == 2:
            begin_steps, begin = trainer.global_step, time.perf_counter()
        trainer.evaluate()
        trainer.train()
        epoch += 1
    steps, seconds = trainer.global_step - begin_steps, time.perf_counter() - begin
    return {"steps_per_second": steps / seconds, "steps": steps, "seconds": seconds}


if __name__ == "__main__":
    devnull = os.open(os.devnull, os.O_WRONLY)
    stdout = os.dup(1)
    os.dup2(devnull, 1)  # its dashboard prints whatever one does
    answer = run(json.loads(sys.argv[1]))
    sys.stdout.flush()
    os.dup2(stdout, 1)
    print(json.dumps(answer), flush=True)
    os._exit(0)  # its utilisation thread and worker processes do not end by themselves
