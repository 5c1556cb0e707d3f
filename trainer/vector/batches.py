"""From a shard's NumPy slots to the trainer's tensors, and from its actions back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from trainer.envs.shard import FaultyEnvironmentError, any_true
from trainer.errors import EnvironmentFault
from trainer.vector.base import EpisodeStats, FinalObservations, StepBatch

if TYPE_CHECKING:
    from trainer.envs.shard import Array, Report, Slots

Extras = Mapping[int, Mapping[str, float]]

_MOST_ACTIONS_SHOWN = 64
_FIXED = ("rewards", "terminated", "truncated", "live")
"""Slots that stay the same arrays; observations are replaced where a shard has them in memory of its own."""


def to_fault(error: FaultyEnvironmentError, first_env: int, backend: str) -> EnvironmentFault:
    """What the trainer sees of a failing environment: its index over all, the action, the traceback."""
    sentence = f"Environment {first_env + error.env} ({backend}) {error.what}"
    if error.action is not None:
        sentence += f" after the action {error.action}"
    return EnvironmentFault(sentence, remedy=_traceback(error.cause))


def describe_silence(
    envs: range, backend: str, what: str, actions: Array | None, cause: str
) -> EnvironmentFault:
    """The fault of environments that no longer answer.

    Args:
        envs: those that it may be; one where that is known.
        backend: its name.
        what: has happened, as the rest of a sentence.
        actions: one row for each of `envs`, None in a reset.
        cause: a traceback's text, or nothing.
    """
    if len(envs) == 1:
        action = None if actions is None else str(actions[0].squeeze().tolist())
        return to_fault(FaultyEnvironmentError(envs[0], what, action=action, cause=cause), 0, backend)
    sentence = f"One of the environments {envs[0]} to {envs[-1]} ({backend}) {what}"
    if actions is not None:
        shown = ", ".join(str(row.squeeze().tolist()) for row in actions[:_MOST_ACTIONS_SHOWN])
        more = ", …" if len(actions) > _MOST_ACTIONS_SHOWN else ""
        sentence += f" after the actions {shown}{more}"
    return EnvironmentFault(sentence, remedy=_traceback(cause))


def _traceback(cause: str | None) -> str | None:
    return f"Its traceback:\n{cause.rstrip()}" if cause else None


class BatchBuilder:
    """Makes batches of slots; keeps pinned staging memory where the device is CUDA.

    Args:
        device: where batches go.
        copy: whether observations on the CPU are copied instead of sharing the slots' memory.
    """

    def __init__(self, device: torch.device, *, copy: bool = False) -> None:
        self._device = device
        self._on_cpu = device.type == "cpu"
        self._copy = copy and self._on_cpu
        self._staging: dict[str, torch.Tensor] = {}
        self._uploaded: torch.cuda.Event | None = None
        self._seen: Slots | None = None
        self._fixed: tuple[torch.Tensor, ...] = ()
        self._quiet: StepBatch | None = None
        self._frames: tuple[Array | None, torch.Tensor] = None, torch.empty(0)

    def build(self, slots: Slots, report: Report, first_row: int) -> StepBatch:
        """A batch over the slots. On the CPU its tensors share the slots' memory."""
        if report.quiet and self._quiet is not None and self._frames[0] is slots.observations:
            # The same memory, of which there is nothing else to tell than before.
            return self._quiet
        if slots is not self._seen:
            self._seen = slots
            self._fixed = tuple(torch.from_numpy(getattr(slots, name)) for name in _FIXED)
        if slots.observations is not self._frames[0]:
            self._frames = slots.observations, torch.from_numpy(slots.observations)
        final = episodes = None
        if not report.quiet:
            if any_true(slots.truncated):
                rows = slots.truncated.nonzero()[0]
                final = FinalObservations(self._own(rows), self._own(slots.final_observations[rows]))
            if any_true(slots.ended):
                episodes = self._episodes(slots, report.extras)
        frames, fixed = self._frames[1], self._fixed
        if not self._on_cpu:
            # Long over, since the actions that led here were computed from what was uploaded before; unless a reset
            # came between.
            if self._uploaded is not None:
                self._uploaded.synchronize()
            frames = self._upload("observations", frames)
            fixed = tuple(self._upload(name, one) for name, one in zip(_FIXED, fixed, strict=True))
            self._uploaded = torch.cuda.current_stream(self._device).record_event(self._uploaded)
        elif self._copy:
            frames = frames.clone()
        rewards, terminated, truncated, live = fixed
        batch = StepBatch(
            first_row, len(slots.rewards), frames, rewards, terminated, truncated, live, final, episodes
        )
        self._quiet = batch if report.quiet and self._on_cpu and not self._copy else None
        return batch

    def _episodes(self, slots: Slots, extras: Extras) -> EpisodeStats:
        rows = slots.ended.nonzero()[0]
        names = sorted({name for reported in extras.values() for name in reported}) if extras else ()
        extra = {
            name: torch.tensor(
                [extras.get(int(row), {}).get(name, float("nan")) for row in rows], dtype=torch.float64
            )
            for name in names
        }
        return EpisodeStats(
            torch.from_numpy(slots.returns[rows]),
            torch.from_numpy(slots.lengths[rows]),
            extra,
            torch.from_numpy(rows),
        )

    def _own(self, values: Array) -> torch.Tensor:
        tensor = torch.from_numpy(values)
        # The allocator of pinned memory keeps it until the copy is through.
        return tensor if self._on_cpu else tensor.pin_memory().to(self._device, non_blocking=True)

    def _upload(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        staging = self._staging.get(name)
        if staging is None or staging.shape != tensor.shape:
            staging = self._staging[name] = torch.empty_like(tensor, pin_memory=True)
        staging.copy_(tensor)
        return staging.to(self._device, non_blocking=True)
