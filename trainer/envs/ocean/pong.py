"""Pong against an opponent that follows the ball as fast as it can, which is not always fast enough."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from trainer.envs.layout import ActionLayout, ObservationLayout
from trainer.envs.ocean.batch import BatchEnvironment, Outcome

_HALF_PADDLE = 0.12
_SPIN = 0.06
"""Vertical speed that the edge of a paddle gives to the ball, per step."""


@dataclass(frozen=True, slots=True)
class PongSettings:
    """The `[env]` keys of pong.

    Attributes:
        points: points to win.
        ball_speed: of the ball towards the paddles, in courts a step.
        paddle_speed: of our paddle.
        opponent_speed: of the other one.
        max_steps: steps after which an episode is truncated.
    """

    points: int = field(default=5, metadata={"min": 1, "max": 100})
    ball_speed: float = field(default=0.04, metadata={"min": 0.001, "max": 0.2})
    paddle_speed: float = field(default=0.05, metadata={"min": 0.001, "max": 0.5})
    opponent_speed: float = field(default=0.03, metadata={"min": 0.0, "max": 0.5})
    max_steps: int = field(default=2000, metadata={"min": 1})


class Pong(BatchEnvironment):
    """A point for a ball that the opponent misses, minus one for a ball that we miss. The court is 1 by 1."""

    Settings = PongSettings
    state_names = ("ball", "speed", "paddles", "points")

    def build(self) -> None:
        """State: ball and its speed (E, 2) as x and y, paddles (E, 2) ours first, points (E, 2)."""
        self.max_steps = self.settings.max_steps
        self.observation_layout = ObservationLayout((6,), self.dtype)
        self.action_layout = ActionLayout("discrete", sizes=(3,))
        self.ball = self.zeros(self.num_envs, 2)
        self.speed = self.zeros(self.num_envs, 2)
        self.paddles = self.zeros(self.num_envs, 2)
        self.points = self.zeros(self.num_envs, 2, dtype=torch.int64)

    def start(self, envs: torch.Tensor | slice) -> None:
        """No points, paddles in the middle, a ball served towards either side."""
        self.points[envs] = 0
        self.paddles[envs] = 0.5
        self.ball[envs], self.speed[envs] = self._serve(self.draws.uniform(envs, 3, self.dtype))

    def _serve(self, drawn: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        side = torch.where(drawn[:, 0] < 0.5, -1.0, 1.0).to(self.dtype) * self.settings.ball_speed
        place = torch.stack((torch.full_like(side, 0.5), 0.2 + 0.6 * drawn[:, 1]), dim=1)
        return place, torch.stack((side, (drawn[:, 2] - 0.5) * 0.04), dim=1)

    def advance(self, actions: torch.Tensor) -> Outcome:
        """Our paddle is on the right (0 stay, 1 up, 2 down); the opponent's on the left."""
        drawn = self.draws.uniform(None, 3, self.dtype)
        move = actions[:, 0]
        up_down = (move == 2).to(self.dtype) - (move == 1).to(self.dtype)
        chase = (self.ball[:, 1] - self.paddles[:, 1]).clamp(
            -self.settings.opponent_speed, self.settings.opponent_speed
        )
        steps = torch.stack((up_down * self.settings.paddle_speed, chase), dim=1)
        self.paddles = (self.paddles + steps).clamp(_HALF_PADDLE, 1.0 - _HALF_PADDLE)
        x, y = (self.ball + self.speed).unbind(1)
        along, across = self.speed.unbind(1)
        off_wall = (y < 0.0) | (y > 1.0)
        across = torch.where(off_wall, -across, across)
        y = torch.where(y < 0.0, -y, torch.where(y > 1.0, 2.0 - y, y))
        right, left = x >= 1.0, x <= 0.0
        offset = y - torch.where(right, self.paddles[:, 0], self.paddles[:, 1])
        reached = offset.abs() <= _HALF_PADDLE
        caught = (right | left) & reached
        along = torch.where(caught, -along, along)
        across = torch.where(caught, (across + offset / _HALF_PADDLE * _SPIN).clamp(-0.05, 0.05), across)
        x = torch.where(caught, torch.where(right, 2.0 - x, -x), x)
        lost, won = right & ~reached, left & ~reached
        served, pace = self._serve(drawn)
        anew = (lost | won)[:, None]
        self.ball = torch.where(anew, served, torch.stack((x, y), dim=1))
        self.speed = torch.where(anew, pace, torch.stack((along, across), dim=1))
        self.points = self.points + torch.stack((won, lost), dim=1)
        over = (self.points >= self.settings.points).any(1)
        return Outcome(
            won.to(self.dtype) - lost.to(self.dtype), over, {"won": self.points[:, 0] >= self.settings.points}
        )

    def observe(self) -> torch.Tensor:
        """Ball, its speed in balls a step, both paddles; everything about within ±1."""
        pace = torch.stack((self.speed[:, 0] / self.settings.ball_speed, self.speed[:, 1] * 20.0), dim=1)
        return torch.cat((self.ball * 2.0 - 1.0, pace, self.paddles * 2.0 - 1.0), dim=1)
