"""From a shard's NumPy slots to the trainer's tensors, and from its actions back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from trainer.errors import EnvironmentFault
from trainer.vector.base import EpisodeStats, FinalObservations, StepBatch

if TYPE_CHECKING:
    from trainer.envs.layout import ActionLayout
    from trainer.envs.shard import Array, FaultyEnvironmentError, Slots

Extras = Mapping[int, Mapping[str, float]]


def to_fault(error: FaultyEnvironmentError, first_env: int, backend: str) -> EnvironmentFault:
    """What the trainer sees of a failing environment: its index over all, the action, the traceback."""
    sentence = f"Environment {first_env + error.env} ({backend}) {error.what}"
    if error.action is not None:
        sentence += f" after the action {error.action}"
    return EnvironmentFault(
        sentence, remedy=f"Its traceback:\n{error.cause.rstrip()}" if error.cause else None
    )


def actions_to_numpy(actions: torch.Tensor, layout: ActionLayout, num_rows: int) -> Array:
    """Actions as the shards take them: (B, width), continuous ones clipped to their bounds.

    Raises:
        ValueError: the wrong shape (a bug of ours).
    """
    if actions.shape != (num_rows, layout.width):
        raise ValueError(f"actions of shape {tuple(actions.shape)}, expected {(num_rows, layout.width)}")
    choices: Array = actions.detach().cpu().numpy()
    if layout.kind != "continuous":
        return choices if choices.dtype == np.int64 else choices.astype(np.int64)
    low, high = np.asarray(layout.low, np.float32), np.asarray(layout.high, np.float32)
    return np.clip(choices, low, high).astype(np.float32, copy=False)


class BatchBuilder:
    """Makes batches of slots; keeps pinned staging memory where the device is CUDA.

    Args:
        device: where batches go.
        copy: whether observations on the CPU are copied instead of sharing the slots' memory.
    """

    def __init__(self, device: torch.device, *, copy: bool = False) -> None:
        self._device = device
        self._copy = copy
        self._staging: dict[str, torch.Tensor] = {}
        self._known: dict[str, tuple[Array, torch.Tensor]] = {}

    def build(self, slots: Slots, extras: Extras, first_row: int) -> StepBatch:
        """A batch over the slots. On the CPU its tensors share the slots' memory."""
        final = None
        if slots.truncated.any():
            rows = np.flatnonzero(slots.truncated)
            final = FinalObservations(self._own(rows), self._own(slots.final_observations[rows]))
        return StepBatch(
            first_row=first_row,
            num_rows=len(slots.rewards),
            observations=self._move("observations", slots.observations),
            rewards=self._move("rewards", slots.rewards),
            terminated=self._move("terminated", slots.terminated),
            truncated=self._move("truncated", slots.truncated),
            live=self._move("live", slots.live),
            final_observations=final,
            episodes=self._episodes(slots, extras) if slots.ended.any() else None,
        )

    def _episodes(self, slots: Slots, extras: Extras) -> EpisodeStats:
        rows = np.flatnonzero(slots.ended)
        names = sorted({name for reported in extras.values() for name in reported})
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
        return torch.from_numpy(values).to(self._device)

    def _move(self, name: str, values: Array) -> torch.Tensor:
        known = self._known.get(name)
        if known is not None and known[0] is values:
            tensor = known[1]
        else:
            tensor = torch.from_numpy(values)
            self._known[name] = (values, tensor)
        if self._device.type == "cpu":
            return tensor.clone() if self._copy and name == "observations" else tensor
        staging = self._staging.get(name)
        if staging is None or staging.shape != tensor.shape:
            staging = self._staging[name] = torch.empty_like(tensor, pin_memory=True)
        # The copy out of pinned memory is asynchronous; the one before it has long been waited for, because
        # the
        # actions that led here were computed from it.
        staging.copy_(tensor)
        return staging.to(self._device, non_blocking=True)
