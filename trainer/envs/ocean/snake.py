"""Snake on a square: eat, grow, do not bite yourself or the wall."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from trainer.envs.layout import ActionLayout, ObservationLayout
from trainer.envs.ocean.batch import BatchEnvironment, Outcome

HEAD, BODY, FOOD = range(3)


@dataclass(frozen=True, slots=True)
class SnakeSettings:
    """The `[env]` keys of snake.

    Attributes:
        size: side of the square.
        length: of the snake at the start.
        hunger: steps without food after which the snake dies.
        max_steps: steps after which an episode is truncated.
    """

    size: int = field(default=8, metadata={"min": 4, "max": 64})
    length: int = field(default=3, metadata={"min": 1, "max": 3})
    hunger: int = field(default=100, metadata={"min": 1})
    max_steps: int = field(default=2000, metadata={"min": 1})


class Snake(BatchEnvironment):
    """A point for every bite of food, minus one for dying."""

    Settings = SnakeSettings
    state_names = ("life", "head", "heading", "food", "length", "fasting")

    def build(self) -> None:
        """State: steps until a cell is free (E, size²), head and food as cells, heading, length, hunger (E,)."""
        size = self.settings.size
        self.max_steps = self.settings.max_steps
        self.observation_layout = ObservationLayout((3, size, size), self.dtype, 0.0, 1.0)
        self.action_layout = ActionLayout("discrete", sizes=(4,))
        self.life = self.zeros(self.num_envs, size * size, dtype=torch.int64)
        self.head, self.heading, self.food, self.length, self.fasting = (
            self.zeros(self.num_envs, dtype=torch.int64) for _ in range(5)
        )
        self._everybody = torch.arange(self.num_envs, device=self.device)
        self._moves = torch.tensor([(-1, 0), (0, 1), (1, 0), (0, -1)], device=self.device)

    def start(self, envs: torch.Tensor | slice) -> None:
        """Head in the middle, looking right, the body behind it."""
        size = self.settings.size
        middle = size // 2 * size + size // 2
        self.life[envs] = 0
        for behind in range(self.settings.length):
            self.life[envs, middle - behind] = self.settings.length - behind
        self.head[envs] = middle
        self.heading[envs] = 1
        self.length[envs] = self.settings.length
        self.fasting[envs] = 0
        self.food[envs] = self._free_cell(self.life[envs], self.draws.uniform(envs, size * size))

    def _free_cell(self, life: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """An empty cell, each as likely as any other; (E',)."""
        return torch.where(life > 0, torch.full_like(drawn, -1.0), drawn).argmax(1)

    def advance(self, actions: torch.Tensor) -> Outcome:
        """Turn (0 up, 1 right, 2 down, 3 left; turning back is ignored), then one cell on."""
        size = self.settings.size
        wanted = actions[:, 0]
        self.heading = torch.where((wanted - self.heading) % 4 == 2, self.heading, wanted)
        step = self._moves[self.heading]
        row, column = self.head // size + step[:, 0], self.head % size + step[:, 1]
        outside = (row < 0) | (row >= size) | (column < 0) | (column >= size)
        head = row.clamp(0, size - 1) * size + column.clamp(0, size - 1)
        eaten = ~outside & (head == self.food)
        # The tail leaves its cell in the same step, unless the snake grows.
        self.life = torch.where(eaten[:, None], self.life, (self.life - 1).clamp(min=0))
        bitten = outside | (self.life[self._everybody, head] > 0)
        self.length = self.length + eaten
        self.life[self._everybody, head] = self.length
        self.head = head
        self.fasting = torch.where(eaten, torch.zeros_like(self.fasting), self.fasting + 1)
        full = self.length >= size * size
        drawn = self.draws.uniform(None, size * size)
        self.food = torch.where(eaten, self._free_cell(self.life, drawn), self.food)
        dead = bitten | (self.fasting >= self.settings.hunger)
        rewards = eaten.to(self.dtype) - dead.to(self.dtype)
        return Outcome(rewards, dead | full, {"length": self.length})

    def observe(self) -> torch.Tensor:
        """Three planes of zeros and ones: head, body, food."""
        size = self.settings.size
        planes = torch.zeros((self.num_envs, 3, size * size), dtype=self.dtype, device=self.device)
        planes[:, BODY] = self.life > 0
        planes[self._everybody, HEAD, self.head] = 1
        planes[self._everybody, FOOD, self.food] = 1
        return planes.view(self.num_envs, 3, size, size)
