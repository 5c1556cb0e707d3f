"""CUDA graphs: a function of static tensors is recorded once and then replayed with a single launch.

Whatever a step reads or writes between two calls must be the same memory every time. Numbers that change are
tensors that are filled between replays; what the step allocates on the way belongs to the graph.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_log = logging.getLogger(__name__)

WARM_UPS = 2
"""Runs before the capture: libraries make their handles and choose their kernels in the first, and the second
shows that nothing was left to do."""


@dataclass(frozen=True, slots=True)
class Captured:
    """A step that is ready to run.

    Attributes:
        replay: runs it.
        reason: why it is not a graph; None where it is one.
        seconds: that the capture took, warm-up included.
    """

    replay: Callable[[], None]
    reason: str | None
    seconds: float


class Capture(Protocol):
    """Makes a step replayable."""

    def __call__(
        self,
        name: str,
        step: Callable[[], None],
        kept: Sequence[torch.Tensor],
        generators: Sequence[torch.Generator],
    ) -> Captured:
        """Capture a step.

        Args:
            name: for people.
            step: works on static tensors only.
            kept: what the step changes; afterwards as it was before.
            generators: what the step draws from; afterwards as they were before.
        """
        ...


class NoCapture:
    """Runs steps as they are.

    Args:
        reason: why.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __call__(
        self,
        name: str,  # noqa: ARG002
        step: Callable[[], None],
        kept: Sequence[torch.Tensor],  # noqa: ARG002
        generators: Sequence[torch.Generator],  # noqa: ARG002
    ) -> Captured:
        """Nothing to do."""
        return Captured(step, self.reason, 0.0)


class GraphCapture:
    """Captures CUDA graphs that share one pool of memory: they are replayed one after the other.

    A step that cannot be captured (a user's policy that looks at a tensor's values, say) is run as it is from
    then on, with the reason kept.

    Args:
        device: CUDA.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.pool = torch.cuda.graph_pool_handle()
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(
        self,
        name: str,
        step: Callable[[], None],
        kept: Sequence[torch.Tensor],
        generators: Sequence[torch.Generator],
    ) -> Captured:
        """See `Capture`."""
        began = time.perf_counter()
        before = [tensor.clone() for tensor in kept]
        random = [generator.get_state() for generator in generators]
        with torch.cuda.device(self.device):
            self._warm_up(step)
            graph = torch.cuda.CUDAGraph()
            for generator in generators:
                graph.register_generator_state(generator)
            reason = None
            try:
                with torch.cuda.graph(
                    graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"
                ):
                    step()
            except torch.OutOfMemoryError:
                self._clean_up(generators, random)
                raise
            except RuntimeError as error:
                reason = _first_cause(error)
                _log.warning("%s is not captured as a CUDA graph and runs step by step: %s", name, reason)
                self._clean_up(generators, random)
        with torch.no_grad():
            for tensor, value in zip(kept, before, strict=True):
                tensor.copy_(value)
        for generator, state in zip(generators, random, strict=True):
            generator.set_state(state)
        torch.cuda.synchronize(self.device)
        replay = graph.replay if reason is None else step
        return Captured(replay, reason, time.perf_counter() - began)

    def _warm_up(self, step: Callable[[], None]) -> None:
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            for _ in range(WARM_UPS):
                step()
        current.wait_stream(self.stream)

    def _clean_up(self, generators: Sequence[torch.Generator], random: Sequence[torch.Tensor]) -> None:
        # What a broken capture leaves behind: an allocator that still waits for its end, and generators that
        # believe to be in it. A fresh generator's state takes the place of theirs.
        with contextlib.suppress(RuntimeError):
            torch._C._cuda_endAllocateToPool(self.device.index or 0, self.pool)  # noqa: SLF001 - nothing public does
        for generator, state in zip(generators, random, strict=True):
            fresh = torch.Generator(self.device)
            fresh.set_state(state)
            generator.graphsafe_set_state(fresh.graphsafe_get_state())


def _first_cause(error: BaseException) -> str:
    """The first line of what went wrong first: ending a broken capture raises a second error."""
    while error.__context__ is not None:
        error = error.__context__
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
