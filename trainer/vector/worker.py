"""What runs in a worker process: one shard, told what to do by single bytes over a socket.

The worker sleeps in `recv` while it has nothing to do, and ends when the other end of the socket is gone,
however the parent ended. Nothing heavy is imported before the thread counts are set.

Messages to the worker: `S` step, `R` reset (followed by the seed as 8 bytes), `C` close.
Answers: `.` done, `M` done with a message, `F` failed with a message; a message is 4 bytes of length and a
    pickle.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import signal
import socket
import struct
import sys
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer.envs.recipe import Recipe
    from trainer.vector.shared_block import Plan

STEP, RESET, CLOSE = b"S", b"R", b"C"
DONE, MESSAGE, FAILED = b".", b"M", b"F"
LENGTH = struct.Struct("<I")
SEED = struct.Struct("<q")

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class WorkerTask:
    """What a worker is told at its start.

    Attributes:
        recipe: makes the shard.
        num_envs: environments of this worker.
        first_row, last_row: its rows in the shared arrays, the last excluded.
        number: its own, for the cursor array.
        plan: of the shared arrays.
    """

    recipe: Recipe
    num_envs: int
    first_row: int
    last_row: int
    number: int
    plan: Plan


def read_exactly(connection: socket.socket, num_bytes: int) -> bytes:
    """Wait for so many bytes.

    Raises:
        EOFError: the other end is gone.
    """
    data = b""
    while len(data) < num_bytes:
        part = connection.recv(num_bytes - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def send_message(connection: socket.socket, kind: bytes, message: Any) -> None:
    """Answer with a pickle."""
    body = pickle.dumps(message)
    connection.sendall(kind + LENGTH.pack(len(body)) + body)


def read_message(connection: socket.socket) -> Any:
    """The pickle that follows an answer's first byte. Both ends are ours."""
    (length,) = LENGTH.unpack(read_exactly(connection, LENGTH.size))
    return pickle.loads(read_exactly(connection, length))  # noqa: S301


def main(socket_descriptor: int, memory_descriptor: int, log_descriptor: int) -> None:
    """Run until told to close or left alone. Started by `trainer.vector.processes`.

    Args:
        socket_descriptor: of the socket to the parent.
        memory_descriptor: of the shared arrays.
        log_descriptor: of a file for tracebacks of crashes and, on SIGUSR1, of hangs.
    """
    for name in _THREADS:
        os.environ[name] = "1"
    # A Ctrl-C in the terminal reaches the whole process group; only the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log = os.fdopen(log_descriptor, "w", buffering=1)
    faulthandler.enable(log)
    faulthandler.register(signal.SIGUSR1, log, all_threads=True)
    with socket.socket(fileno=socket_descriptor) as connection:
        try:
            _serve(connection, memory_descriptor)
        except (EOFError, ConnectionError):
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
            _tell_failure(connection, error)


def _tell_failure(connection: socket.socket, error: Exception) -> None:
    from trainer.envs.shard import FaultyEnvironmentError
    from trainer.errors import PufferError

    text = "".join(traceback.format_exception(error))
    known = isinstance(error, FaultyEnvironmentError | PufferError)
    told = (
        error if known else FaultyEnvironmentError(0, f"failed: {type(error).__name__}: {error}", cause=text)
    )
    try:
        send_message(connection, FAILED, told)
    except ConnectionError:
        sys.exit(1)


def _serve(connection: socket.socket, memory_descriptor: int) -> None:
    task: WorkerTask = read_message(connection)

    from trainer.envs.shard import Slots, check_finite
    from trainer.vector.shared_block import map_arrays

    arrays = map_arrays(memory_descriptor, task.plan)
    os.close(memory_descriptor)
    rows = slice(task.first_row, task.last_row)
    mine: Mapping[str, Any] = {name: array[rows] for name, array in arrays.items() if name != "cursors"}
    actions = mine["actions"]
    slots = Slots.of({name: array for name, array in mine.items() if name != "actions"})
    shard = task.recipe.make_shard(task.num_envs)
    try:
        shard.cursor = arrays["cursors"][task.number : task.number + 1]
        connection.sendall(DONE)
        while True:
            order = read_exactly(connection, 1)
            if order == CLOSE:
                break
            if order == RESET:
                (seed,) = SEED.unpack(read_exactly(connection, SEED.size))
                shard.reset(seed, slots)
                check_finite(shard, slots, None)
                extras: Mapping[int, Mapping[str, float]] = {}
            else:
                extras = shard.step(actions, slots).extras
                check_finite(shard, slots, actions)
            if extras:
                send_message(connection, MESSAGE, extras)
            else:
                connection.sendall(DONE)
    finally:
        shard.close()
