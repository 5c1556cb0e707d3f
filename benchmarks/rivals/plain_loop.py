"""PPO as a single-file implementation writes it, on one benchmark setting; prints one JSON line.

Runs as `python -m benchmarks.rivals.plain_loop SETTING_JSON`. It stands for scripts in the manner of CleanRL (which is
no package that can be installed beside the others): the same setting of 8 environments x 128 steps, four epochs of four
minibatches, Adam, the Nature CNN, every step through PyTorch's ordinary calls, environments by Gymnasium's
SyncVectorEnv or by envpool.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical

GAMMA, GAE_LAMBDA, CLIP, ENTROPY, VALUE, GRADIENT_NORM = 0.99, 0.95, 0.1, 0.01, 0.5, 0.5
WARM_UP_ROLLOUTS = 2


def make_games(setting: dict[str, Any]) -> Any:
    """Breakout with the usual wrappers, stacked by four, 84 x 84."""
    num_envs = setting["num_envs"]
    if setting["backend"] == "Envpool":
        import envpool

        return envpool.make(
            "Breakout-v5", env_type="gymnasium", num_envs=num_envs, episodic_life=True, reward_clip=True, seed=1,
            num_threads=setting["threads"],
        )  # fmt: skip
    import ale_py
    from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation, RecordEpisodeStatistics

    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    gymnasium.register_envs(ale_py)

    def make_game() -> gymnasium.Env[Any, Any]:
        game = gymnasium.make("BreakoutNoFrameskip-v4", disable_env_checker=True)
        game = AtariPreprocessing(RecordEpisodeStatistics(game), terminal_on_life_loss=True)
        return FrameStackObservation(game, 4)

    return gymnasium.vector.SyncVectorEnv([make_game] * num_envs)


class NatureNetwork(nn.Module):
    """Mnih et al. (2015), with a head for the policy and one for the value."""

    def __init__(self, num_actions: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(4, 32, 8, stride=4), nn.ReLU(), nn.Conv2d(32, 64, 4, stride=2), nn.ReLU(),
            nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(),
        )  # fmt: skip
        self.actor, self.critic = nn.Linear(512, num_actions), nn.Linear(512, 1)

    def forward(self, frames: torch.Tensor) -> tuple[Categorical, torch.Tensor]:
        """Actions' distribution and value (N,) of frames (N, 4, 84, 84) in bytes."""
        hidden = self.body(frames / 255.0)
        return Categorical(logits=self.actor(hidden)), self.critic(hidden).flatten()


def run(setting: dict[str, Any]) -> dict[str, float]:
    """Train for `setting["seconds"]` after a warm-up; agent steps per second."""
    torch.set_num_threads(setting["threads"])
    torch.manual_seed(1)
    num_envs, horizon = setting["num_envs"], setting["horizon"]
    games = make_games(setting)
    network = NatureNetwork(4)
    optimizer = torch.optim.Adam(network.parameters(), lr=2.5e-4, eps=1e-5)
    frames = torch.zeros(horizon, num_envs, 4, 84, 84, dtype=torch.uint8)
    actions, log_probs, rewards, dones, values = (torch.zeros(horizon, num_envs) for _ in range(5))
    observation = torch.as_tensor(np.asarray(games.reset()[0]))
    done = torch.zeros(num_envs)
    rollouts, began = 0, time.perf_counter()
    while rollouts <= WARM_UP_ROLLOUTS or time.perf_counter() - began < setting["seconds"]:
        if rollouts == WARM_UP_ROLLOUTS:
            began = time.perf_counter()
        for t in range(horizon):
            frames[t], dones[t] = observation, done
            with torch.no_grad():
                distribution, values[t] = network(observation)
            action = distribution.sample()
            actions[t], log_probs[t] = action, distribution.log_prob(action)
            stepped = games.step(action.numpy().astype(np.int32))
            observation = torch.as_tensor(np.asarray(stepped[0]))
            rewards[t] = torch.as_tensor(np.asarray(stepped[1]), dtype=torch.float32)
            done = torch.as_tensor(np.logical_or(stepped[2], stepped[3]), dtype=torch.float32)
        advantages = torch.zeros_like(rewards)
        with torch.no_grad():
            following, alive = network(observation)[1], 1.0 - done
            running = torch.zeros(num_envs)
            for t in reversed(range(horizon)):
                delta = rewards[t] + GAMMA * following * alive - values[t]
                running = delta + GAMMA * GAE_LAMBDA * alive * running
                advantages[t] = running
                following, alive = values[t], 1.0 - dones[t]
        batch = [
            x.flatten(0, 1) for x in (frames, actions, log_probs, advantages, advantages + values, values)
        ]
        for _ in range(setting["epochs"]):
            for rows in torch.randperm(horizon * num_envs).chunk(setting["minibatches"]):
                update(network, optimizer, *(part[rows] for part in batch))
        rollouts += 1
    seconds = time.perf_counter() - began
    steps = (rollouts - WARM_UP_ROLLOUTS) * horizon * num_envs
    games.close()
    return {"steps_per_second": steps / seconds, "steps": steps, "seconds": seconds}


def update(
    network: NatureNetwork,
    optimizer: torch.optim.Optimizer,
    frames: torch.Tensor,
    actions: torch.Tensor,
    log_probs: torch.Tensor,
    advantages: torch.Tensor,
    returns: torch.Tensor,
    old_values: torch.Tensor,
) -> None:
    """One clipped step on one minibatch."""
    distribution, values = network(frames)
    ratio = (distribution.log_prob(actions) - log_probs).exp()
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    policy_loss = torch.max(-advantages * ratio, -advantages * ratio.clamp(1 - CLIP, 1 + CLIP)).mean()
    clipped = old_values + (values - old_values).clamp(-CLIP, CLIP)
    value_loss = 0.5 * torch.max((values - returns) ** 2, (clipped - returns) ** 2).mean()
    loss = policy_loss + VALUE * value_loss - ENTROPY * distribution.entropy().mean()
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM)
    optimizer.step()


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.argv[1]))), flush=True)
