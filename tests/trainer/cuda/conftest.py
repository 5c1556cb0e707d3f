"""A stand-in for CUDA graphs on the CPU: it records operations on concrete memory, and replays those alone."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trainer.cuda.capture import Captured

WAITS = ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::_unique2")
"""Operations for which the host looks at the device's numbers, or copies its own there from pageable memory."""


class Recording(TorchDispatchMode):
    """Notes every operation with the very tensors that it works on; refuses what a capture would."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name
        # `x[0] = 1` makes its number on the device itself; a list of numbers has to get there.
        if name in WAITS or (name == "aten::lift_fresh" and args[0].ndim):
            raise RuntimeError(f"{name}: operation not permitted when stream is capturing")
        if name in ("aten::index", "aten::index_put_", "aten::index_put") and any(
            isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        ):
            raise RuntimeError(f"{name} by a mask: operation not permitted when stream is capturing")
        results = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, results))
        return results

    def replay(self) -> None:
        with torch.no_grad():
            for func, args, kwargs, results in self.calls:
                again = func(*args, **kwargs)
                for kept, new in zip(tree_leaves(results), tree_leaves(again), strict=True):
                    if isinstance(kept, torch.Tensor) and kept.data_ptr() != new.data_ptr():
                        kept.copy_(new)


class RecordedCapture:
    """As `GraphCapture`: one run to warm up, one recorded, everything as before; then replays."""

    def __init__(self) -> None:
        self.names = []

    def __call__(self, name, step, kept, generators) -> Captured:
        self.names.append(name)
        before = [tensor.clone() for tensor in kept]
        random = [generator.get_state() for generator in generators]
        step()
        recording = Recording()
        try:
            with recording:
                step()
        finally:
            with torch.no_grad():
                for tensor, value in zip(kept, before, strict=True):
                    tensor.copy_(value)
            for generator, state in zip(generators, random, strict=True):
                generator.set_state(state)
        return Captured(recording.replay, None, 0.0)


@pytest.fixture
def recorded_capture():
    return RecordedCapture()
