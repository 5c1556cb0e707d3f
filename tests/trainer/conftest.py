"""Environments made of tensors, for tests that need to know every number."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace

import pytest
import torch

from trainer.config import Config
from trainer.vector.base import (
    ActionLayout,
    EpisodeStats,
    FinalObservations,
    ObservationLayout,
    StepBatch,
    VectorEnv,
)


class Corridor(VectorEnv):
    """Walk right to be paid: position in [0, length], action 1 steps right, 0 left.

    Reaching the end terminates with reward 1; `limit` steps truncate. Agents begin at different places, drawn
    from the seed. With `groups` above 1 the batches are shares of the rows, in turn. State can be saved.

    It walks on the CPU; batches are handed out, and actions taken, on `device_name`.
    """

    device_name = "cpu"

    def __init__(
        self,
        num_envs: int = 4,
        length: int = 4,
        limit: int = 12,
        groups: int = 1,
        order: list[int] | None = None,
    ) -> None:
        self.num_envs = self.num_agents = num_envs
        self.agents_per_env = 1
        self.batch_agents = num_envs // groups
        self.observation_layout = ObservationLayout((2,), torch.float32)
        self.action_layout = ActionLayout("discrete", sizes=(2,))
        self.device = torch.device(self.device_name)
        self.backend = "Serial"
        self.length, self.limit = length, limit
        self.position = torch.zeros(num_envs, dtype=torch.int64)
        self.clock = torch.zeros(num_envs, dtype=torch.int64)
        self.paid = torch.zeros(num_envs, dtype=torch.float64)
        self.generator = torch.Generator()
        self.groups = groups
        self.order = order or []
        self.batches: list[StepBatch] = []
        self.current: StepBatch | None = None
        self.num_steps = 0
        self.closed = False

    def _observe(self, rows: slice) -> torch.Tensor:
        return torch.stack([self.position[rows] / self.length, self.clock[rows] / self.limit], 1).float()

    def _start(self, count: int) -> torch.Tensor:
        return torch.randint(0, self.length, (count,), generator=self.generator)

    def reset(self, seed: int) -> None:
        self.generator.manual_seed(seed)
        self.position = self._start(self.num_envs)
        self.clock.zero_()
        self.paid.zero_()
        self._begin()

    def _begin(self) -> None:
        self.current = None
        size = self.batch_agents
        none = torch.zeros(size, dtype=torch.bool)
        self.batches = [
            StepBatch(
                g * size,
                size,
                self._observe(slice(g * size, (g + 1) * size)),
                torch.zeros(size),
                none,
                none,
                ~none,
            )
            for g in range(self.groups)
        ]

    def recv(self) -> StepBatch:
        assert self.current is None, "recv out of order"
        wanted = self.order.pop(0) if self.order else self.batches[0].first_row // self.batch_agents
        index = next(i for i, b in enumerate(self.batches) if b.first_row // self.batch_agents == wanted)
        self.current = self.batches.pop(index)
        return on_device(self.current, self.device)

    def send(self, actions: torch.Tensor) -> None:
        assert self.current is not None, "send out of order"
        assert actions.shape == (self.batch_agents, 1)
        self.num_steps += self.batch_agents
        actions = actions.cpu()
        rows = slice(self.current.first_row, self.current.first_row + self.batch_agents)
        self.position[rows] = (self.position[rows] + 2 * actions[:, 0] - 1).clamp(min=0)
        self.clock[rows] += 1
        terminated = self.position[rows] >= self.length
        truncated = ~terminated & (self.clock[rows] >= self.limit)
        rewards = terminated.float()
        self.paid[rows] += rewards
        ended = terminated | truncated
        final = episodes = None
        if truncated.any():
            cut = truncated.nonzero().squeeze(1)
            final = FinalObservations(cut, self._observe(rows)[cut])
        if ended.any():
            over = ended.nonzero().squeeze(1)
            episodes = EpisodeStats(self.paid[rows][over].clone(), self.clock[rows][over].clone(), rows=over)
            self.position[rows] = torch.where(ended, self._start(self.batch_agents), self.position[rows])
            self.clock[rows] *= ~ended
            self.paid[rows] *= ~ended
        self.batches.append(
            StepBatch(
                rows.start,
                self.batch_agents,
                self._observe(rows),
                rewards,
                terminated,
                truncated,
                torch.ones_like(ended),
                final,
                episodes,
            )
        )
        self.current = None

    def close(self) -> None:
        self.closed = True

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {
            "position": self.position.clone(),
            "clock": self.clock.clone(),
            "paid": self.paid.clone(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        self.position, self.clock, self.paid = (state[name].clone() for name in ("position", "clock", "paid"))
        self.generator.set_state(state["generator"])
        self._begin()


def on_device(record, device: torch.device):
    """A batch, or a part of one, with its tensors on a device; what ends episodes is counted on the host."""
    if device.type == "cpu" or record is None or isinstance(record, EpisodeStats):
        return record
    moved = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if isinstance(value, torch.Tensor):
            moved[field.name] = value.to(device)
        elif is_dataclass(value):
            moved[field.name] = on_device(value, device)
    return replace(record, **moved)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request) -> str:
    """Every test that asks for this, or for a config that does, is a test of each device."""
    return request.param


@pytest.fixture
def corridor_config(device) -> Config:
    """A config that trains on a Corridor of four rows."""
    return Config().override(
        {
            "base.package": "gymnasium",
            "base.env_name": "CartPole-v1",
            "vec.num_envs": 4,
            "policy.hidden_size": 16,
            "train.device": device,
            "train.bptt_horizon": 8,
            "train.minibatch_size": 16,
            "train.total_timesteps": 32 * 12,
            "train.optimizer": "adam",
            "train.learning_rate": 0.01,
            "train.checkpoint_interval": 3,
        }
    )


@pytest.fixture
def make_corridor(request) -> type[Corridor]:
    """The class, for tests that make their own; it lives on the test's device if there is one."""
    if "device" not in request.fixturenames:
        return Corridor
    return type("Corridor", (Corridor,), {"device_name": request.getfixturevalue("device")})
