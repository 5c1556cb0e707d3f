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
from collections import deque
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from trainer.envs.shard import FaultyEnvironmentError, Slots
from trainer.errors import EnvironmentFault, PufferError
from trainer.vector.base import StepBatch, VectorEnv
from trainer.vector.batches import BatchBuilder, actions_to_numpy, to_fault
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
    """A worker process as its parent sees it."""

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
        send_message(ours, b"", task)

    def tell(self, order: bytes) -> None:
        """Give an order; a worker that has died is noticed when its answer is read."""
        self.told_at = time.monotonic()
        self.busy = True
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


class MultiprocessingVectorEnv(VectorEnv):
    """Shards in worker processes. Batches come in a fixed order, so that runs repeat bit by bit.

    Args:
        recipe: of the environment.
        num_envs: of all workers together, a multiple of `num_workers`.
        num_workers: processes.
        batch_envs: environments per batch: a whole number of workers' worth that divides `num_envs`.
        device: where batches go.
        zero_copy: whether batches on the CPU are the shared memory itself.
        timeout_seconds: a worker that is silent for so long hangs.
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
        self.num_envs = num_envs
        self.agents_per_env = recipe.agents_per_env
        self.num_agents = num_envs * recipe.agents_per_env
        self.batch_agents = batch_envs * recipe.agents_per_env
        self.observation_layout = recipe.observation_layout
        self.action_layout = recipe.action_layout
        self.device = device
        self._timeout_seconds = timeout_seconds
        self._envs_per_worker = num_envs // num_workers
        self._workers_per_batch = batch_envs // self._envs_per_worker
        self._builders = [BatchBuilder(device, copy=not zero_copy) for _ in range(num_envs // batch_envs)]
        self._flying: deque[int] = deque()
        self._awaited: int | None = None
        self._fault: PufferError | None = None
        self._workers: list[_Worker] = []
        self._arrays: dict[str, Array] = {}
        self._batches: list[Slots] = []
        self._finalizer = weakref.finalize(self, _end_all, self._workers)
        self._start(recipe, num_workers)

    def _start(self, recipe: Recipe, num_workers: int) -> None:
        kind = np.dtype(np.float32 if self.action_layout.kind == "continuous" else np.int64)
        plan = plan_arrays(
            {
                **Slots.shapes(self.num_agents, self.observation_layout),
                "actions": ((self.num_agents, self.action_layout.width), kind),
                "cursors": ((num_workers,), np.dtype(np.int64)),
            }
        )
        memory = create_memory(plan.num_bytes)
        try:
            self._arrays = map_arrays(memory, plan)
            self._arrays["cursors"].fill(-1)
            rows = self._envs_per_worker * self.agents_per_env
            for number in range(num_workers):
                task = WorkerTask(
                    recipe, self._envs_per_worker, number * rows, (number + 1) * rows, number, plan
                )
                self._workers.append(_Worker(number, task, memory))
        finally:
            os.close(memory)
        names = Slots.shapes(0, self.observation_layout)
        self._batches = [
            Slots.of({name: self._arrays[name][self._rows(batch)] for name in names})
            for batch in range(len(self._builders))
        ]
        try:
            for worker in self._workers:
                self._await(worker, _START_SECONDS)
        except PufferError:
            self.close()
            raise

    def _rows(self, batch: int) -> slice:
        return slice(batch * self.batch_agents, (batch + 1) * self.batch_agents)

    def _team(self, batch: int) -> list[_Worker]:
        return self._workers[batch * self._workers_per_batch : (batch + 1) * self._workers_per_batch]

    def reset(self, seed: int) -> None:
        """Begin all episodes anew, after the steps that are under way."""
        self._check_usable()
        for worker in self._workers:
            if worker.busy:
                self._await(worker)
        for worker in self._workers:
            worker.tell(RESET + SEED.pack(seed + worker.number * self._envs_per_worker))
        self._flying = deque(range(len(self._batches)))
        self._awaited = None

    def recv(self) -> StepBatch:
        """Wait for the batch that has been under way longest."""
        self._check_usable()
        if not self._flying:
            raise RuntimeError("recv() before reset() or send()")
        batch = self._flying.popleft()
        extras = {}
        for place, worker in enumerate(self._team(batch)):
            offset = place * self._envs_per_worker * self.agents_per_env
            extras.update({row + offset: reported for row, reported in self._await(worker).items()})
        self._awaited = batch
        return self._builders[batch].build(self._batches[batch], extras, self._rows(batch).start)

    def send(self, actions: torch.Tensor) -> None:
        """Let the workers of the last batch step."""
        self._check_usable()
        if self._awaited is None:
            raise RuntimeError("send() before recv()")
        batch, self._awaited = self._awaited, None
        self._arrays["actions"][self._rows(batch)] = actions_to_numpy(
            actions, self.action_layout, self.batch_agents
        )
        for worker in self._team(batch):
            worker.tell(STEP)
        self._flying.append(batch)

    def _await(self, worker: _Worker, extra_seconds: float = 0.0) -> dict[int, dict[str, float]]:
        """The extras that a worker's answer holds."""
        try:
            kind = worker.answer(self._timeout_seconds + extra_seconds)
            if kind == DONE:
                return {}
            message = read_message(worker.connection)
        except TimeoutError:
            seconds = self._timeout_seconds + extra_seconds
            self._fail(worker, f"has not answered for {seconds:g} seconds", worker.dump())
        except EOFError:
            self._fail(worker, _how_ended(worker.process.wait()), worker.where())
        if kind == MESSAGE:
            return message  # type: ignore[no-any-return]
        assert kind == FAILED, kind
        if isinstance(message, FaultyEnvironmentError):
            self._fault = to_fault(message, worker.number * self._envs_per_worker, self.backend)
        else:
            self._fault = message
        raise self._fault

    def _fail(self, worker: _Worker, what: str, cause: str) -> NoReturn:
        """A worker that cannot speak for itself: say which environment it was at, as far as is known."""
        first = worker.number * self._envs_per_worker
        cursor = int(self._arrays["cursors"][worker.number])
        if cursor >= 0 or self._envs_per_worker == 1:
            env = first + max(cursor, 0)
            agents = slice(env * self.agents_per_env, (env + 1) * self.agents_per_env)
            action = str(self._arrays["actions"][agents].squeeze().tolist())
            fault = to_fault(
                FaultyEnvironmentError(env, what, action=action, cause=cause or None), 0, self.backend
            )
        else:
            last = first + self._envs_per_worker - 1
            fault = EnvironmentFault(
                f"The worker of environments {first} to {last} (Multiprocessing) {what}",
                remedy=f"Its traceback:\n{cause.rstrip()}" if cause else None,
            )
        self._fault = fault
        raise fault

    def _check_usable(self) -> None:
        if not self._workers:
            raise RuntimeError("the vector environment is closed")
        if self._fault is not None:
            raise self._fault

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
