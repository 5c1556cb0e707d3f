"""What the backends with workers share: environments divided among them, batches under way in a fixed order."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from typing import TYPE_CHECKING

from trainer.envs.shard import Report
from trainer.vector.base import StepBatch, VectorEnv
from trainer.vector.batches import BatchBuilder, describe_silence, to_fault
from trainer.vector.carrier import ActionCarrier
from trainer.vector.watchdog import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from trainer.envs.recipe import Recipe
    from trainer.envs.shard import Array, FaultyEnvironmentError, Slots
    from trainer.errors import PufferError


class ShardedVectorEnv(VectorEnv):
    """Shards in workers, whatever those are. Batches come in a fixed order, so that runs repeat bit by bit.

    Args:
        recipe: of the environment.
        num_envs: of all workers together, a multiple of `num_workers`.
        num_workers: each has a shard.
        batch_envs: environments per batch: a whole number of workers' worth that divides `num_envs`.
        device: where batches go.
        copy: whether batches on the CPU are copies of the slots.
        timeout_seconds: a worker that is silent for so long hangs.
    """

    def __init__(
        self,
        recipe: Recipe,
        num_envs: int,
        num_workers: int,
        batch_envs: int,
        device: torch.device,
        *,
        copy: bool,
        timeout_seconds: float,
    ) -> None:
        self.num_envs = num_envs
        self.agents_per_env = recipe.agents_per_env
        self.num_agents = num_envs * recipe.agents_per_env
        self.batch_agents = batch_envs * recipe.agents_per_env
        self.observation_layout = recipe.observation_layout
        self.action_layout = recipe.action_layout
        self.device = device
        self._patience_seconds = PATIENCE * timeout_seconds
        self._num_workers = num_workers
        self._num_batches = num_envs // batch_envs
        self._envs_per_worker = num_envs // num_workers
        self._rows_per_worker = self._envs_per_worker * self.agents_per_env
        self._workers_per_batch = batch_envs // self._envs_per_worker
        self._builders = [BatchBuilder(device, copy=copy) for _ in range(self._num_batches)]
        self._carriers = [
            ActionCarrier(recipe.action_layout, self.batch_agents) for _ in range(self._num_batches)
        ]
        self._flying: deque[int] = deque()
        self._awaited: int | None = None
        self._fault: PufferError | None = None

    @abstractmethod
    def _is_open(self) -> bool:
        """Whether there are workers."""

    @abstractmethod
    def _let_reset(self, seed: int) -> None:
        """Wait for the steps under way, then let every worker begin anew."""

    @abstractmethod
    def _let_step(self, batch: int, actions: torch.Tensor) -> None:
        """Let the workers of a batch step with actions (B, width), which its carrier brings to the host."""

    @abstractmethod
    def _collect(self, batch: int) -> tuple[Slots, dict[int, Mapping[str, float]]]:
        """Wait for the workers of a batch: their slots side by side, and extras by row of the batch.

        Raises:
            PufferError: what has gone wrong in one of them; kept as `_fault`.
        """

    def reset(self, seed: int) -> None:
        """Begin all episodes anew, after the steps that are under way."""
        self._check_usable()
        self._let_reset(seed)
        self._flying = deque(range(self._num_batches))
        self._awaited = None

    def recv(self) -> StepBatch:
        """Wait for the batch that has been under way longest."""
        self._check_usable()
        if not self._flying:
            raise RuntimeError("recv() before reset() or send()")
        batch = self._flying.popleft()
        slots, extras = self._collect(batch)
        self._awaited = batch
        return self._builders[batch].build(slots, Report(extras), batch * self.batch_agents)

    def send(self, actions: torch.Tensor) -> None:
        """Let the workers of the last batch step."""
        self._check_usable()
        if self._awaited is None:
            raise RuntimeError("send() before recv()")
        batch = self._awaited
        self._let_step(batch, actions)
        self._awaited = None
        self._flying.append(batch)

    def _team(self, batch: int) -> range:
        """Numbers of the workers that make a batch."""
        return range(batch * self._workers_per_batch, (batch + 1) * self._workers_per_batch)

    def _first_env(self, number: int) -> int:
        """Number of a worker's first environment."""
        return number * self._envs_per_worker

    def _told(self, error: FaultyEnvironmentError, number: int) -> PufferError:
        """Keep and return the fault that a worker has told of."""
        self._fault = to_fault(error, self._first_env(number), self.backend)
        return self._fault

    def _silent(self, number: int, cursor: int, what: str, actions: Array | None, cause: str) -> PufferError:
        """Keep and return the fault of a worker that cannot speak for itself.

        Args:
            number: the worker's.
            cursor: which of its environments was being stepped, as far as is known; else -1.
            what: has happened.
            actions: (rows of this worker, width), None in a reset.
            cause: a traceback's text, or nothing.
        """
        first = self._first_env(number)
        if self._envs_per_worker == 1:
            cursor = 0
        envs = range(first, first + self._envs_per_worker)
        by_env = None if actions is None else actions.reshape(self._envs_per_worker, -1)
        if cursor >= 0:
            envs = range(first + cursor, first + cursor + 1)
            by_env = None if by_env is None else by_env[cursor : cursor + 1]
        self._fault = describe_silence(envs, self.backend, what, by_env, cause)
        return self._fault

    def _check_usable(self) -> None:
        if not self._is_open():
            raise RuntimeError("the vector environment is closed")
        if self._fault is not None:
            raise self._fault
