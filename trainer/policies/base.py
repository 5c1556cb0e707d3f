"""What a policy is to the trainer, and the two ways to run one: feed-forward or recurrent (lstm.py).

A policy's author writes a body, which knows one observation at a time:

    class MyPolicy(nn.Module):
        def __init__(self, observation_layout, action_layout, **policy_section): ...
        hidden_size: int
        def encode_observations(self, observations): ...   # (B, *O) -> (B, hidden_size)
        def decode_actions(self, hidden): ...              # (B, hidden_size) -> (B, K) scores, (B,) values

The trainer wraps it into an `Agent`, which knows about time: one step of a rollout, or whole segments of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

import torch
from torch import nn

if TYPE_CHECKING:
    from trainer.vector.base import ActionLayout

State = tuple[torch.Tensor, ...]
"""What an agent remembers between steps, each (B, H); empty for feed-forward agents."""


@runtime_checkable
class Body(Protocol):
    """What the author of a policy provides (an `nn.Module` besides)."""

    hidden_size: int

    def encode_observations(self, observations: torch.Tensor) -> torch.Tensor:
        """(B, *O) in the environment's dtype → (B, hidden_size)."""
        ...

    def decode_actions(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, hidden_size) → scores of the actions (B, K), values (B,)."""
        ...


class Agent(nn.Module, ABC):
    """A policy in time. Scores are what `ActionDistribution` reads: logits, or means and log deviations."""

    body: nn.Module

    @abstractmethod
    def initial_state(self, num_rows: int, device: torch.device) -> State:
        """The state at the beginning of an episode."""

    @abstractmethod
    def step(self, observations: torch.Tensor, state: State) -> tuple[torch.Tensor, torch.Tensor, State]:
        """One step of B rows: (B, *O) → scores (B, K), values (B,), next state."""

    @abstractmethod
    def forward(
        self, observations: torch.Tensor, state: State, resets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Whole segments: (T, S, *O) → scores (T, S, K), values (T, S).

        Args:
            observations: time first.
            state: before the first step, (S, H) each.
            resets: bool (T, S), True where an episode begins: the state is the initial one there.
        """


class FeedForward(Agent):
    """An agent without memory."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def initial_state(self, num_rows: int, device: torch.device) -> State:
        """Nothing to remember."""
        del num_rows, device
        return ()

    def step(self, observations: torch.Tensor, state: State) -> tuple[torch.Tensor, torch.Tensor, State]:
        """One step of B rows."""
        body = cast("Body", self.body)
        scores, values = body.decode_actions(body.encode_observations(observations))
        return scores, values, state

    def forward(
        self,
        observations: torch.Tensor,
        state: State,
        resets: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Whole segments, as one large batch."""
        del state, resets
        body = cast("Body", self.body)
        steps, segments = observations.shape[:2]
        scores, values = body.decode_actions(body.encode_observations(observations.flatten(0, 1)))
        return scores.view(steps, segments, -1), values.view(steps, segments)


LOG_DEVIATION_BOUNDS = (-5.0, 2.0)
"""A Gaussian's log standard deviation stays within these: 0.0067 to 7.4."""


class Head(nn.Module):
    """Scores of the actions and the value from one matrix product.

    The last output is the value. Continuous actions have a mean per number and one log deviation per number
    that does not depend on the observation.

    Args:
        hidden_size: of what arrives; with `separate_value` of each half of it.
        action_layout: of one agent.
        separate_value: the value is read from a second half of as many numbers, the scores from the first.
        value_scale: the value is this many times what the layer puts out.
    """

    adam_only = True
    """Muon suits hidden layers; outputs are few, and their scale is what is learnt."""

    float32_only = True
    """Whatever the precision of the rest: values need more than the eight bits of bfloat16."""

    def __init__(
        self,
        hidden_size: int,
        action_layout: ActionLayout,
        *,
        separate_value: bool = False,
        value_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.value_scale = value_scale
        self.continuous = action_layout.kind == "continuous"
        num_scores = action_layout.width if self.continuous else sum(action_layout.sizes)
        self.num_scores = num_scores
        # Nearly equal scores at first: exploration begins uniform. The value starts at its natural scale.
        self.value: nn.Linear | None = None
        if separate_value:
            self.linear = nn.Linear(hidden_size, num_scores)
            self.value = nn.Linear(hidden_size, 1)
            initialise(self.linear, 0.01)
            initialise(self.value, 1.0)
        else:
            self.linear = nn.Linear(hidden_size, num_scores + 1)
            with torch.no_grad():
                nn.init.orthogonal_(self.linear.weight[:num_scores], 0.01)
                nn.init.orthogonal_(self.linear.weight[num_scores:], 1.0)
                nn.init.zeros_(self.linear.bias)
        if self.continuous:
            self.log_deviation = nn.Parameter(torch.zeros(action_layout.width))

    def forward(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, hidden_size) → scores (B, K), values (B,), both float32."""
        if torch.is_autocast_enabled(hidden.device.type):
            with torch.autocast(hidden.device.type, enabled=False):
                return self._read(hidden)
        return self._read(hidden)

    def _read(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = hidden.to(self.linear.weight.dtype)
        if self.value is None:
            # One split has one node in the graph; two slices would each fill a gradient of the whole output.
            scores, value_column = torch.split(self.linear(hidden).float(), [self.num_scores, 1], dim=1)
        else:
            of_actor, of_critic = hidden.chunk(2, dim=1)
            scores, value_column = self.linear(of_actor).float(), self.value(of_critic).float()
        values = value_column.squeeze(1)
        values = values if self.value_scale == 1.0 else values * self.value_scale
        if self.continuous:
            log_deviation = self.log_deviation.float().clamp(*LOG_DEVIATION_BOUNDS).expand_as(scores)
            scores = torch.cat([scores, log_deviation], dim=1)
        return scores, values


class ObservationNormaliser(nn.Module):
    """Observations to mean 0 and deviation 1, by the statistics of all so far, within bounds.

    The statistics are buffers: they travel with the weights, into checkpoints and evaluations. They are
    updated from whole rollouts between epochs (`take_in`), never inside a forward pass, so that acting and
    learning see the same numbers. Chan, Golub and LeVeque's parallel update (1979).
    """

    LIMIT = 10.0

    def __init__(self, size: int) -> None:
        super().__init__()
        self.mean: torch.Tensor
        self.variance: torch.Tensor
        self.count: torch.Tensor
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("variance", torch.ones(size))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def forward(self, flat: torch.Tensor) -> torch.Tensor:
        """(B, size) → the same, normalised."""
        normal = (flat.float() - self.mean.float()) * (self.variance.float() + 1e-8).rsqrt()
        return normal.clamp(-self.LIMIT, self.LIMIT)

    @torch.no_grad()
    def take_in(self, observations: torch.Tensor) -> None:
        """Count a rollout's observations (..., *O) in."""
        flat = observations.reshape(-1, self.mean.shape[0]).to(self.mean.device, torch.float64)
        number = float(flat.shape[0])
        total = self.count + number
        difference = flat.mean(0) - self.mean
        spread = self.variance * self.count + flat.var(0, correction=0) * number
        spread += difference.square() * self.count * number / total
        self.mean.add_(difference * number / total)
        self.variance.copy_(spread / total)
        self.count.copy_(total)


def initialise(layer: nn.Module, gain: float = 2.0**0.5) -> nn.Module:
    """Orthogonal weights and zero biases, as PPO's published implementations have them."""
    if isinstance(layer, nn.Linear | nn.Conv2d):
        nn.init.orthogonal_(layer.weight, gain)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return layer
