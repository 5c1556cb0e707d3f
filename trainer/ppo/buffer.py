"""One batch of experience.

A buffer is time first: column s of (T, S) is a segment, T successive steps of one row. When S is a multiple
of the rows, a row fills several segments one after the other (rounds): round r of row n is column r N + n.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from trainer.ppo.advantage import Transitions
from trainer.ppo.images import allocate_images

if TYPE_CHECKING:
    from trainer.policies.base import State
    from trainer.policies.sampling import ActionDistribution
    from trainer.vector.base import ObservationLayout


@dataclass(slots=True)
class RolloutBuffer:
    """One batch of experience; its memory is used again for every rollout.

    Attributes:
        observations: (T, S, *O) in the environment's dtype, on the device or (offloaded) in host memory.
        actions: (T, S, width).
        scores: (T, S, K) of the policy that acted.
        values: (T, S) of the policy that acted.
        log_probs: (T, S) of the actions under the policy that acted.
        rewards, terminated, truncated, live: (T, S), of the step that began with this row's observation.
        following_values: (T, S), see `Transitions`.
        resets: bool (T, S): an episode begins with this observation.
        states: the agent's state before the first step, (S, H) each.
    """

    observations: torch.Tensor
    actions: torch.Tensor
    scores: torch.Tensor
    values: torch.Tensor
    log_probs: torch.Tensor
    rewards: torch.Tensor
    terminated: torch.Tensor
    truncated: torch.Tensor
    live: torch.Tensor
    following_values: torch.Tensor
    resets: torch.Tensor
    states: State

    @staticmethod
    def allocate(
        horizon: int,
        num_segments: int,
        layout: ObservationLayout,
        distribution: ActionDistribution,
        state: State,
        device: torch.device,
        *,
        offload: bool = False,
        channels_last: bool = False,
    ) -> RolloutBuffer:
        """Memory for `num_segments` segments of `horizon` steps.

        Args:
            horizon: T.
            num_segments: S.
            layout: of the observations.
            distribution: of the actions.
            state: an agent's state of any number of rows, for its shapes.
            device: of everything but offloaded observations.
            offload: keep the observations in pinned host memory.
            channels_last: how images (C, H, W) lie in memory; no other observations do.
        """
        shape = (horizon, num_segments)
        pinned = offload and device.type == "cuda"

        def floats() -> torch.Tensor:
            return torch.zeros(shape, device=device)

        def flags() -> torch.Tensor:
            return torch.zeros(shape, dtype=torch.bool, device=device)

        if channels_last:
            observations = allocate_images(
                shape, layout.shape, layout.dtype, torch.device("cpu") if offload else device
            )
        else:
            observations = torch.zeros(
                (*shape, *layout.shape),
                dtype=layout.dtype,
                device="cpu" if offload else device,
                pin_memory=pinned,
            )
        return RolloutBuffer(
            observations=observations,
            actions=torch.zeros((*shape, distribution.width), dtype=distribution.dtype, device=device),
            scores=torch.zeros((*shape, distribution.num_scores), device=device),
            values=floats(),
            log_probs=floats(),
            rewards=floats(),
            terminated=flags(),
            truncated=flags(),
            live=flags(),
            following_values=floats(),
            resets=flags(),
            states=tuple(torch.zeros((num_segments, *part.shape[1:]), device=device) for part in state),
        )

    def transitions(self) -> Transitions:
        """What the advantages need."""
        cut = self.terminated | self.truncated | ~self.live
        return Transitions(self.rewards, self.following_values, cut, self.live)
