"""Tiny environments, each of which a trainer can only solve if one thing works. A perfect score is 1."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from trainer.envs.layout import ActionLayout, ObservationLayout
from trainer.envs.ocean.batch import BatchEnvironment, NoSettings, Outcome
from trainer.envs.ocean.draws import mix


def _between(default: int, low: int, high: int) -> int:
    return field(default=default, metadata={"min": low, "max": high})


@dataclass(frozen=True, slots=True)
class BanditSettings:
    """`arms`: choices. `best`: the one that pays most."""

    arms: int = _between(4, 2, 1000)
    best: int = _between(2, 0, 999)


class Bandit(BatchEnvironment):
    """One pull an episode. The best arm always pays 1, the others 1 with a chance of one half: exploration."""

    Settings = BanditSettings

    def build(self) -> None:
        """No state but the generator's."""
        self.observation_layout = ObservationLayout((1,), self.dtype, 0.0, 1.0)
        self.action_layout = ActionLayout("discrete", sizes=(self.settings.arms,))
        self._ones = torch.ones((self.num_envs, 1), dtype=self.dtype, device=self.device)
        self._over = torch.ones(self.num_envs, dtype=torch.bool, device=self.device)

    def start(self, envs: torch.Tensor | slice) -> None:
        """Nothing to set."""

    def advance(self, actions: torch.Tensor) -> Outcome:
        """Pull."""
        lucky = self.draws.uniform(None, 1)[:, 0] < 0.5
        best = actions[:, 0] == self.settings.best % self.settings.arms
        return Outcome((best | lucky).to(self.dtype), self._over)

    def observe(self) -> torch.Tensor:
        """Always 1."""
        return self._ones


@dataclass(frozen=True, slots=True)
class PasswordSettings:
    """`length`: bits of the password."""

    length: int = _between(5, 1, 30)


class Password(BatchEnvironment):
    """Guess a fixed password bit by bit; one point at the end if all were right: rare reward, many threads."""

    Settings = PasswordSettings
    state_names = ("place", "correct")

    def build(self) -> None:
        """State: the bit's place, and whether all so far were right."""
        length = self.settings.length
        self.observation_layout = ObservationLayout((length,), self.dtype, 0.0, 1.0)
        self.action_layout = ActionLayout("discrete", sizes=(2,))
        self.password = mix(torch.arange(length, dtype=torch.int64, device=self.device) + 7) & 1
        self.place = self.zeros(self.num_envs, dtype=torch.int64)
        self.correct = self.zeros(self.num_envs, dtype=torch.bool)
        self._places = torch.eye(length, dtype=self.dtype, device=self.device)

    def start(self, envs: torch.Tensor | slice) -> None:
        """The first bit."""
        self.place[envs] = 0
        self.correct[envs] = True

    def advance(self, actions: torch.Tensor) -> Outcome:
        """One guess."""
        self.correct &= actions[:, 0] == self.password[self.place]
        over = self.place == self.settings.length - 1
        self.place = (self.place + 1) % self.settings.length
        return Outcome((over & self.correct).to(self.dtype), over)

    def observe(self) -> torch.Tensor:
        """The place as one-hot: what was guessed before is not shown."""
        return self._places[self.place]


@dataclass(frozen=True, slots=True)
class StochasticSettings:
    """`share`: of action 0 in the best policy. `steps`: of an episode."""

    share: float = field(default=0.7, metadata={"min": 0.0, "max": 1.0})
    steps: int = _between(100, 1, 100_000)


class Stochastic(BatchEnvironment):
    """Nothing is seen; pays while action 0 has been taken in `share` of the steps: a mixed policy is best.

    Nothing but a constant mixture can be learnt. With the settings as they are the best one, which takes action 0
    in 70 of 100 steps, gets 0.90 (chance keeps its share off the mark early on); a deterministic policy 0.57.
    """

    Settings = StochasticSettings
    state_names = ("count",)

    def build(self) -> None:
        """State: how often action 0 was taken."""
        self.observation_layout = ObservationLayout((1,), self.dtype, 0.0, 1.0)
        self.action_layout = ActionLayout("discrete", sizes=(2,))
        self.count = self.zeros(self.num_envs, dtype=torch.int64)
        self._ones = torch.ones((self.num_envs, 1), dtype=self.dtype, device=self.device)

    def start(self, envs: torch.Tensor | slice) -> None:
        """Nothing taken yet."""
        self.count[envs] = 0

    def advance(self, actions: torch.Tensor) -> Outcome:
        """Pays 1 - |share so far - share wanted| / (largest miss), spread over the episode."""
        self.count += actions[:, 0] == 0
        taken = self.steps + 1
        miss = (self.count.to(self.dtype) / taken - self.settings.share).abs()
        worst = max(self.settings.share, 1.0 - self.settings.share)
        return Outcome((1.0 - miss / worst) / self.settings.steps, taken >= self.settings.steps)

    def observe(self) -> torch.Tensor:
        """Always 1."""
        return self._ones


@dataclass(frozen=True, slots=True)
class MemorySettings:
    """`length`: symbols to keep in mind. `delay`: empty steps before they are asked for."""

    length: int = _between(2, 1, 60)
    delay: int = _between(2, 0, 1000)


class Memory(BatchEnvironment):
    """Repeat a sequence of bits after a delay: only a policy with a memory can."""

    Settings = MemorySettings
    state_names = ("bits", "time")

    def build(self) -> None:
        """State: the bits (E, length) and the step."""
        self.observation_layout = ObservationLayout((2,), self.dtype, -1.0, 1.0)
        self.action_layout = ActionLayout("discrete", sizes=(2,))
        self.bits = self.zeros(self.num_envs, self.settings.length, dtype=torch.int64)
        self.time = self.zeros(self.num_envs, dtype=torch.int64)

    def start(self, envs: torch.Tensor | slice) -> None:
        """New bits."""
        self.bits[envs] = self.draws.integers(envs, self.settings.length, 2)
        self.time[envs] = 0

    def advance(self, actions: torch.Tensor) -> Outcome:
        """Answers count once the delay is over."""
        length = self.settings.length
        asked = self.time - length - self.settings.delay
        bit = self.bits.gather(1, asked.clamp(0, length - 1)[:, None])[:, 0]
        right = (asked >= 0) & (actions[:, 0] == bit)
        self.time += 1
        return Outcome(right.to(self.dtype) / length, asked >= length - 1)

    def observe(self) -> torch.Tensor:
        """The symbol (-1, 1, or 0 for none) and whether it is time to answer."""
        length = self.settings.length
        bit = self.bits.gather(1, self.time.clamp(0, length - 1)[:, None])[:, 0]
        shown = torch.where(self.time < length, bit * 2 - 1, torch.zeros_like(bit))
        asked = self.time >= length + self.settings.delay
        return torch.stack((shown, asked), dim=1).to(self.dtype)


class Multiagent(BatchEnvironment):
    """Two agents; the first must say 0, the second 1: rows of agents must not be mixed up."""

    agents = 2
    Settings = NoSettings

    def build(self) -> None:
        """No state."""
        self.observation_layout = ObservationLayout((1,), self.dtype, 0.0, 1.0)
        self.action_layout = ActionLayout("discrete", sizes=(2,))
        self._who = torch.arange(2 * self.num_envs, device=self.device) % 2
        self._seen = self._who.to(self.dtype)[:, None]
        self._over = torch.ones(self.num_envs, dtype=torch.bool, device=self.device)

    def start(self, envs: torch.Tensor | slice) -> None:
        """Nothing to set."""

    def advance(self, actions: torch.Tensor) -> Outcome:
        """One step an episode."""
        return Outcome((actions[:, 0] == self._who).to(self.dtype), self._over)

    def observe(self) -> torch.Tensor:
        """Which agent one is."""
        return self._seen


class Spaces(BatchEnvironment):
    """A dictionary with a picture and a tuple, and two actions, each about one of them: nested spaces.

    The first action must tell whether the picture's sum is positive, the second whether the vector's is.
    """

    Settings = NoSettings
    state_names = ("numbers",)

    def build(self) -> None:
        """State: the numbers of one observation (E, 31)."""
        pieces = {"picture": (0, 25, (5, 5)), "pair/0": (25, 30, (5,)), "pair/1": (30, 31, (1,))}
        self.observation_layout = ObservationLayout((31,), self.dtype, -1.0, 1.0, pieces)
        self.action_layout = ActionLayout("multi_discrete", sizes=(2, 2))
        self.numbers = self.zeros(self.num_envs, 31)
        self._over = torch.ones(self.num_envs, dtype=torch.bool, device=self.device)

    def start(self, envs: torch.Tensor | slice) -> None:
        """New numbers within ±1."""
        self.numbers[envs] = self.draws.uniform(envs, 31, self.dtype) * 2.0 - 1.0

    def advance(self, actions: torch.Tensor) -> Outcome:
        """Half a point for each right answer."""
        picture = self.numbers[:, :25].sum(1) > 0
        vector = self.numbers[:, 25:].sum(1) > 0
        right = (actions[:, 0] == picture).to(self.dtype) + (actions[:, 1] == vector)
        return Outcome(0.5 * right, self._over)

    def observe(self) -> torch.Tensor:
        """The numbers; a copy, since `start` writes over them."""
        return self.numbers.clone()


@dataclass(frozen=True, slots=True)
class SquaredSettings:
    """`distance`: of the targets from the centre, in cells."""

    distance: int = _between(3, 1, 20)


class Squared(BatchEnvironment):
    """Walk from the centre of a square to the one target on its edge, in eight directions: sight and credit."""

    Settings = SquaredSettings
    state_names = ("place", "target")

    def build(self) -> None:
        """State: own and target's row and column (E, 2)."""
        side = 2 * self.settings.distance + 1
        self.max_steps = 4 * self.settings.distance
        self.observation_layout = ObservationLayout((side, side), self.dtype, -1.0, 1.0)
        self.action_layout = ActionLayout("discrete", sizes=(8,))
        self.place = self.zeros(self.num_envs, 2, dtype=torch.int64)
        self.target = self.zeros(self.num_envs, 2, dtype=torch.int64)
        cells = torch.cartesian_prod(torch.arange(side), torch.arange(side))
        away = (cells - self.settings.distance).abs().amax(1)
        self._edge = cells[away == self.settings.distance].to(self.device)
        moves = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0)]
        self._moves = torch.tensor(moves, device=self.device)
        self._everybody = torch.arange(self.num_envs, device=self.device)

    def start(self, envs: torch.Tensor | slice) -> None:
        """To the centre; a new target."""
        self.place[envs] = self.settings.distance
        self.target[envs] = self._edge[self.draws.integers(envs, 1, len(self._edge))[:, 0]]

    def advance(self, actions: torch.Tensor) -> Outcome:
        """One cell. Coming nearer pays its share of 1, the way back costs as much."""
        before = (self.place - self.target).abs().amax(1)
        self.place = (self.place + self._moves[actions[:, 0]]).clamp(0, 2 * self.settings.distance)
        after = (self.place - self.target).abs().amax(1)
        # The way is as long as the farther of the two axes, between `distance` and twice that.
        return Outcome((before - after).to(self.dtype) / self.settings.distance, after == 0)

    def observe(self) -> torch.Tensor:
        """The square with oneself as -1 and the target as 1."""
        side = 2 * self.settings.distance + 1
        square = self.zeros(self.num_envs, side, side)
        square[self._everybody, self.target[:, 0], self.target[:, 1]] = 1.0
        square[self._everybody, self.place[:, 0], self.place[:, 1]] = -1.0
        return square


@dataclass(frozen=True, slots=True)
class ContinuousSettings:
    """`max_steps`: steps after which an episode is truncated."""

    max_steps: int = _between(50, 1, 100_000)


class Continuous(BatchEnvironment):
    """Move a point to a target in the plane by its speed along both axes: continuous actions."""

    Settings = ContinuousSettings
    state_names = ("place", "target", "farthest")

    def build(self) -> None:
        """State: own and target's coordinates (E, 2), the distance at the start."""
        self.max_steps = self.settings.max_steps
        self.observation_layout = ObservationLayout((4,), self.dtype, -1.0, 1.0)
        self.action_layout = ActionLayout("continuous", low=(-1.0, -1.0), high=(1.0, 1.0))
        self.place = self.zeros(self.num_envs, 2)
        self.target = self.zeros(self.num_envs, 2)
        self.farthest = self.zeros(self.num_envs)

    def start(self, envs: torch.Tensor | slice) -> None:
        """Both anywhere."""
        drawn = self.draws.uniform(envs, 4, self.dtype) * 2.0 - 1.0
        self.place[envs] = drawn[:, :2]
        self.target[envs] = drawn[:, 2:]
        self.farthest[envs] = (drawn[:, :2] - drawn[:, 2:]).norm(dim=1)

    def advance(self, actions: torch.Tensor) -> Outcome:
        """A tenth of the speed a step; coming nearer pays its share of 1, being there ends the episode."""
        before = (self.place - self.target).norm(dim=1)
        self.place = (self.place + 0.1 * actions.to(self.dtype)).clamp(-1.0, 1.0)
        after = (self.place - self.target).norm(dim=1)
        there = after < 0.1
        left = torch.where(there, torch.zeros_like(after), after)
        return Outcome((before - left) / self.farthest.clamp(min=1e-6), there)

    def observe(self) -> torch.Tensor:
        """Own and target's coordinates."""
        return torch.cat((self.place, self.target), dim=1)
