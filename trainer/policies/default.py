"""`Policy`: a multi-layer perceptron on flat observations, whatever their shape was."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from trainer.errors import ConfigError, Place
from trainer.policies.base import Head, ObservationNormaliser, initialise

if TYPE_CHECKING:
    from trainer.vector.base import ActionLayout, ObservationLayout

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "silu": nn.SiLU}


NARROW_INPUT = 16


class NarrowLinear(nn.Linear):
    """A layer for few inputs, whose weight gradient is computed the quick way round.

    The gradient (out, in) of a layer with four inputs takes BLAS six times as long as its transpose (in,
    out), and which of them autograd asks for follows the weight's layout in the forward pass.
    """

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(B, in) → (B, out)."""
        return torch.addmm(self.bias, inputs, self.weight.t().contiguous())


def _stack(widths: list[int], activation: type[nn.Module]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width, next_width in pairwise(widths):
        kind = NarrowLinear if width <= NARROW_INPUT else nn.Linear
        layers += [initialise(kind(width, next_width)), activation()]
    return nn.Sequential(*layers)


class Policy(nn.Module):
    """Fully connected layers, shared by actor and critic or one stack for each, and a head.

    Dictionary and tuple observations come flattened to one float vector; bytes are scaled to [0, 1].

    Args:
        observation_layout, action_layout: of one agent.
        hidden_size: width of every layer.
        num_layers: hidden layers, at least one.
        activation: relu, tanh, gelu or silu.
        normalize_observations: to mean 0 and deviation 1 by running statistics, which are part of the policy.
        separate_critic: a stack of layers of its own for the value, of the same shape: where rewards are large, a
            shared one is bent to the value's needs.
        value_scale: what the value's output is multiplied by. An optimiser that moves every weight by about the
            learning rate takes long to reach values in the hundreds; about the size of an episode's return makes
            them as quick to learn as small ones (`vf_coef` is then to be divided by its square).
    """

    casts_inputs = True

    def __init__(
        self,
        observation_layout: ObservationLayout,
        action_layout: ActionLayout,
        *,
        hidden_size: int = 128,
        num_layers: int = 1,
        activation: str = "relu",
        normalize_observations: bool = False,
        separate_critic: bool = False,
        value_scale: float = 1.0,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ConfigError(
                "There is no such activation.",
                place=Place(section="policy", key="activation"),
                value=activation,
                rule=f"Valid are {', '.join(ACTIVATIONS)}",
            )
        if not 0 < value_scale < math.inf:
            raise ConfigError(
                "The values cannot be scaled so.",
                place=Place(section="policy", key="value_scale"),
                value=value_scale,
                rule="It is a positive number",
            )
        self.hidden_size = 2 * hidden_size if separate_critic else hidden_size
        self.scale = 1 / 255 if observation_layout.dtype == torch.uint8 else 1.0
        size = math.prod(observation_layout.shape)
        self.normaliser = ObservationNormaliser(size) if normalize_observations else None
        widths = [size] + [hidden_size] * num_layers
        self.layers = _stack(widths, ACTIVATIONS[activation])
        self.critic_layers = _stack(widths, ACTIVATIONS[activation]) if separate_critic else None
        self.head = Head(hidden_size, action_layout, separate_value=separate_critic, value_scale=value_scale)

    def encode_observations(self, observations: torch.Tensor) -> torch.Tensor:
        """(B, *O) → (B, hidden_size)."""
        flat = observations.flatten(1)
        if self.normaliser is not None:
            flat = self.normaliser(flat)
        flat = flat.to(cast("nn.Linear", self.layers[0]).weight.dtype)
        flat = flat if self.scale == 1.0 else flat * self.scale
        hidden: torch.Tensor = self.layers(flat)
        return hidden if self.critic_layers is None else torch.cat([hidden, self.critic_layers(flat)], dim=1)

    def decode_actions(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, hidden_size) → scores (B, K), values (B,)."""
        scores, values = self.head(hidden)
        return scores, values
