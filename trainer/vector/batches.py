"""From a shard's NumPy slots to the trainer's tensors, and from its actions back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from trainer.envs.shard import FaultyEnvironmentError
from trainer.errors import EnvironmentFault
from trainer.vector.base import EpisodeStats, FinalObservations, StepBatch

if TYPE_CHECKING:
    from trainer.envs.layout import ActionLayout
    from trainer.envs.shard import Array, Slots

Extras = Mapping[int, Mapping[str, float]]

_MOST_ACTIONS_SHOWN = 64


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


def actions_to_numpy(actions: torch.Tensor, layout: ActionLayout, num_rows: int) -> Array:
    """Actions as the shards take them: (B, width), continuous ones clipped to their bounds.

    Raises:
        ValueError: the wrong shape (a bug of ours).
    """
    if actions.shape != (num_rows, layout.width):
        raise ValueError(f"actions of shape {tuple(actions.shape)}, expected {(num_rows, layout.width)}")
    choices: Array = actions.numpy(force=True)
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
        self._on_cpu = device.type == "cpu"
        self._copy = copy and self._on_cpu
        self._staging: dict[str, torch.Tensor] = {}
        self._shared: dict[str, tuple[Array, torch.Tensor]] = {}

    def build(self, slots: Slots, extras: Extras, first_row: int) -> StepBatch:
        """A batch over the slots. On the CPU its tensors share the slots' memory."""
        final = None
        if np.count_nonzero(slots.truncated):
            rows = slots.truncated.nonzero()[0]
            final = FinalObservations(self._own(rows), self._own(slots.final_observations[rows]))
        return StepBatch(
            first_row,
            len(slots.rewards),
            self._observations(slots.observations),
            self._move("rewards", slots.rewards),
            self._move("terminated", slots.terminated),
            self._move("truncated", slots.truncated),
            self._move("live", slots.live),
            final,
            self._episodes(slots, extras) if np.count_nonzero(slots.ended) else None,
        )

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
        return torch.from_numpy(values).to(self._device)

    def _observations(self, values: Array) -> torch.Tensor:
        moved = self._move("observations", values)
        return moved.clone() if self._copy else moved

    def _move(self, name: str, values: Array) -> torch.Tensor:
        shared = self._shared.get(name)
        if shared is None or shared[0] is not values:
            shared = self._shared[name] = (values, torch.from_numpy(values))
        tensor = shared[1]
        return tensor if self._on_cpu else self._upload(name, tensor)

    def _upload(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        staging = self._staging.get(name)
        if staging is None or staging.shape != tensor.shape:
            staging = self._staging[name] = torch.empty_like(tensor, pin_memory=True)
        # The copy out of pinned memory is asynchronous; the one before it has long been waited for, because
        # the actions that led here were computed from it.
        staging.copy_(tensor)
        return staging.to(self._device, non_blocking=True)
