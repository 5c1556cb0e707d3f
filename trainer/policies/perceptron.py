"""Small perceptrons on the CPU, by hand: acting by NumPy, and learning without autograd.

A small network's time goes into the overhead of each operation and into thin matrix products (thousands of
rows by a handful of columns), at which NumPy's BLAS is two to ten times as quick as torch's; torch in turn is
quicker at everything that goes element by element. The weights are the agent's own memory, seen through both,
so that there is nothing to bring up to date.
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any, NamedTuple, cast

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

MAX_WIDTH = 512
"""Wider layers spend their time in the matrix product, which torch does at least as well."""

CHUNK_NUMBERS = 131_072
"""Activations worked on at a time: they stay in the second cache from one operation to the next."""


class _Activation(NamedTuple):
    apply: Callable[[torch.Tensor], Any]
    """In place."""
    pull_back: Callable[[torch.Tensor, torch.Tensor], Any]
    """Turns gradients of the outputs into those of the inputs, in place; the second argument is the outputs."""


def _pull_back_relu(gradients: torch.Tensor, outputs: torch.Tensor) -> None:
    torch.ops.aten.threshold_backward.grad_input(gradients, outputs, 0, grad_input=gradients)


def _pull_back_tanh(gradients: torch.Tensor, outputs: torch.Tensor) -> None:
    torch.ops.aten.tanh_backward.grad_input(gradients, outputs, grad_input=gradients)


ACTIVATIONS: dict[type[nn.Module], _Activation] = {
    nn.ReLU: _Activation(torch.relu_, _pull_back_relu),
    nn.Tanh: _Activation(torch.tanh_, _pull_back_tanh),
}


class _Layer(NamedTuple):
    """A hidden layer: its parameters, the same memory as arrays, and what follows it."""

    linear: nn.Linear
    weight: Floats
    bias: torch.Tensor
    activation: _Activation


class Perceptron:
    """One agent, of the kind that `fits` describes.

    Args:
        agent: what acts and learns.
        distribution: of its actions, discrete.
    """

    def __init__(self, agent: Agent, distribution: DiscreteActions) -> None:
        body = cast("Policy", agent.body)
        modules = list(body.layers)
        self.layers: list[_Layer] = []
        for linear, activation in zip(modules[::2], modules[1::2], strict=True):
            assert isinstance(linear, nn.Linear)
            self.layers.append(
                _Layer(
                    linear,
                    linear.weight.detach().numpy(),
                    linear.bias.detach(),
                    ACTIVATIONS[type(activation)],
                )
            )
        self.head = body.head.linear
        self.head_weight: Floats = self.head.weight.detach().numpy()
        self.head_bias: Floats = self.head.bias.detach().numpy()
        self.num_scores = distribution.num_scores
        bounds = np.cumsum((0, *distribution.sizes)).tolist()
        self.choices = [slice(first, last) for first, last in itertools.pairwise(bounds)]
        self._hidden: list[torch.Tensor] = []

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
            and body.critic_layers is None
            and body.head.value_scale == 1.0
            and body.hidden_size <= MAX_WIDTH
            and all(type(module) in ACTIVATIONS for module in list(body.layers)[1::2])
        )

    def act(
        self,
        agent: Agent,  # noqa: ARG002
        distribution: ActionDistribution,  # noqa: ARG002
        observations: torch.Tensor,
        state: State,
        resets: torch.Tensor,  # noqa: ARG002
        noise: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, State, State]:
        """See `trainer.ppo.rollout.act`."""
        output = self._outputs(_as_floats(observations))
        actions = np.empty(noise.shape, dtype=np.int64)
        for i, part in enumerate(self.choices):
            actions[:, i] = choose(output[:, part], noise[:, i].numpy())
        scores = torch.from_numpy(output[:, : self.num_scores])
        return torch.from_numpy(actions), scores, torch.from_numpy(output[:, self.num_scores]), state, state

    def chooser(self, noise: torch.Tensor) -> Callable[[int, Floats, NDArray[np.int64]], None]:
        """How to act through one rollout, in which the weights stay as they are.

        Args:
            noise: of the whole rollout, (steps, B, width).

        Returns:
            A function of a step's number, its observations (B, size) and where its actions (B, width) go.
        """
        if [part.stop - part.start for part in self.choices] == [2]:
            return self._binary_chooser(noise)
        uniform = noise.numpy()

        def write_actions(step: int, observations: Floats, actions: NDArray[np.int64]) -> None:
            output = self._outputs(observations)
            for i, part in enumerate(self.choices):
                actions[:, i] = choose(output[:, part], uniform[step, :, i])

        return write_actions

    def _binary_chooser(self, noise: torch.Tensor) -> Callable[[int, Floats, NDArray[np.int64]], None]:
        """One choice of two depends on the difference of their scores alone; the noise becomes thresholds at once."""
        weight = self.head_weight[0] - self.head_weight[1]
        thresholds = (torch.logit(noise[:, :, 0]) - float(self.head_bias[0] - self.head_bias[1])).numpy()

        def write_actions(step: int, observations: Floats, actions: NDArray[np.int64]) -> None:
            difference = self._features(observations) @ weight
            np.less_equal(difference, thresholds[step], out=actions[:, 0], casting="unsafe")

        return write_actions

    def _features(self, observations: Floats) -> Floats:
        hidden = observations if observations.dtype == np.float32 else observations.astype(np.float32)
        for layer in self.layers:
            hidden = hidden @ layer.weight.T
            sums = torch.from_numpy(hidden)
            layer.activation.apply(sums.add_(layer.bias))
        return hidden

    def _outputs(self, observations: Floats) -> Floats:
        output: Floats = self._features(observations) @ self.head_weight.T
        output += self.head_bias
        return output

    def evaluate(self, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores (B, K) and values (B,) of many observations at once."""
        outputs = torch.from_numpy(self._run(_as_floats(observations))[0])
        return outputs[:-1].t(), outputs[-1]

    def forward(self, observations: torch.Tensor) -> tuple[Floats, Callable[[Floats], None]]:
        """See `trainer.ppo.by_hand.HandMadeNetwork`. The activations' memory is used again by the next call."""
        inputs = _as_floats(observations.flatten(0, 1))
        outputs, hidden = self._run(inputs)
        return outputs, functools.partial(self._pull_back, inputs, hidden)

    def _run(self, inputs: Floats) -> tuple[Floats, list[torch.Tensor]]:
        """Outputs (K + 1, B) and every layer's activations (at least B rows each), chunk by chunk."""
        hidden = self._room_for(len(inputs))
        outputs = np.empty((self.num_scores + 1, len(inputs)), np.float32)
        weights = [np.ascontiguousarray(layer.weight.T) for layer in self.layers]
        for part in self._chunks(len(inputs)):
            below = inputs[part]
            for layer, weight, room in zip(self.layers, weights, hidden, strict=True):
                sums = room[part]
                below = np.matmul(below, weight, out=sums.numpy())
                layer.activation.apply(sums.add_(layer.bias))
            for output, weight in zip(outputs, self.head_weight, strict=True):
                # One vector at a time is quicker than a product with so few columns.
                np.matmul(below, weight, out=output[part])
        outputs += self.head_bias[:, None]
        return outputs, hidden

    def _pull_back(self, inputs: Floats, hidden: list[torch.Tensor], gradients: Floats) -> None:
        sums = [np.zeros_like(layer.weight) for layer in self.layers]
        bias_sums = [torch.zeros_like(layer.bias) for layer in self.layers]
        head_sum = np.zeros_like(self.head_weight)
        for part in self._chunks(len(inputs)):
            above, weight = gradients[:, part].T, self.head_weight
            head_sum += above.T @ hidden[-1][part].numpy()
            for i in range(len(self.layers) - 1, -1, -1):
                above = above @ weight
                flowing = torch.from_numpy(above)
                self.layers[i].activation.pull_back(flowing, hidden[i][part])
                below = hidden[i - 1][part].numpy() if i else inputs[part]
                sums[i] += above.T @ below
                bias_sums[i] += flowing.sum(0)
                weight = self.layers[i].weight
        _add_gradient(self.head.weight, torch.from_numpy(head_sum))
        _add_gradient(self.head.bias, torch.from_numpy(gradients.sum(axis=1)))
        for layer, weight_sum, bias_sum in zip(self.layers, sums, bias_sums, strict=True):
            _add_gradient(layer.linear.weight, torch.from_numpy(weight_sum))
            _add_gradient(layer.linear.bias, bias_sum)

    def _room_for(self, rows: int) -> list[torch.Tensor]:
        if not self._hidden or len(self._hidden[0]) < rows:
            self._hidden = [torch.empty(rows, len(layer.weight)) for layer in self.layers]
        return self._hidden

    def _chunks(self, rows: int) -> list[slice]:
        size = max(1, CHUNK_NUMBERS // max(len(layer.weight) for layer in self.layers))
        return [slice(first, min(first + size, rows)) for first in range(0, rows, size)]


def _as_floats(observations: torch.Tensor) -> Floats:
    flat: Any = observations.numpy().reshape(len(observations), -1)
    return cast("Floats", flat if flat.dtype == np.float32 else flat.astype(np.float32))


def _add_gradient(parameter: torch.Tensor, gradient: torch.Tensor) -> None:
    if parameter.grad is None:
        parameter.grad = gradient
    else:
        parameter.grad += gradient


def choose(logits: Any, uniform: Any) -> Any:
    """One choice a row, by inverting the distribution function without dividing by its total."""
    heights = np.exp(logits - logits.max(axis=1, keepdims=True))
    if heights.shape[1] == 2:
        return heights[:, 0] <= uniform * (heights[:, 0] + heights[:, 1])
    sums = np.cumsum(heights, axis=1)
    return (sums[:, :-1] <= (uniform * sums[:, -1])[:, None]).sum(axis=1)
