"""Backends that step in this process: Serial (one after the other) and PufferEnv (natively vectorised)."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from trainer.envs.shard import FaultyEnvironmentError, OverlappingShard, Report, Shard, Slots, check_finite
from trainer.vector.base import StepBatch, VectorEnv
from trainer.vector.batches import BatchBuilder, describe_silence, to_fault
from trainer.vector.carrier import ActionCarrier
from trainer.vector.watchdog import OverdueError, Watchdog

if TYPE_CHECKING:
    import torch

    from trainer.envs.shard import Array
    from trainer.errors import EnvironmentFault


class LocalVectorEnv(VectorEnv):
    """One shard in this process, every row in every batch.

    A shard that steps without the interpreter does so between `send` and `recv`, any other one in `send`.

    Args:
        shard: closed with this.
        device: where batches go.
        backend: the name to go by.
        timeout_seconds: a step, a reset or a close that takes so long hangs.
    """

    def __init__(
        self, shard: Shard, device: torch.device, backend: str, *, timeout_seconds: float = 300.0
    ) -> None:
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
        self._carrier = ActionCarrier(shard.action_layout, shard.num_rows)
        self._overlapping = shard if isinstance(shard, OverlappingShard) else None
        self._is_stepping = False
        self._pending: StepBatch | None = None
        self._expects_actions = False
        self._fault: Exception | None = None
        self._closed = False
        self._choices: Array | None = None
        self._begun_with: int | None = None
        self._watchdog = Watchdog(timeout_seconds, self._account)

    def reset(self, seed: int) -> None:
        """Begin all episodes anew."""
        self._check_usable()
        if self._pending is not None and self._begun_with == seed:
            # Begun with this seed and untouched since: it would all come out the same.
            return
        self._let_arrive()
        self._begun_with = None
        self._expects_actions = False
        self._choices = None
        try:
            with self._watchdog:
                self._shard.reset(seed, self._slots)
        except FaultyEnvironmentError as error:
            self._fault = to_fault(error, 0, self.backend)
        except OverdueError as error:
            self._fault = self._hang("".join(traceback.format_exception(error)))
        else:
            self._finish(Report())
            self._begun_with = seed
        if self._fault is not None:
            raise self._fault

    def recv(self) -> StepBatch:
        """The batch that `reset` or `send` made, when it is there."""
        if self._is_stepping:
            self._let_arrive()
        else:
            self._check_usable()
        if self._pending is None:
            raise RuntimeError("recv() before reset() or send()")
        batch, self._pending = self._pending, None
        self._begun_with = None
        self._expects_actions = True
        return batch

    def send(self, actions: torch.Tensor) -> None:
        """Step every row."""
        self._check_usable()
        if not self._expects_actions:
            raise RuntimeError("send() before recv()")
        self._expects_actions = False
        self._choices = choices = self._carrier.fetch(actions)
        try:
            if self._overlapping is not None:
                # Waits for nothing, so that nobody need watch it.
                self._overlapping.begin(choices)
                self._is_stepping = True
                return
            with self._watchdog:
                report = self._shard.step(choices, self._slots)
        except FaultyEnvironmentError as error:
            self._fault = to_fault(error, 0, self.backend)
        except OverdueError as error:
            self._fault = self._hang("".join(traceback.format_exception(error)))
        else:
            self._finish(report)

    def _let_arrive(self) -> None:
        """Wait for the step that is under way, if there is one.

        Raises:
            EnvironmentFault: it has failed, or an earlier one.
        """
        self._check_usable()
        if self._overlapping is None or not self._is_stepping:
            return
        self._is_stepping = False
        try:
            with self._watchdog:
                report = self._overlapping.finish(self._slots)
        except FaultyEnvironmentError as error:
            self._fault = to_fault(error, 0, self.backend)
        except OverdueError as error:
            self._fault = self._hang("".join(traceback.format_exception(error)))
        else:
            self._finish(report)
        if self._fault is not None:
            raise self._fault

    def _finish(self, report: Report) -> None:
        if not self._shard.always_finite:
            try:
                check_finite(self._shard, self._slots, self._choices)
            except FaultyEnvironmentError as error:
                self._fault = to_fault(error, 0, self.backend)
                return
        self._pending = self._builder.build(self._slots, report, 0)

    def _hang(self, cause: str) -> EnvironmentFault:
        """Which environment hangs, after which action, and where."""
        cursor = int(self._shard.cursor[0])
        return describe_silence(
            range(self.num_envs) if cursor < 0 else range(cursor, cursor + 1),
            self.backend,
            f"has not come back for {self._watchdog.patience_seconds:g} seconds",
            None if self._choices is None else self._choices.reshape(self.num_envs, -1),
            cause,
        )

    def _account(self) -> str:
        return str(self._hang(""))

    def _check_usable(self) -> None:
        if self._closed:
            raise RuntimeError("the vector environment is closed")
        if self._fault is not None:
            raise self._fault

    def peek(self) -> Array:
        """The observations as they are now, (B, *O)."""
        self._let_arrive()
        return self._slots.observations

    def close(self) -> None:
        """Close the shard. Of environments that have hung already, nobody waits to hear that they hang again."""
        if self._closed:
            return
        self._closed = True
        self._pending = None
        try:
            with self._watchdog:
                self._shard.close()
        except OverdueError as error:
            if self._fault is None:
                raise self._hang("".join(traceback.format_exception(error))) from error
        finally:
            self._watchdog.close()
