"""Classic control, equal to Gymnasium's environments of these names step by step.

Sources of the dynamics: Barto, Sutton and Anderson 1983 (cart pole), Sutton 1996 (acrobot, the book's
version), Moore 1990 (mountain car). Initial states are drawn from the same ranges but by our own generator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

from trainer.envs.layout import ActionLayout, ObservationLayout
from trainer.envs.ocean.batch import BatchEnvironment, Outcome


def _limit(default: int) -> int:
    return field(default=default, metadata={"min": 1})


@dataclass(frozen=True, slots=True)
class CartpoleSettings:
    """`max_steps`: steps after which an episode is truncated."""

    max_steps: int = _limit(500)


class Cartpole(BatchEnvironment):
    """CartPole-v1: keep a pole upright on a cart for 500 steps, one point each."""

    Settings = CartpoleSettings
    state_names = ("state",)
    env_axis = -1

    def build(self) -> None:
        """State (4, E): position, speed, angle, angular speed; one row each, for wide arithmetic."""
        self.max_steps = self.settings.max_steps
        self.observation_layout = ObservationLayout((4,), self.dtype)
        self.action_layout = ActionLayout("discrete", sizes=(2,))
        self.state = self.zeros(4, self.num_envs)
        self._work = self.zeros(5, self.num_envs)
        self._ones = torch.ones(self.num_envs, dtype=self.dtype, device=self.device)
        self._limits = torch.tensor([[2.4], [12 * 2 * math.pi / 360]], dtype=self.dtype, device=self.device)

    def start(self, envs: torch.Tensor | slice) -> None:
        """Everything within ±0.05."""
        self.state[:, envs] = self.draws.uniform(envs, 4, self.dtype).t() * 0.1 - 0.05

    def advance(self, actions: torch.Tensor) -> Outcome:
        """One Euler step of 0.02 seconds, in place."""
        position, speed, angle, spin = self.state
        sine, cosine, push, lever, turn = self._work
        torch.sin(angle, out=sine)
        torch.cos(angle, out=cosine)
        push.copy_(actions[:, 0])
        # (±10 + 0.05 spin² sin) / 1.1; the two masses are 1.0 and 0.1, the half pole is 0.5 long.
        push.mul_(20.0 / 1.1).sub_(10.0 / 1.1)
        torch.mul(spin, spin, out=turn)
        push.addcmul_(turn, sine, value=0.05 / 1.1)
        # Angular acceleration: (9.8 sin - cos push) / (0.5 (4/3 - 0.1 cos² / 1.1)).
        torch.mul(cosine, cosine, out=lever).mul_(-0.05 / 1.1).add_(0.5 * 4.0 / 3.0)
        torch.mul(sine, 9.8, out=turn).addcmul_(cosine, push, value=-1.0).div_(lever)
        position.add_(speed, alpha=0.02)
        angle.add_(spin, alpha=0.02)
        push.addcmul_(turn, cosine, value=-0.05 / 1.1)
        speed.add_(push, alpha=0.02)
        spin.add_(turn, alpha=0.02)
        fallen = self.state[0::2].abs() > self._limits
        return Outcome(self._ones, fallen[0] | fallen[1])

    def observe(self) -> torch.Tensor:
        """The state itself, turned."""
        return self.state.t()


@dataclass(frozen=True, slots=True)
class PendulumSettings:
    """`gravity`; `max_steps`: steps after which an episode is truncated."""

    gravity: float = field(default=10.0, metadata={"min": 0.0})
    max_steps: int = _limit(200)


class Pendulum(BatchEnvironment):
    """Pendulum-v1: swing a pendulum up and hold it with a weak motor; every step costs."""

    Settings = PendulumSettings
    state_names = ("state",)
    env_axis = -1

    def build(self) -> None:
        """State (2, E): angle from upright, angular speed."""
        self.max_steps = self.settings.max_steps
        self.observation_layout = ObservationLayout((3,), self.dtype)
        self.action_layout = ActionLayout("continuous", low=(-2.0,), high=(2.0,))
        self.state = self.zeros(2, self.num_envs)
        self._reach = torch.tensor([[math.pi], [1.0]], dtype=self.dtype, device=self.device)

    def start(self, envs: torch.Tensor | slice) -> None:
        """Any angle, any speed up to 1."""
        self.state[:, envs] = (self.draws.uniform(envs, 2, self.dtype).t() * 2.0 - 1.0) * self._reach

    def advance(self, actions: torch.Tensor) -> Outcome:
        """One step of 0.05 seconds; mass and length are 1."""
        angle, spin = self.state
        torque = actions[:, 0].to(self.dtype)
        lean = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
        costs = lean.square() + 0.1 * spin.square() + 0.001 * torque.square()
        spin = spin + (1.5 * self.settings.gravity * angle.sin() + 3.0 * torque) * 0.05
        self.state[1] = spin.clamp(-8.0, 8.0)
        self.state[0] += self.state[1] * 0.05
        return Outcome(-costs, torch.zeros(self.num_envs, dtype=torch.bool, device=self.device))

    def observe(self) -> torch.Tensor:
        """Cosine and sine of the angle, angular speed."""
        angle, spin = self.state
        return torch.stack((angle.cos(), angle.sin(), spin), dim=1)


@dataclass(frozen=True, slots=True)
class AcrobotSettings:
    """`max_steps`: steps after which an episode is truncated."""

    max_steps: int = _limit(500)


class Acrobot(BatchEnvironment):
    """Acrobot-v1: swing the tip of a double pendulum above a line; every step costs 1."""

    Settings = AcrobotSettings
    state_names = ("state",)
    env_axis = -1

    def build(self) -> None:
        """State (4, E): both angles, both angular speeds."""
        self.max_steps = self.settings.max_steps
        self.observation_layout = ObservationLayout((6,), self.dtype)
        self.action_layout = ActionLayout("discrete", sizes=(3,))
        self.state = self.zeros(4, self.num_envs)

    def start(self, envs: torch.Tensor | slice) -> None:
        """Hanging, everything within ±0.1."""
        self.state[:, envs] = self.draws.uniform(envs, 4, self.dtype).t() * 0.2 - 0.1

    def _change(self, state: torch.Tensor, torque: torch.Tensor) -> torch.Tensor:
        """Time derivative of the state; masses and lengths 1, centres at 0.5, inertias 1, gravity 9.8."""
        first, second, spin, other = state
        cosine, sine = second.cos(), second.sin()
        inertia = 3.5 + cosine
        coupling = 1.25 + 0.5 * cosine
        lift = 0.5 * 9.8 * (first + second - math.pi / 2).cos()
        pull = (
            -0.5 * other.square() * sine
            - spin * other * sine
            + 1.5 * 9.8 * (first - math.pi / 2).cos()
            + lift
        )
        faster = (torque + coupling / inertia * pull - 0.5 * spin.square() * sine - lift) / (
            1.25 - coupling.square() / inertia
        )
        return torch.stack((spin, other, -(coupling * faster + pull) / inertia, faster))

    def advance(self, actions: torch.Tensor) -> Outcome:
        """One Runge-Kutta step of 0.2 seconds."""
        # In float64 throughout: at full speed the four slopes differ by thousands, which float32 cannot add up.
        torque = actions[:, 0].to(torch.float64) - 1.0
        start = self.state.to(torch.float64)
        one = self._change(start, torque)
        two = self._change(start + 0.1 * one, torque)
        three = self._change(start + 0.1 * two, torque)
        four = self._change(start + 0.2 * three, torque)
        new = start + 0.2 / 6.0 * (one + 2 * two + 2 * three + four)
        angles = new[:2]
        turns = ((angles - math.pi) / (2 * math.pi)).ceil()
        self.state[:2] = angles - 2 * math.pi * turns
        self.state[2] = new[2].clamp(-4 * math.pi, 4 * math.pi)
        self.state[3] = new[3].clamp(-9 * math.pi, 9 * math.pi)
        first, second = self.state[0], self.state[1]
        terminated = -first.cos() - (second + first).cos() > 1.0
        return Outcome(terminated.to(self.dtype) - 1.0, terminated)

    def observe(self) -> torch.Tensor:
        """Cosines and sines of the angles, angular speeds."""
        first, second, spin, other = self.state
        return torch.stack((first.cos(), first.sin(), second.cos(), second.sin(), spin, other), dim=1)


@dataclass(frozen=True, slots=True)
class MountainCarSettings:
    """The `[env]` keys of mountain_car.

    Attributes:
        max_steps: steps after which an episode is truncated.
        goal_velocity: speed needed at the flag.
        energy_reward: what the learner is paid, all in all, for the mechanical energy between the bottom of the
            valley and the flag: a potential, which leaves the best policy as it is (Ng, Harada and Russell 1999).
            Without it chance hardly ever finds the flag. Scores do not hold it.
    """

    max_steps: int = _limit(200)
    goal_velocity: float = 0.0
    energy_reward: float = field(default=0.0, metadata={"min": 0.0})


class MountainCar(BatchEnvironment):
    """MountainCar-v0: rock a weak car out of a valley; every step costs 1."""

    Settings = MountainCarSettings
    state_names = ("state",)
    env_axis = -1

    def build(self) -> None:
        """State (2, E): position, speed."""
        self.max_steps = self.settings.max_steps
        self.observation_layout = ObservationLayout((2,), self.dtype)
        self.action_layout = ActionLayout("discrete", sizes=(3,))
        self.state = self.zeros(2, self.num_envs)

    def start(self, envs: torch.Tensor | slice) -> None:
        """At rest somewhere in the valley."""
        self.state[0, envs] = self.draws.uniform(envs, 1, self.dtype)[:, 0] * 0.2 - 0.6
        self.state[1, envs] = 0.0

    def advance(self, actions: torch.Tensor) -> Outcome:
        """One step; the left wall stops the car."""
        position, speed = self.state
        push = actions[:, 0].to(self.dtype) - 1.0
        speed = (speed + push * 0.001 - (3 * position).cos() * 0.0025).clamp(-0.07, 0.07)
        position = (position + speed).clamp(-1.2, 0.6)
        speed = torch.where((position == -1.2) & (speed < 0), torch.zeros_like(speed), speed)
        terminated = (position >= 0.5) & (speed >= self.settings.goal_velocity)
        incentives = None
        if self.settings.energy_reward:
            gain = self._energy(position, speed) - self._energy(*self.state)
            incentives = gain * self.settings.energy_reward
        self.state[0] = position
        self.state[1] = speed
        return Outcome(torch.full_like(position, -1.0), terminated, incentives=incentives)

    @staticmethod
    def _energy(position: torch.Tensor, speed: torch.Tensor) -> torch.Tensor:
        """Of motion and height, in units of what lies between the valley's bottom and its tops."""
        height = (3 * position).sin() * (0.0025 / 3)
        return (0.5 * speed.square() + height) / (2 * 0.0025 / 3)

    def observe(self) -> torch.Tensor:
        """The state itself, turned."""
        return self.state.t()
