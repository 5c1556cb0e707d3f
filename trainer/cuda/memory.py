"""The device's memory: how much a run has taken, how much it may, and a sentence when it is not enough."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainer.ppo.buffer import RolloutBuffer

GIBIBYTE = 1 << 30


def limit_share(device: torch.device, share: float) -> None:
    """Let this process take at most a share of a device's memory; beyond it runs out.

    Trials side by side then fail one by one instead of all together.

    Args:
        device: CUDA.
        share: 0 < share <= 1, of the whole device.

    Raises:
        ValueError: the share is out of bounds.
    """
    if not 0 < share <= 1:
        raise ValueError(f"a share of {share}: it must be above 0 and at most 1")
    torch.cuda.set_per_process_memory_fraction(share, device)


def peak_bytes(device: torch.device) -> int:
    """The most that this process has reserved of a device so far: tensors, graphs and the allocator's reserves.

    What PyTorch and the driver need besides (some 500 MiB a process) comes on top.
    """
    return torch.cuda.max_memory_reserved(device)


def explain_shortage(error: BaseException, allocated_bytes: int | None, total_bytes: int | None) -> str:
    """One sentence about a failed allocation: what was wanted, what was taken, what there is."""
    wanted = re.search(r"allocate ([0-9.]+ [KMGT]iB)", str(error))
    sentence = "The device has run out of memory"
    if wanted:
        sentence += f": {wanted.group(1)} more were asked for"
        if allocated_bytes is not None:
            sentence += f" where {allocated_bytes / GIBIBYTE:.2f} GiB were in use by this run"
    if total_bytes is not None:
        sentence += f" (the device has {total_bytes / GIBIBYTE:.1f} GiB)"
    return f"{sentence}."


def buffer_bytes(buffer: RolloutBuffer) -> tuple[int, int]:
    """What the observations take, and everything else."""
    observations = buffer.observations.nbytes
    return observations, sum(tensor.nbytes for tensor in _tensors(buffer)) - observations


def _tensors(buffer: RolloutBuffer) -> Iterator[torch.Tensor]:
    yield from buffer.states
    for name in buffer.__slots__:
        if name != "states":
            yield getattr(buffer, name)
