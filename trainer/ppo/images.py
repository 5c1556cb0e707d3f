"""Where images lie in memory: channels last, which is what convolutions on the CPU compute fastest on.

Turning frames round takes as long as a convolution does, so that it is done once, when a frame enters the buffer,
and not at every pass of learning.
"""

from __future__ import annotations

import torch

BYTES_IN_A_WORD = 4


def allocate_images(
    leading: tuple[int, ...], shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    """Zeros of shape (*leading, C, H, W) whose channels lie side by side in memory."""
    channels, height, width = shape
    return torch.zeros((*leading, height, width, channels), dtype=dtype, device=device).movedim(-1, -3)


def put_observations(observations: torch.Tensor, place: torch.Tensor) -> None:
    """Copy observations (B, *O) to a place that may lie in another order in memory."""
    if (
        place.dim() != 4
        or place.is_contiguous()
        or place.shape[1] != BYTES_IN_A_WORD
        or (place.dtype, place.device.type, observations.device.type) != (torch.uint8, "cpu", "cpu")
    ):
        # From a GPU into pinned memory the copy goes on while the host does; whoever reads there has waited for the
        # device, to learn which segments to read.
        place.copy_(observations, non_blocking=True)
        return
    # Four bytes at a time: three times as quick as a copy that goes byte by byte.
    words = place.movedim(1, -1).view(torch.int32).squeeze(-1)
    planes = observations.to(torch.int32).unbind(1)
    torch.add(planes[0], planes[1], alpha=1 << 8, out=words)
    words.add_(planes[2], alpha=1 << 16).add_(planes[3], alpha=1 << 24)


def choose_segments(observations: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Some segments of a buffer's observations (T, S, *O): (T, M, *O), in the same order in memory."""
    if observations.is_contiguous() or observations.dim() != 5:
        return observations.index_select(1, columns)
    return observations.movedim(2, -1).index_select(1, columns).movedim(-1, 2)
