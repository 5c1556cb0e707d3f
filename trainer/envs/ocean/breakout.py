"""Breakout on a grid of ten by ten, after the miniature of Young and Tian 2019 (MinAtar)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from trainer.envs.layout import ActionLayout, ObservationLayout
from trainer.envs.ocean.batch import BatchEnvironment, Outcome

SIZE = 10
PADDLE, BALL, TRAIL, BRICKS = range(4)


@dataclass(frozen=True, slots=True)
class BreakoutSettings:
    """`brick_rows`: rows of bricks. `max_steps`: steps after which an episode is truncated."""

    brick_rows: int = field(default=3, metadata={"min": 1, "max": 5})
    max_steps: int = field(default=1000, metadata={"min": 1})


class Breakout(BatchEnvironment):
    """Keep the ball in play; every brick is a point, and a cleared wall comes back."""

    Settings = BreakoutSettings
    state_names = ("paddle", "ball", "heading", "last", "bricks")

    def build(self) -> None:
        """State: paddle (E,), ball, its heading and its last place (E, 2), bricks (E, 10, 10)."""
        self.max_steps = self.settings.max_steps
        self.observation_layout = ObservationLayout((4, SIZE, SIZE), self.dtype, 0.0, 1.0)
        self.action_layout = ActionLayout("discrete", sizes=(3,))
        self.paddle = self.zeros(self.num_envs, dtype=torch.int64)
        self.ball = self.zeros(self.num_envs, 2, dtype=torch.int64)
        self.heading = self.zeros(self.num_envs, 2, dtype=torch.int64)
        self.last = self.zeros(self.num_envs, 2, dtype=torch.int64)
        self.bricks = self.zeros(self.num_envs, SIZE, SIZE, dtype=torch.bool)
        self._wall = self.zeros(SIZE, SIZE, dtype=torch.bool)
        self._wall[1 : 1 + self.settings.brick_rows] = True
        self._everybody = torch.arange(self.num_envs, device=self.device)

    def start(self, envs: torch.Tensor | slice) -> None:
        """The ball comes from one side below the bricks; the paddle stands in the middle."""
        right = self.draws.integers(envs, 1, 2)[:, 0]
        height = self.settings.brick_rows + 1
        column = torch.where(right == 1, torch.zeros_like(right), torch.full_like(right, SIZE - 1))
        self.ball[envs] = torch.stack((torch.full_like(column, height), column), dim=1)
        self.last[envs] = self.ball[envs]
        self.heading[envs] = torch.stack((torch.ones_like(right), right * 2 - 1), dim=1)
        self.paddle[envs] = SIZE // 2
        self.bricks[envs] = self._wall

    def advance(self, actions: torch.Tensor) -> Outcome:
        """The paddle moves (0 stay, 1 left, 2 right), then the ball, diagonally."""
        move = actions[:, 0]
        step = (move == 2).to(torch.int64) - (move == 1).to(torch.int64)
        self.paddle = (self.paddle + step).clamp(0, SIZE - 1)
        self.last = self.ball
        down, right = self.heading.unbind(1)
        row, column = (self.ball + self.heading).unbind(1)
        at_side = (column < 0) | (column >= SIZE)
        column = column.clamp(0, SIZE - 1)
        right = torch.where(at_side, -right, right)
        at_top = row < 0
        row = row.clamp(min=0)
        down = torch.where(at_top, -down, down)
        hit = self.bricks[self._everybody, row.clamp(max=SIZE - 1), column]
        self.bricks[self._everybody, row, column] &= ~hit
        # A brick sends the ball back the way it came, without entering the brick's cell.
        row = torch.where(hit, self.last[:, 0], row)
        down = torch.where(hit, -down, down)
        at_bottom = row == SIZE - 1
        old_column = self.last[:, 1]
        straight = at_bottom & (old_column == self.paddle)
        edge = at_bottom & ~straight & (column == self.paddle)
        caught = straight | edge
        down = torch.where(caught, -down, down)
        right = torch.where(edge, -right, right)
        row = torch.where(caught, self.last[:, 0], row)
        self.ball = torch.stack((row, column), dim=1)
        self.heading = torch.stack((down, right), dim=1)
        cleared = ~self.bricks.flatten(1).any(1)
        again = cleared & (row > self.settings.brick_rows)
        self.bricks |= again[:, None, None] & self._wall
        return Outcome(hit.to(self.dtype), at_bottom & ~caught)

    def observe(self) -> torch.Tensor:
        """Four planes of zeros and ones: paddle, ball, where the ball was, bricks."""
        planes = torch.zeros((self.num_envs, 4, SIZE, SIZE), dtype=self.dtype, device=self.device)
        planes[self._everybody, PADDLE, SIZE - 1, self.paddle] = 1
        planes[self._everybody, TRAIL, self.last[:, 0], self.last[:, 1]] = 1
        planes[self._everybody, BALL, self.ball[:, 0], self.ball[:, 1]] = 1
        planes[:, BRICKS] = self.bricks
        return planes
