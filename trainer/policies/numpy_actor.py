"""Acting with a small perceptron on the CPU, by NumPy.

A rollout of a small network is a long row of tiny operations, and NumPy's cost a third of torch's. The
weights are the agent's own memory, seen through NumPy, so that there is nothing to bring up to date.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import nn

from trainer.policies.base import Agent, FeedForward, Head, State
from trainer.policies.default import Policy
from trainer.policies.sampling import ActionDistribution, DiscreteActions

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

ACTIVATIONS: dict[type[nn.Module], Callable[[Any], Any]] = {
    nn.ReLU: lambda inputs: np.maximum(inputs, 0, out=inputs),
    nn.Tanh: lambda inputs: np.tanh(inputs, out=inputs),
}

MAX_WIDTH = 512
"""Wider layers spend their time in the matrix product, which torch does at least as well."""


class NumpyActor:
    """A stand-in for `trainer.ppo.rollout.act` that knows one agent.

    Args:
        agent: as `fits` wants it.
        distribution: of its actions, discrete.
    """

    def __init__(self, agent: Agent, distribution: DiscreteActions) -> None:
        body = cast("Policy", agent.body)
        self.layers: list[tuple[Floats, Floats, Callable[[Any], Any]]] = []
        modules = list(body.layers)
        for linear, activation in zip(modules[::2], modules[1::2], strict=True):
            assert isinstance(linear, nn.Linear)
            self.layers.append((*_views(linear), ACTIVATIONS[type(activation)]))
        self.head = _views(body.head.linear)
        self.num_scores = distribution.num_scores
        self.bounds = np.cumsum((0, *distribution.sizes)).tolist()

    @staticmethod
    def fits(agent: Agent, distribution: ActionDistribution) -> bool:
        """Whether an agent is a small perceptron in float32 on the CPU that chooses among discrete actions."""
        if type(agent) is not FeedForward or type(agent.body) is not Policy:
            return False
        body = agent.body
        plain = all(p.dtype == torch.float32 and p.device.type == "cpu" for p in body.parameters())
        return (
            plain
            and isinstance(distribution, DiscreteActions)
            and isinstance(body.head, Head)
            and body.scale == 1.0
            and body.normaliser is None
            and body.hidden_size <= MAX_WIDTH
            and all(type(module) in ACTIVATIONS for module in list(body.layers)[1::2])
        )

    def __call__(
        self,
        agent: Agent,  # noqa: ARG002
        distribution: ActionDistribution,  # noqa: ARG002
        observations: torch.Tensor,
        state: State,
        resets: torch.Tensor,  # noqa: ARG002
        noise: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, State, State]:
        """See `trainer.ppo.rollout.act`."""
        hidden: Any = observations.numpy().reshape(len(observations), -1)
        if hidden.dtype != np.float32:
            hidden = hidden.astype(np.float32)
        for weight, bias, activation in self.layers:
            hidden = hidden @ weight
            hidden += bias
            hidden = activation(hidden)
        weight, bias = self.head
        output = hidden @ weight
        output += bias
        uniform = noise.numpy()
        actions = np.empty(uniform.shape, dtype=np.int64)
        for i, (first, last) in enumerate(zip(self.bounds, self.bounds[1:], strict=False)):
            actions[:, i] = _choose(output[:, first:last], uniform[:, i])
        scores = torch.from_numpy(output[:, : self.num_scores])
        return torch.from_numpy(actions), scores, torch.from_numpy(output[:, self.num_scores]), state, state


def _views(layer: nn.Linear) -> tuple[Any, Any]:
    return layer.weight.detach().numpy().T, layer.bias.detach().numpy()


def _choose(logits: Any, uniform: Any) -> Any:
    """One choice a row, by inverting the distribution function without dividing by its total."""
    heights = np.exp(logits - logits.max(axis=1, keepdims=True))
    if heights.shape[1] == 2:
        return heights[:, 0] <= uniform * (heights[:, 0] + heights[:, 1])
    sums = np.cumsum(heights, axis=1)
    return (sums[:, :-1] <= (uniform * sums[:, -1])[:, None]).sum(axis=1)
