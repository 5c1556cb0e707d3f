"""`ProcgenResnet`: the residual network of Espeholt et al., "IMPALA" (2018), as Procgen's authors use it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn import functional

from trainer.errors import InfeasibleConfigError, Place
from trainer.policies.base import Head, initialise

if TYPE_CHECKING:
    from trainer.vector.base import ActionLayout, ObservationLayout


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = initialise(nn.Conv2d(channels, channels, 3, padding=1))
        self.second = initialise(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) → the same shape."""
        inner = self.first(functional.relu(maps))
        result: torch.Tensor = maps + self.second(functional.relu(inner))
        return result


class Stage(nn.Module):
    """A convolution, pooling to half the size, and two residual blocks."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolution = initialise(nn.Conv2d(in_channels, out_channels, 3, padding=1))
        self.blocks = nn.Sequential(ResidualBlock(out_channels), ResidualBlock(out_channels))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) → (B, C', ⌈H/2⌉, ⌈W/2⌉)."""
        pooled = functional.max_pool2d(self.convolution(maps), kernel_size=3, stride=2, padding=1)
        result: torch.Tensor = self.blocks(pooled)
        return result


class ProcgenResnet(nn.Module):
    """Three residual stages and a fully connected layer.

    Args:
        observation_layout: shape (C, H, W), or (H, W, C) where only the last axis can be colours.
        action_layout: of one agent.
        cnn_width: channels of the first stage; the other two have twice as many.
        mlp_width: width of the fully connected layer.
    """

    casts_inputs = True

    def __init__(
        self,
        observation_layout: ObservationLayout,
        action_layout: ActionLayout,
        *,
        cnn_width: int = 16,
        mlp_width: int = 256,
    ) -> None:
        super().__init__()
        shape = observation_layout.shape
        if len(shape) != 3:
            raise InfeasibleConfigError(
                "The ProcgenResnet policy does not fit this environment's observations.",
                place=Place(section="base", key="policy_name"),
                value=shape,
                rule="It takes images of three axes.",
                remedy="Take policy_name = Policy.",
            )
        self.hidden_size = mlp_width
        self.colours_last = shape[2] <= 4 < shape[0]
        channels, height, width = (shape[2], shape[0], shape[1]) if self.colours_last else shape
        self.scale = 1 / 255 if observation_layout.dtype == torch.uint8 else 1.0
        widths = (channels, cnn_width, 2 * cnn_width, 2 * cnn_width)
        self.stages = nn.Sequential(*(Stage(*pair) for pair in pairwise(widths)))
        pooled = [-(-size // 8) for size in (height, width)]
        self.dense = initialise(nn.Linear(2 * cnn_width * pooled[0] * pooled[1], mlp_width))
        self.head = Head(mlp_width, action_layout)

    def encode_observations(self, observations: torch.Tensor) -> torch.Tensor:
        """(B, *O) → (B, mlp_width)."""
        images = observations.permute(0, 3, 1, 2) if self.colours_last else observations
        maps = self.stages(images.to(cast("nn.Linear", self.dense).weight.dtype) * self.scale)
        hidden: torch.Tensor = self.dense(functional.relu(maps).flatten(1))
        return functional.relu(hidden)

    def decode_actions(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, mlp_width) → scores (B, K), values (B,)."""
        scores, values = self.head(hidden)
        return scores, values
