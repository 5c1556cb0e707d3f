"""The Multiprocessing backend: shards in worker processes, results in shared memory.

Workers are started as programs of their own: nothing is inherited but three file descriptors, the parent's
main module is not run again, and a parent that is itself a worker may have them too.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import weakref
from typing import TYPE_CHECKING

import numpy as np

from trainer.envs.shard import FaultyEnvironmentError, Slots
from trainer.errors import PufferError
from trainer.vector.sharded import ShardedVectorEnv
from trainer.vector.shared_block import create_memory, map_arrays, plan_arrays
from trainer.vector.worker import (
    CLOSE,
    DONE,
    FAILED,
    MESSAGE,
    RESET,
    SEED,
    STEP,
    WorkerTask,
    read_message,
    send_message,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from trainer.envs.recipe import Recipe
    from trainer.envs.shard import Array

_START_SECONDS = 120.0
"""Beyond the timeout for steps: a start imports packages and loads games, maybe on a busy machine."""
_FAREWELL_SECONDS = 5.0
"""For a worker to close its environments when told to."""
_DUMP_SECONDS = 1.0
"""For a hanging worker to write where it hangs."""


class _Worker:
    """A worker process as its parent sees it.

    Attributes:
        busy: whether it owes an answer.
        steps: whether its last order was to step.
    """

    def __init__(self, number: int, task: WorkerTask, memory: int) -> None:
        self.number = number
        self.task = task
        ours, theirs = socket.socketpair()
        self.connection = ours
        self._log = create_memory(0)
        descriptors = (theirs.fileno(), memory, self._log)
        program = (
            f"import sys; sys.path[:] = {sys.path!r}\n"
            f"from trainer.vector.worker import main; main{descriptors!r}"
        )
        try:
            self.process = subprocess.Popen(  # noqa: S603 - this interpreter, our own program
                [sys.executable, "-c", program], pass_fds=descriptors, stdin=subprocess.DEVNULL
            )
        finally:
            theirs.close()
        self.told_at = time.monotonic()
        self.busy = True
        self.steps = False
        send_message(ours, b"", task)

    def tell(self, order: bytes) -> None:
        """Give an order; a worker that has died is noticed when its answer is read."""
        self.told_at = time.monotonic()
        self.busy = True
        self.steps = order == STEP
        try:
            self.connection.sendall(order)
        except ConnectionError:
            return

    def answer(self, timeout_seconds: float) -> bytes:
        """Wait for the first byte of an answer.

        Raises:
            TimeoutError: nothing came in time.
            EOFError: the process has died.
        """
        left = self.told_at + timeout_seconds - time.monotonic()
        self.connection.settimeout(max(left, 0.001))
        try:
            kind = self.connection.recv(1)
        except ConnectionError:
            kind = b""
        self.connection.settimeout(None)
        if not kind:
            raise EOFError
        self.busy = False
        return kind

    def where(self) -> str:
        """What the fault handler has written: a crash's traceback, or after `dump` a hang's."""
        size = os.fstat(self._log).st_size
        return os.pread(self._log, size, 0).decode(errors="replace") if size else ""

    def dump(self) -> str:
        """Ask a hanging worker where it is."""
        self.process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + _DUMP_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            text = self.where()
            if text.endswith("\n"):
                return text
            time.sleep(0.01)
        return self.where()

    def end(self, deadline: float) -> None:
        """Wait for the process to end, and end it if it does not."""
        try:
            self.process.wait(max(deadline - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.connection.close()
        os.close(self._log)


def _end_all(workers: list[_Worker]) -> None:
    """Idle workers are told to close their environments; busy ones are not waited for."""
    deadline = time.monotonic() + _FAREWELL_SECONDS
    for worker in workers:
        if worker.busy:
            worker.process.kill()
        else:
            worker.tell(CLOSE)
    while workers:
        workers.pop().end(deadline)


class MultiprocessingVectorEnv(ShardedVectorEnv):
    """Shards in worker processes; see `ShardedVectorEnv` for the arguments.

    `zero_copy`: whether batches on the CPU are the shared memory itself.
    """

    backend = "Multiprocessing"

    def __init__(
        self,
        recipe: Recipe,
        num_envs: int,
        num_workers: int,
        batch_envs: int,
        device: torch.device,
        *,
        zero_copy: bool,
        timeout_seconds: float,
    ) -> None:
        super().__init__(
            recipe,
            num_envs,
            num_workers,
            batch_envs,
            device,
            copy=not zero_copy,
            timeout_seconds=timeout_seconds,
        )
        self._workers: list[_Worker] = []
        self._arrays: dict[str, Array] = {}
        self._batches: list[Slots] = []
        self._finalizer = weakref.finalize(self, _end_all, self._workers)
        self._start(recipe)

    def _start(self, recipe: Recipe) -> None:
        kind = np.dtype(np.float32 if self.action_layout.kind == "continuous" else np.int64)
        plan = plan_arrays(
            {
                **Slots.shapes(self.num_agents, self.observation_layout),
                "actions": ((self.num_agents, self.action_layout.width), kind),
                "cursors": ((self._num_workers,), np.dtype(np.int64)),
            }
        )
        memory = create_memory(plan.num_bytes)
        try:
            self._arrays = map_arrays(memory, plan)
            self._arrays["cursors"].fill(-1)
            for number in range(self._num_workers):
                rows = self._rows_of_worker(number)
                task = WorkerTask(recipe, self._envs_per_worker, rows.start, rows.stop, number, plan)
                self._workers.append(_Worker(number, task, memory))
        finally:
            os.close(memory)
        names = Slots.shapes(0, self.observation_layout)
        self._batches = [
            Slots.of({name: self._arrays[name][self._rows_of_batch(batch)] for name in names})
            for batch in range(self._num_batches)
        ]
        try:
            for worker in self._workers:
                self._await(worker, _START_SECONDS)
        except PufferError:
            self.close()
            raise

    def _rows_of_worker(self, number: int) -> slice:
        return slice(number * self._rows_per_worker, (number + 1) * self._rows_per_worker)

    def _rows_of_batch(self, batch: int) -> slice:
        return slice(batch * self.batch_agents, (batch + 1) * self.batch_agents)

    def _is_open(self) -> bool:
        return bool(self._workers)

    def _let_reset(self, seed: int) -> None:
        for worker in self._workers:
            if worker.busy:
                self._await(worker)
        for worker in self._workers:
            worker.tell(RESET + SEED.pack(seed + self._first_env(worker.number)))

    def _let_step(self, batch: int, actions: torch.Tensor) -> None:
        choices = self._carriers[batch].fetch(actions)
        self._arrays["actions"][self._rows_of_batch(batch)] = choices
        for number in self._team(batch):
            self._workers[number].tell(STEP)

    def _collect(self, batch: int) -> tuple[Slots, dict[int, Mapping[str, float]]]:
        extras = {}
        for place, number in enumerate(self._team(batch)):
            reported = self._await(self._workers[number])
            if reported:
                offset = place * self._rows_per_worker
                extras.update({row + offset: numbers for row, numbers in reported.items()})
        return self._batches[batch], extras

    def _await(self, worker: _Worker, extra_seconds: float = 0.0) -> Mapping[int, Mapping[str, float]]:
        """The extras that a worker's answer holds.

        Raises:
            PufferError: it failed, hangs or has died.
        """
        seconds = self._patience_seconds + extra_seconds
        try:
            kind = worker.answer(seconds)
            if kind == DONE:
                return {}
            message = read_message(worker.connection)
        except TimeoutError:
            raise self._lost(worker, f"has not answered for {seconds:g} seconds", worker.dump()) from None
        except EOFError:
            raise self._lost(worker, _how_ended(worker.process.wait()), worker.where()) from None
        if kind == MESSAGE:
            return message  # type: ignore[no-any-return]
        assert kind == FAILED, kind
        if isinstance(message, FaultyEnvironmentError):
            raise self._told(message, worker.number)
        self._fault = message
        raise self._fault

    def _lost(self, worker: _Worker, what: str, cause: str) -> PufferError:
        """A worker that cannot speak for itself: say which environment it was at, as far as is known."""
        cursor = int(self._arrays["cursors"][worker.number])
        actions = self._arrays["actions"][self._rows_of_worker(worker.number)] if worker.steps else None
        return self._silent(worker.number, cursor, what, actions, cause)

    def close(self) -> None:
        """End all workers. The shared memory goes with the last batch that is still held."""
        self._finalizer()
        self._arrays, self._batches, self._builders = {}, [], []


def _how_ended(code: int) -> str:
    if code < 0:
        try:
            return f"died: its process was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"died: its process was killed by signal {-code}"
    return f"died: its process ended with exit code {code}"
