"""The runs whose learning curves are kept, and how they are summed up."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from trainer import train
from trainer.config import Config, load_config_file
from trainer.envs.layout import ActionLayout, ObservationLayout
from trainer.records import Directive, Progress
from trainer.vector.base import EpisodeStats, StepBatch, VectorEnv

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
CURVES = Path(__file__).parent / "curves.json"
NUM_POINTS = 5


class Recall(VectorEnv):
    """A cue of +1 or -1 at the first step, `delay` blank steps, then one reward for the action that matches
    it.

    Without memory half of the answers are right, whatever is learnt.
    """

    def __init__(self, num_envs: int = 64, delay: int = 3) -> None:
        self.num_envs = self.num_agents = self.batch_agents = num_envs
        self.agents_per_env = 1
        self.observation_layout = ObservationLayout((2,), torch.float32)
        self.action_layout = ActionLayout("discrete", sizes=(2,))
        self.device = torch.device("cpu")
        self.backend = "Serial"
        self.delay = delay
        self.generator = torch.Generator()

    def reset(self, seed: int) -> None:
        self.generator.manual_seed(seed)
        self.cue = torch.randint(0, 2, (self.num_envs,), generator=self.generator)
        self.clock = torch.randint(0, self.delay + 1, (self.num_envs,), generator=self.generator)
        none = torch.zeros(self.num_envs, dtype=torch.bool)
        self.batch = StepBatch(
            0, self.num_envs, self._observe(), torch.zeros(self.num_envs), none, none, ~none
        )

    def _observe(self) -> torch.Tensor:
        cue = (2.0 * self.cue - 1.0) * (self.clock == 0)
        return torch.stack([cue, (self.clock == self.delay).float()], 1)

    def recv(self) -> StepBatch:
        return self.batch

    def send(self, actions: torch.Tensor) -> None:
        ended = self.clock == self.delay
        rewards = ((actions[:, 0] == self.cue) & ended).float()
        episodes = None
        if ended.any():
            over = ended.nonzero().squeeze(1)
            lengths = torch.full_like(over, self.delay + 1)
            episodes = EpisodeStats(rewards[over].double(), lengths, rows=over)
        fresh = torch.randint(0, 2, (self.num_envs,), generator=self.generator)
        self.cue = torch.where(ended, fresh, self.cue)
        self.clock = torch.where(ended, 0, self.clock + 1)
        none = torch.zeros_like(ended)
        self.batch = StepBatch(
            0, self.num_envs, self._observe(), rewards, ended, none, ~none, episodes=episodes
        )

    def close(self) -> None:
        pass


class Catch(VectorEnv):
    """A ball falls through a picture of 9 x 9 cells, 4 x 4 bytes each; below, a bat is to meet it: one reward.

    The smallest pictures that the convolutional policy takes. A bat that does not look catches one in nine.
    """

    CELLS = 9
    BALL, BAT = 255, 120

    def __init__(self, num_envs: int = 64) -> None:
        self.num_envs = self.num_agents = self.batch_agents = num_envs
        self.agents_per_env = 1
        self.observation_layout = ObservationLayout((1, 4 * self.CELLS, 4 * self.CELLS), torch.uint8)
        self.action_layout = ActionLayout("discrete", sizes=(3,))
        self.device = torch.device("cpu")
        self.backend = "Serial"
        self.generator = torch.Generator()
        self.rows = torch.arange(num_envs)

    def _draw(self) -> torch.Tensor:
        return torch.randint(0, self.CELLS, (self.num_envs,), generator=self.generator)

    def reset(self, seed: int) -> None:
        self.generator.manual_seed(seed)
        self.ball, self.bat = self._draw(), self._draw()
        self.height = torch.randint(0, self.CELLS - 1, (self.num_envs,), generator=self.generator)
        none = torch.zeros(self.num_envs, dtype=torch.bool)
        rewards = torch.zeros(self.num_envs)
        self.batch = StepBatch(0, self.num_envs, self._observe(), rewards, none, none, ~none)

    def _observe(self) -> torch.Tensor:
        cells = torch.zeros(self.num_envs, self.CELLS, self.CELLS, dtype=torch.uint8)
        cells[self.rows, -1, self.bat] = self.BAT
        cells[self.rows, self.height, self.ball] = self.BALL
        return cells.repeat_interleave(4, 1).repeat_interleave(4, 2).unsqueeze(1)

    def recv(self) -> StepBatch:
        return self.batch

    def send(self, actions: torch.Tensor) -> None:
        self.bat = (self.bat + actions[:, 0] - 1).clamp(0, self.CELLS - 1)
        self.height += 1
        ended = self.height == self.CELLS - 1
        rewards = ((self.bat == self.ball) & ended).float()
        episodes = None
        if ended.any():
            over = ended.nonzero().squeeze(1)
            lengths = torch.full_like(over, self.CELLS - 1)
            episodes = EpisodeStats(rewards[over].double(), lengths, rows=over)
        self.ball = torch.where(ended, self._draw(), self.ball)
        self.height = torch.where(ended, 0, self.height)
        none = torch.zeros_like(ended)
        self.batch = StepBatch(
            0, self.num_envs, self._observe(), rewards, ended, none, ~none, episodes=episodes
        )

    def close(self) -> None:
        pass


# What ships for CartPole is tuned for speed and may change; the curves are of these settings.
CARTPOLE = {
    "vec.num_envs": 64,
    "policy.hidden_size": 128,
    "policy.activation": "relu",
    "train.bptt_horizon": 32,
    "train.learning_rate": 3e-3,
    "train.gae_lambda": 0.9,
    "train.adam_beta2": 0.999,
}


def _classic(**values: Any) -> Config:
    config = load_config_file(ROOT / "config" / "classic.ini", env_name="CartPole-v1")
    return config.override(
        {"train.device": "cpu", "train.num_threads": 1, "train.total_timesteps": 50_000}
        | CARTPOLE
        | {name.replace("__", "."): value for name, value in values.items()}
    )


def _recall(rnn: str | None) -> Config:
    return Config().override(
        {
            "base.package": "gymnasium",
            "base.env_name": "CartPole-v1",
            "base.rnn_name": rnn,
            "vec.num_envs": 64,
            "policy.hidden_size": 32,
            "train.device": "cpu",
            "train.num_threads": 1,
            "train.bptt_horizon": 16,
            "train.minibatch_size": 256,
            "train.update_epochs": 2,
            "train.optimizer": "adam",
            "train.learning_rate": 0.01,
            "train.adam_beta1": 0.9,
            "train.vf_coef": 0.5,
            "train.gamma": 0.9,
            "train.prio_alpha": 0.8,
            "train.total_timesteps": 1024 * 25,
        }
    )


def _catch() -> Config:
    return Config().override(
        {
            "base.package": "gymnasium",
            "base.env_name": "CartPole-v1",
            "base.policy_name": "Convolutional",
            "vec.num_envs": 64,
            "policy.hidden_size": 128,
            "train.device": "cpu",
            "train.num_threads": 1,
            "train.bptt_horizon": 16,
            "train.minibatch_size": 256,
            "train.update_epochs": 3,
            "train.optimizer": "adam",
            "train.learning_rate": 0.002,
            "train.adam_beta1": 0.9,
            "train.vf_coef": 0.5,
            "train.gamma": 0.95,
            "train.total_timesteps": 1024 * 40,
        }
    )


def _muon() -> dict[str, Any]:
    return {"train__optimizer": "muon", "train__learning_rate": 0.01, "train__update_epochs": 4}


# Agent steps of the shipped config that show its curve, and fewer environments where episodes are long: every
# fifth of a run must see some of them end.
OCEAN: dict[str, tuple[int, int | None]] = {
    "acrobot": (100_000, 32),
    "bandit": (20_000, None),
    "breakout": (120_000, None),
    "cartpole": (60_000, None),
    "continuous": (60_000, None),
    "memory": (40_000, None),
    "mountain_car": (160_000, 16),
    "multiagent": (20_000, None),
    "password": (20_000, None),
    "pendulum": (80_000, None),
    "pong": (160_000, 16),
    "snake": (120_000, None),
    "spaces": (60_000, None),
    "squared": (60_000, None),
    "stochastic": (40_000, None),
}


def _ocean(name: str) -> Config:
    total_steps, num_envs = OCEAN[name]
    settings: dict[str, Any] = {
        "train.device": "cpu",
        "train.num_threads": 1,
        "train.total_timesteps": total_steps,
    }
    if num_envs is not None:
        settings |= {"vec.num_envs": num_envs, "train.minibatch_size": 512, "train.max_minibatch_size": 512}
    return load_config_file(ROOT / "config" / "ocean" / f"{name}.ini").override(settings)


SCENARIOS: dict[str, tuple[Callable[[], Config], Callable[[], VectorEnv | None]]] = {
    "cartpole adam": (lambda: _classic(), lambda: None),
    "cartpole muon": (lambda: _classic(**_muon()), lambda: None),
    "cartpole priorities": (
        lambda: _classic(train__prio_alpha=0.8, train__prio_beta0=0.2),
        lambda: None,
    ),
    "recall lstm": (lambda: _recall("LSTMWrapper"), Recall),
    "recall without memory": (lambda: _recall(None), Recall),
    "catch pictures": (_catch, Catch),
} | {f"ocean {name}": (partial(_ocean, name), lambda: None) for name in OCEAN}


def learning_curve(config: Config, vector: VectorEnv | None, seed: int) -> list[float]:
    """The mean score of each fifth of a run."""
    seen: list[Progress] = []

    def listen(progress: Progress) -> Directive:
        seen.append(progress)
        return Directive.CONTINUE

    train(config.override({"train.seed": seed, "vec.seed": 10_000 * seed}), listen, vector=vector)
    total = seen[-1].total_agent_steps
    points: list[list[tuple[float, float]]] = [[] for _ in range(NUM_POINTS)]
    for progress in seen:
        if progress.score is not None:
            point = min(NUM_POINTS - 1, (progress.agent_steps - 1) * NUM_POINTS // total)
            points[point].append((progress.score, progress.metrics["environment/num_episodes"]))
    return [sum(s * n for s, n in point) / sum(n for _, n in point) for point in points]


@pytest.fixture
def curve_of() -> Callable[..., list[float]]:
    """Run a scenario: its name, a seed, and settings that differ."""

    def run(name: str, seed: int, **values: Any) -> list[float]:
        make_config, make_vector = SCENARIOS[name]
        config = make_config().override({key.replace("__", "."): value for key, value in values.items()})
        return learning_curve(config, make_vector(), seed)

    return run
