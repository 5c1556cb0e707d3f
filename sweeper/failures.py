"""What kind of failure an exception is, in a worker, and what it says."""

from __future__ import annotations

import errno
import sys

from trainer.errors import FailureKind, PufferError, TrainingError

_DISK_IS_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def failure_kind(error: BaseException) -> FailureKind:
    """Which kind of failure an exception is."""
    if isinstance(error, TrainingError):
        return error.failure_kind
    if isinstance(error, PufferError):
        return FailureKind.CONFIG
    if isinstance(error, MemoryError):
        return FailureKind.OUT_OF_MEMORY
    if isinstance(error, OSError) and error.errno in _DISK_IS_FULL:
        # Whatever it was that could not be written, the trial goes on from its last checkpoint once there is room.
        return FailureKind.CHECKPOINT
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return FailureKind.OUT_OF_DEVICE_MEMORY
    return FailureKind.CRASH


def message_of(error: Exception) -> str:
    """What an exception says, for people."""
    if isinstance(error, PufferError):
        return error.paragraph()
    if isinstance(error, MemoryError) and not str(error):
        return "Out of memory."
    return f"{type(error).__name__}: {error}"
