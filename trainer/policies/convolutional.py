"""`Convolutional`: the network of Mnih et al., "Human-level control through deep RL" (Nature, 2015)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from trainer.errors import InfeasibleConfigError, Place
from trainer.policies.base import Head, initialise

if TYPE_CHECKING:
    from trainer.vector.base import ActionLayout, ObservationLayout


class PixelConvolution(nn.Conv2d):
    """A first convolution that takes bytes as they are.

    Dividing a batch of frames by 255 is a pass over the whole batch; dividing the kernel instead is a pass
    over a few thousand weights, and exact in the same sense. 0 … 255 are also exact in bfloat16.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int, *, bytes_in: bool
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride)
        self.scale = 1 / 255 if bytes_in else 1.0

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) of any dtype → feature maps in the weights' dtype."""
        pixels = _as_dense(observations, self.weight.dtype)
        weight = self.weight if self.scale == 1.0 else self.weight * self.scale
        return functional.conv2d(pixels, weight, self.bias, self.stride)


def _as_dense(observations: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    # Channels last pays in training (a third faster and more in bfloat16); in the small batches of a rollout
    # turning them round costs what it saves, unless they already lie so.
    if torch.is_grad_enabled():
        return observations.to(dtype, memory_format=torch.channels_last)
    return observations.to(dtype)


class Convolutional(nn.Module):
    """Three convolutions and a fully connected layer for (channels, height, width) images.

    Args:
        observation_layout: shape (C, H, W), H and W at least 36.
        action_layout: of one agent.
        hidden_size: width of the fully connected layer.
    """

    casts_inputs = True
    prefers_channels_last = True
    """On the CPU the rollout buffer keeps the images in that order."""

    def __init__(
        self, observation_layout: ObservationLayout, action_layout: ActionLayout, *, hidden_size: int = 512
    ) -> None:
        super().__init__()
        shape = observation_layout.shape
        if len(shape) != 3 or min(shape[1:]) < 36:
            raise InfeasibleConfigError(
                "The Convolutional policy does not fit this environment's observations.",
                place=Place(section="base", key="policy_name"),
                value=shape,
                rule="It takes images of shape (channels, height, width), at least 36 pixels high and wide.",
                remedy="Take policy_name = Policy.",
            )
        self.hidden_size = hidden_size
        bytes_in = observation_layout.dtype == torch.uint8
        self.first = PixelConvolution(shape[0], 32, 8, 4, bytes_in=bytes_in)
        self.second = nn.Conv2d(32, 64, 4, 2)
        self.third = nn.Conv2d(64, 64, 3, 1)
        height, width = ((((size - 8) // 4 + 1) - 4) // 2 + 1 - 2 for size in shape[1:])
        self.dense = nn.Linear(64 * height * width, hidden_size)
        for layer in (self.first, self.second, self.third, self.dense):
            initialise(layer)
        self.head = Head(hidden_size, action_layout)

    def encode_observations(self, observations: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) → (B, hidden_size)."""
        maps = functional.relu(self.first(observations), inplace=True)
        maps = functional.relu(self.second(maps), inplace=True)
        maps = functional.relu(self.third(maps), inplace=True)
        return functional.relu(self.dense(maps.flatten(1)), inplace=True)

    def decode_actions(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, hidden_size) → scores (B, K), values (B,)."""
        scores, values = self.head(hidden)
        return scores, values
