"""Notices an environment that does not come back, in the process that steps it.

A worker process that hangs can be killed by its parent; an environment stepped in this process takes the
whole trainer with it. A thread looks at a clock that is set at the beginning of every step and cleared at its
end. When a step is overdue, the stepping thread is interrupted where it stands, so that the run ends like any
other that fails. Native code does not let itself be interrupted: if the step is still not back a moment later,
the account of it goes to stderr and the process ends with `HANG_EXIT_STATUS`, because nothing else would ever
end it; whoever started the process finds both. Native code that holds the interpreter's lock stops this thread
too: only somebody outside can notice that (a sweep does, by `sweep.hang_timeout`).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
import traceback
import weakref
from typing import TYPE_CHECKING, Any

from trainer.errors import HANG_EXIT_STATUS

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

PATIENCE = 0.95
"""Share of `vec.timeout_seconds` after which silence counts as a hang: whoever watches from outside with the
same limit then finds that the account is already there."""
_LOOKS_PER_TIMEOUT = 50
_GRACE_SECONDS = 2.0
"""For Python code to let itself be interrupted."""
_SIGNAL = signal.SIGURG
"""Wakes the main thread. Ignored by default, so that one that comes late does no harm."""


class OverdueError(BaseException):
    """Raised in the stepping thread. No Exception: environments that try again for ever must not catch it."""


class Watchdog:
    """Watches the steps of one vector environment.

    Use `with watchdog:` around whatever may hang; it costs well under a microsecond.

    Args:
        timeout_seconds: as in `[vec]`.
        account: what to say of a hang that cannot be interrupted, below the stepping thread's traceback.
    """

    def __init__(self, timeout_seconds: float, account: Callable[[], str]) -> None:
        self.patience_seconds = PATIENCE * timeout_seconds
        self._look_seconds = timeout_seconds / _LOOKS_PER_TIMEOUT
        self._account = account
        self._since: float | None = None
        self._stepper = 0
        self._overdue: float | None = None
        self._forgiven_until = 0.0
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        if self._thread is None:
            self._begin()
        self._since = time.monotonic()

    def __exit__(self, *error: object) -> None:
        self._since = None

    def _begin(self) -> None:
        self._stepper = threading.get_ident()
        if threading.current_thread() is threading.main_thread():
            _listening.add(self)
        self._thread = threading.Thread(
            target=_watch,
            args=(weakref.ref(self), self._closed, self._look_seconds),
            name="watchdog",
            daemon=True,
        )
        self._thread.start()

    def close(self) -> None:
        """End the thread and give the signal back."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            _listening.remove(self)

    def look(self, stood_still_seconds: float) -> bool:
        """Interrupt an overdue step. Called by the watching thread.

        Args:
            stood_still_seconds: for which this whole process was stopped since the last look. That is nobody's
                fault: the step under way may take its time again.

        Returns:
            Whether a step is overdue.
        """
        since, now = self._since, time.monotonic()
        if stood_still_seconds > 0:
            self._forgiven_until = now + self.patience_seconds
        if since is None or now - since < self.patience_seconds or now < self._forgiven_until:
            return False
        self._overdue = since
        if self._stepper == threading.main_thread().ident:
            signal.pthread_kill(self._stepper, _SIGNAL)
        else:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self._stepper), ctypes.py_object(OverdueError)
            )
        return True

    def interrupt(self) -> None:
        """Raise in the stepping thread if its step is the overdue one. Called by the signal's handler.

        Raises:
            OverdueError: it is.
        """
        if self.is_stuck():
            raise OverdueError

    def is_stuck(self) -> bool:
        """Whether the step that is overdue is still under way."""
        return self._since is not None and self._since is self._overdue

    def end_process(self) -> None:
        """Say where it hangs, then what: of a log people see the end. Then end."""
        frame = sys._current_frames().get(self._stepper)  # noqa: SLF001 - the documented way
        text = "".join(traceback.format_stack(frame)) if frame is not None else ""
        with contextlib.suppress(OSError, ValueError):
            print(f"{text}{self._account()}", file=sys.stderr, flush=True)  # noqa: T201 - last words
        os._exit(HANG_EXIT_STATUS)


def _watch(watched: weakref.ref[Watchdog], closed: threading.Event, look_seconds: float) -> None:
    """The thread's work. It lets a forgotten vector environment be collected."""
    looked_at = time.monotonic()
    while not closed.wait(look_seconds):
        now = time.monotonic()
        stood_still_seconds = now - looked_at - 2 * look_seconds
        looked_at = now
        watchdog = watched()
        if watchdog is None:
            return
        if watchdog.look(stood_still_seconds):
            closed.wait(_GRACE_SECONDS)
            if watchdog.is_stuck():
                watchdog.end_process()
        del watchdog


class _Signal:
    """The signal's handler, in place while anything is watched in the main thread."""

    def __init__(self) -> None:
        self._watchdogs: list[weakref.ref[Watchdog]] = []
        self._before: Any = None

    def add(self, watchdog: Watchdog) -> None:
        if not self._watchdogs:
            self._before = signal.signal(_SIGNAL, self._handle)
        self._watchdogs.append(weakref.ref(watchdog))

    def remove(self, watchdog: Watchdog) -> None:
        kept = [one for one in self._watchdogs if one() not in (None, watchdog)]
        if len(kept) == len(self._watchdogs):
            return
        self._watchdogs = kept
        if not kept and threading.current_thread() is threading.main_thread():
            signal.signal(_SIGNAL, self._before or signal.SIG_DFL)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        for one in list(self._watchdogs):
            watchdog = one()
            if watchdog is not None:
                watchdog.interrupt()


_listening = _Signal()
