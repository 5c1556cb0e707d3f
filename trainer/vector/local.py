"""Backends that step in this process: Serial (one after the other) and PufferEnv (natively vectorised)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.envs.shard import FaultyEnvironmentError, Report, Shard, Slots, check_finite
from trainer.vector.base import StepBatch, VectorEnv
from trainer.vector.batches import BatchBuilder, actions_to_numpy, to_fault

if TYPE_CHECKING:
    import torch

    from trainer.envs.shard import Array


class LocalVectorEnv(VectorEnv):
    """One shard in this process, every row in every batch.

    Args:
        shard: closed with this.
        device: where batches go.
        backend: the name to go by.
    """

    def __init__(self, shard: Shard, device: torch.device, backend: str) -> None:
        self.num_envs = shard.num_envs
        self.agents_per_env = shard.agents_per_env
        self.num_agents = self.batch_agents = shard.num_rows
        self.observation_layout = shard.observation_layout
        self.action_layout = shard.action_layout
        self.device = device
        self.backend = backend
        self._shard = shard
        self._slots = Slots.allocate(shard.num_rows, shard.observation_layout)
        self._builder = BatchBuilder(device)
        self._pending: StepBatch | None = None
        self._expects_actions = False
        self._fault: Exception | None = None
        self._closed = False

    def reset(self, seed: int) -> None:
        """Begin all episodes anew."""
        self._check_usable()
        try:
            self._shard.reset(seed, self._slots)
        except FaultyEnvironmentError as error:
            self._fail(error)
        self._expects_actions = False
        self._finish(Report(), None)

    def recv(self) -> StepBatch:
        """The batch that `reset` or `send` made."""
        self._check_usable()
        if self._pending is None:
            raise RuntimeError("recv() before reset() or send()")
        batch, self._pending = self._pending, None
        self._expects_actions = True
        return batch

    def send(self, actions: torch.Tensor) -> None:
        """Step every row."""
        self._check_usable()
        if not self._expects_actions:
            raise RuntimeError("send() before recv()")
        self._expects_actions = False
        choices = actions_to_numpy(actions, self.action_layout, self.num_agents)
        try:
            report = self._shard.step(choices, self._slots)
        except FaultyEnvironmentError as error:
            self._fault = to_fault(error, 0, self.backend)
            return
        self._finish(report, choices)

    def _finish(self, report: Report, choices: object) -> None:
        try:
            check_finite(self._slots, choices, self.agents_per_env)
        except FaultyEnvironmentError as error:
            self._fault = to_fault(error, 0, self.backend)
            return
        self._pending = self._builder.build(self._slots, report.extras, 0)

    def _fail(self, error: FaultyEnvironmentError) -> None:
        self._fault = to_fault(error, 0, self.backend)
        raise self._fault from error

    def _check_usable(self) -> None:
        if self._closed:
            raise RuntimeError("the vector environment is closed")
        if self._fault is not None:
            raise self._fault

    def peek(self) -> Array:
        """The observations as they are now, (B, *O)."""
        return self._slots.observations

    def close(self) -> None:
        """Close the shard."""
        if not self._closed:
            self._closed = True
            self._pending = None
            self._shard.close()
