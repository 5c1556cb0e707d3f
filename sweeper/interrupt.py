"""Ctrl-C, SIGTERM and SIGHUP while a sweep runs: once asks it to stop, twice to stop now."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class Interrupts:
    """Counts requests to stop while it is open; the handlers that were there before come back afterwards.

    In any thread but the main one it counts only what `request` is told: Python delivers signals nowhere else.

    Args:
        wake: called from the handler, so that a waiting loop looks.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._count = 0
        self._before: dict[int, Any] = {}

    @property
    def stop(self) -> bool:
        """Somebody has asked to stop."""
        return self._count >= 1

    @property
    def stop_now(self) -> bool:
        """Somebody has asked twice."""
        return self._count > 1

    def request(self) -> None:
        """Ask to stop, as Ctrl-C does."""
        self._count += 1
        self._wake()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for name in _SIGNALS:
                number = getattr(signal, name, None)
                # A sweep under nohup has SIGHUP ignored, and shall keep it so.
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.request()
