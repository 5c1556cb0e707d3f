"""One block of memory that several processes see, cut into named arrays.

The memory has no name in any file system: it goes when the last process that maps it ends, however that ends.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer.envs.shard import Array

_ALIGNMENT = 64
"""Bytes; a cache line, so that two workers never write to the same one at an array's edge."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Where each array lies: name → (offset, shape, NumPy type's name)."""

    arrays: Mapping[str, tuple[int, tuple[int, ...], str]]
    num_bytes: int


def plan_arrays(shapes: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> Plan:
    """Lay arrays out one after the other."""
    arrays, offset = {}, 0
    for name, (shape, kind) in shapes.items():
        arrays[name] = (offset, shape, np.dtype(kind).str)
        num_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(kind).itemsize
        offset += -(-num_bytes // _ALIGNMENT) * _ALIGNMENT
    return Plan(arrays, max(offset, _ALIGNMENT))


def create_memory(num_bytes: int) -> int:
    """A file descriptor of zeroed memory without a name; the caller closes it."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("puffer-sweep")
    else:  # pragma: no cover - other systems than Linux
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, num_bytes)
    return descriptor


def map_arrays(descriptor: int, plan: Plan) -> dict[str, Array]:
    """The arrays of a plan in the memory behind a descriptor. They keep the mapping alive by themselves."""
    memory = mmap.mmap(descriptor, plan.num_bytes)
    return {
        name: np.frombuffer(memory, kind, int(np.prod(shape, dtype=np.int64)), offset).reshape(shape)
        for name, (offset, shape, kind) in plan.arrays.items()
    }
