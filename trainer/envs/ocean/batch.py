"""What an environment of ours is: a state in tensors, a way to start, to step and to look at it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from trainer.envs.ocean.draws import Draws

if TYPE_CHECKING:
    from trainer.envs.layout import ActionLayout, ObservationLayout


EVERYBODY = slice(None)
"""All environments, where their numbers are asked for."""


@dataclass(frozen=True, slots=True)
class NoSettings:
    """For environments without any."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step brought, before anything is begun anew.

    Attributes:
        rewards: (B,) in the environment's float type.
        terminated: bool (E,); all agents of an environment end together.
        extra: name → (E,), what to report of the episodes that end; read only where one does.
        incentives: (B,) what the learner gets beside the rewards and scores never hold; None for nothing.
    """

    rewards: torch.Tensor
    terminated: torch.Tensor
    extra: dict[str, torch.Tensor] = field(default_factory=dict)
    incentives: torch.Tensor | None = None


class BatchEnvironment(ABC):
    """E environments of `agents` agents each, B = E * agents rows, on one device.

    A subclass keeps its state in tensors whose axis `env_axis` is E and names them in `state_names`. All of it
    is set by `start`, and nothing in `start`, `advance` and `observe` waits for the device. Time limits are kept
    here: `steps` counts, and an episode is truncated at `max_steps`.

    Args:
        num_envs: E.
        device: where everything lies.
        settings: an instance of the class's `Settings`.
        dtype: of the arithmetic and the observations; float64 is for comparisons.
    """

    Settings: ClassVar[type[Any]] = NoSettings
    agents: ClassVar[int] = 1
    state_names: ClassVar[tuple[str, ...]] = ()
    env_axis: ClassVar[int] = 0
    max_steps: int | None = None

    observation_layout: ObservationLayout
    action_layout: ActionLayout

    def __init__(
        self, num_envs: int, device: torch.device, settings: Any, dtype: torch.dtype = torch.float32
    ) -> None:
        self.num_envs = num_envs
        self.device = device
        self.settings = settings
        self.dtype = dtype
        self.draws = Draws(num_envs, device)
        self.steps = torch.zeros(num_envs, dtype=torch.int64, device=device)
        self.build()

    def zeros(self, *shape: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        """State memory on the device."""
        return torch.zeros(shape, dtype=dtype or self.dtype, device=self.device)

    @abstractmethod
    def build(self) -> None:
        """Allocate the state and set the layouts."""

    @abstractmethod
    def start(self, envs: torch.Tensor | slice) -> None:
        """Begin an episode in the environments with these numbers, int64 (E',), or in all (`EVERYBODY`)."""

    def restart(self, ended: torch.Tensor) -> None:
        """`start` for the environments marked in bool (E,), without asking which they are.

        Everybody begins anew, and those that were not meant go on where they were: the same numbers as by
        `start`, and nothing whose size depends on a tensor's values.
        """
        old = {name: getattr(self, name) for name in self.state_names}
        counters = self.draws.counters.clone()
        for name, tensor in old.items():
            setattr(self, name, torch.empty_like(tensor))
        self.start(EVERYBODY)
        for name, tensor in old.items():
            shape = [1] * tensor.ndim
            shape[self.env_axis] = self.num_envs
            setattr(self, name, torch.where(ended.view(shape), getattr(self, name), tensor))
        self.draws.counters.copy_(torch.where(ended, self.draws.counters, counters))

    @abstractmethod
    def advance(self, actions: torch.Tensor) -> Outcome:
        """Step all environments with actions (B, width), already inside their bounds."""

    @abstractmethod
    def observe(self) -> torch.Tensor:
        """(B, *O) of the state as it is. May be a view of the state."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Copies of everything that changes."""
        named = {name: getattr(self, name) for name in self.state_names}
        own = {"steps": self.steps, "seeds": self.draws.seeds, "counters": self.draws.counters}
        return {name: tensor.clone() for name, tensor in (named | own).items()}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Put back what `state_dict` gave, from any device."""
        own = {"steps": self.steps, "seeds": self.draws.seeds, "counters": self.draws.counters}
        for name, tensor in ({name: getattr(self, name) for name in self.state_names} | own).items():
            tensor.copy_(state[name])
