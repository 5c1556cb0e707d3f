"""The device's memory: how much a run has taken, how much it may, and a sentence when it is not enough."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import torch

from trainer.errors import MemoryExhaustedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainer.config import TrainSection
    from trainer.ppo.buffer import RolloutBuffer

GIBIBYTE = 1 << 30


SHARE_VARIABLE = "PUFFER_SWEEP_DEVICE_SHARE"
"""Names the share of the device's memory that this process may take: set by whoever starts several on one."""


def respect_share(device: torch.device) -> None:
    """Keep to the share that this process was started with, if it was given one."""
    share = os.environ.get(SHARE_VARIABLE)
    if share is not None and device.type == "cuda":
        limit_share(device, float(share))


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


def device_memory_error(
    error: torch.OutOfMemoryError, settings: TrainSection, device: torch.device
) -> MemoryExhaustedError:
    """What to say of a failed allocation: what was wanted, what was taken, which setting to lower."""
    taken: int | None = None
    total: int | None = None
    if device.type == "cuda":
        # The failed run's tensors are still held by the traceback: what is counted here is what it had.
        taken = torch.cuda.memory_allocated(device)
        total = torch.cuda.get_device_properties(device).total_memory
    return MemoryExhaustedError(
        explain_shortage(str(error), taken, total), on_device=True, remedy=remedy_for(settings)
    )


def explain_shortage(message: str, taken_bytes: int | None, total_bytes: int | None) -> str:
    """One sentence about a failed allocation, from PyTorch's message and the allocator's counts."""
    wanted = re.search(r"allocate ([0-9.]+ [KMGT]iB)", message)
    sentence = "The device has run out of memory"
    if wanted:
        sentence += f": {wanted.group(1)} were asked for"
        if taken_bytes is not None:
            sentence += f" while this process held {taken_bytes / GIBIBYTE:.2f} GiB"
    if total_bytes is not None:
        sentence += f" (the device has {total_bytes / GIBIBYTE:.1f} GiB)"
    return f"{sentence}."


def remedy_for(settings: TrainSection) -> str:
    """The settings to lower, those that cost nothing but time first."""
    below = min(settings.minibatch_size, settings.max_minibatch_size)
    ways = [f"lower train.max_minibatch_size below {below}, so that minibatches are learnt in pieces"]
    if not settings.cpu_offload:
        ways.append("set train.cpu_offload to keep the observations in host memory")
    ways.append("lower vec.num_envs or train.bptt_horizon")
    ways.append("run fewer trials on this GPU (sweep.trials_per_gpu)")
    sentence = "; or ".join(ways)
    return f"{sentence[0].upper()}{sentence[1:]}."


def buffer_bytes(buffer: RolloutBuffer) -> tuple[int, int]:
    """What the observations take, and everything else."""
    observations = buffer.observations.nbytes
    return observations, sum(tensor.nbytes for tensor in _tensors(buffer)) - observations


def _tensors(buffer: RolloutBuffer) -> Iterator[torch.Tensor]:
    yield from buffer.states
    for name in buffer.__slots__:
        if name != "states":
            yield getattr(buffer, name)
