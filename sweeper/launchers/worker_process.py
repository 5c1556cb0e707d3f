"""One worker process and the line to it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
from typing import TYPE_CHECKING, Any

from sweeper.launchers.process_tree import kill_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GONE = "gone"
"""The last thing that is heard of a worker."""

_EXIT_PATIENCE_SECONDS = 5.0
_LAST_WORDS_BYTES = 4000


class WorkerProcess:
    """A spawned worker in a process group of its own.

    Args:
        module: what `python -m` runs.
        environment: its environment variables, the token among them.
        token: by which it and everything it starts can be found.
        hear: told what it says, from a thread of the worker's own: itself, a kind and a content. `GONE` comes last,
            with what was wrong with the last message, if anything was.
    """

    def __init__(
        self,
        module: str,
        environment: Mapping[str, str],
        token: str,
        hear: Callable[[WorkerProcess, str, Any], None],
    ) -> None:
        ours, theirs = multiprocessing.Pipe()
        self._token = token
        self._connection = ours
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", module, str(os.getpid()), str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            env=environment,
            pass_fds=(theirs.fileno(),),
            process_group=0,
        )
        theirs.close()
        threading.Thread(
            target=self._listen, args=(hear,), name=f"worker-{self._process.pid}", daemon=True
        ).start()

    @property
    def pid(self) -> int:
        """Its process id, which is also its group's."""
        return self._process.pid

    def send(self, kind: str, content: Any = None) -> None:
        """Say something; a worker that has just died is told of by its listener."""
        with contextlib.suppress(OSError):
            self._connection.send((kind, content))

    def status(self, patience_seconds: float = 0.0) -> int | None:
        """Its exit status, negative for a signal; None while it lives."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_seconds)
        return self._process.poll()

    def kill(self) -> None:
        """Kill it with everything it has started; its listener tells when it is gone."""
        kill_tree(self.pid, self._token)

    def reap(self) -> str:
        """Wait until it is gone, with force if it takes long, and let go of it; what it printed last."""
        if self.status(_EXIT_PATIENCE_SECONDS) is None:
            self.kill()
            self._process.wait()
        # Its group may outlive it.
        self.kill()
        size = self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, size - _LAST_WORDS_BYTES))
        words = self._output.read().decode("utf-8", errors="replace").strip()
        self._connection.close()
        self._output.close()
        return words

    def _listen(self, hear: Callable[[WorkerProcess, str, Any], None]) -> None:
        # A worker stopped or killed in the middle of a message must not hold up the loop: a thread waits for it.
        while True:
            try:
                kind, content = self._connection.recv()
            except (EOFError, OSError):
                hear(self, GONE, None)
                return
            except Exception as error:  # noqa: BLE001 - bytes that are no message: the worker is past trusting
                hear(self, GONE, f"{type(error).__name__}: {error}")
                return
            hear(self, kind, content)
