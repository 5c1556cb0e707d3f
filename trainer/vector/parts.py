"""The PufferEnv backend in parts: while the policy works on one part of the environments, the others step.

Natively vectorised environments step in C++ and leave the interpreter free meanwhile, so that a thread a part is all
it takes. It pays where the policy runs on a GPU and the environments on the host's cores.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING

from trainer.envs.recipe import NATIVE
from trainer.envs.shard import FaultyEnvironmentError, Report, Slots, check_finite
from trainer.vector.sharded import ShardedVectorEnv

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    from trainer.envs.recipe import Recipe
    from trainer.envs.shard import Array


class PartsVectorEnv(ShardedVectorEnv):
    """Shards in threads, one a batch. Batches come in a fixed order.

    Args:
        recipe: of the environment, natively vectorised.
        num_envs: of all parts together.
        batch_envs: of each part; divides `num_envs`.
        device: where batches go.
        num_threads: of each part: all of the cores, since the parts take turns more than they share.
        timeout_seconds: a part that is silent for so long hangs.
    """

    backend = NATIVE

    def __init__(
        self,
        recipe: Recipe,
        num_envs: int,
        batch_envs: int,
        device: torch.device,
        *,
        num_threads: int,
        timeout_seconds: float,
    ) -> None:
        super().__init__(
            recipe,
            num_envs,
            num_envs // batch_envs,
            batch_envs,
            device,
            copy=False,
            timeout_seconds=timeout_seconds,
        )
        self._shards = [
            recipe.make_shard(batch_envs, num_threads=num_threads, native=True)
            for _ in range(self._num_batches)
        ]
        self._slots = [Slots.allocate(self.batch_agents, self.observation_layout) for _ in self._shards]
        self._threads = [
            ThreadPoolExecutor(1, f"environments-{number}") for number in range(len(self._shards))
        ]
        self._under_way: list[Future[Report] | None] = [None] * len(self._shards)
        self._choices: list[Array | None] = [None] * len(self._shards)

    def _is_open(self) -> bool:
        return bool(self._threads)

    def _let_reset(self, seed: int) -> None:
        for number in range(len(self._shards)):
            if self._under_way[number] is not None:
                self._wait(number)
        for number in range(len(self._shards)):
            self._begin(number, None, self._reset_one(number, seed + self._first_env(number)))

    def _reset_one(self, number: int, seed: int) -> Callable[[], Report]:
        def reset() -> Report:
            self._shards[number].reset(seed, self._slots[number])
            return Report()

        return reset

    def _let_step(self, batch: int, actions: torch.Tensor) -> None:
        # The part's thread waits for the device, while the caller goes on to the next part.
        arrive = self._carriers[batch].start(actions)

        def step() -> Report:
            self._choices[batch] = choices = arrive()
            return self._shards[batch].step(choices, self._slots[batch])

        self._begin(batch, None, step)

    def _begin(self, number: int, choices: Array | None, work: Callable[[], Report]) -> None:
        self._choices[number] = choices
        self._under_way[number] = self._threads[number].submit(work)

    def _collect(self, batch: int) -> tuple[Slots, dict[int, Mapping[str, float]]]:
        report = self._wait(batch)
        try:
            check_finite(self._shards[batch], self._slots[batch], self._choices[batch])
        except FaultyEnvironmentError as error:
            raise self._told(error, batch) from error
        return self._slots[batch], dict(report.extras)

    def _wait(self, number: int) -> Report:
        future = self._under_way[number]
        if future is None:
            raise RuntimeError("nothing is under way")
        try:
            report = future.result(self._patience_seconds)
        except FaultyEnvironmentError as error:
            raise self._told(error, number) from error
        except FutureTimeoutError as error:
            cursor = int(self._shards[number].cursor[0])
            what = f"has not come back for {self._patience_seconds:g} seconds"
            raise self._silent(number, cursor, what, self._choices[number], "") from error
        self._under_way[number] = None
        return report

    def close(self) -> None:
        """Close the shards after the steps that are under way; a hanging one is left to the end of the process."""
        threads, self._threads = self._threads, []
        for number, thread in enumerate(threads):
            future = self._under_way[number]
            is_stuck = future is not None and not future.done() and self._fault is not None
            if not is_stuck:
                thread.submit(self._shards[number].close).result(self._patience_seconds)
            thread.shutdown(wait=not is_stuck, cancel_futures=True)
