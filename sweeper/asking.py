"""Asks the method ahead of time, so that a slot that falls free need not wait for a thought.

A quick method is asked when its answer is needed: it then knows every result there is. One that has been slow is
asked in a thread of its own while all slots are busy; its answer misses the results that come in meanwhile, as it
would with one more worker.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from sweeper.records import Resume, Start, TrialState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sweeper.methods import Method
    from sweeper.records import Trial

QUICK_SECONDS = 0.02
"""A method that thinks no longer is asked when it is needed."""


class Asker:
    """The method behind a thread.

    Args:
        method: asked for decisions; one call of `next` at a time.
        quick_seconds: below this nothing is asked ahead; infinite for a sweep that must be repeatable.
    """

    def __init__(self, method: Method, quick_seconds: float = QUICK_SECONDS) -> None:
        self._method = method
        self._quick_seconds = quick_seconds
        self._last_seconds = 0.0
        self._thread: ThreadPoolExecutor | None = None
        self._thought: Future[Start | Resume | None] | None = None

    def next(self, trials: Sequence[Trial]) -> Start | Resume | None:
        """What to do in a free slot: what was thought of ahead, if it still holds, or else a fresh answer."""
        thought, self._thought = self._thought, None
        if thought is not None:
            decision = thought.result()
            if _still_holds(decision, trials):
                return decision
        return self._ask(trials)

    def think_ahead(self, trials: Callable[[], Sequence[Trial]], *, wanted: bool) -> None:
        """Let a slow method think while nobody waits for it; does nothing for a quick one."""
        if not wanted or self._thought is not None or self._last_seconds < self._quick_seconds:
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="puffer-sweep-method")
        self._thought = self._thread.submit(self._ask, list(trials()))

    def close(self) -> None:
        """End the thread; a thought that is under way is waited for."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)

    def _ask(self, trials: Sequence[Trial]) -> Start | Resume | None:
        began = time.perf_counter()
        try:
            return self._method.next(trials)
        finally:
            self._last_seconds = time.perf_counter() - began


def _still_holds(decision: Start | Resume | None, trials: Sequence[Trial]) -> bool:
    if isinstance(decision, Start):
        return True
    if isinstance(decision, Resume):
        return any(trial.uuid == decision.uuid and trial.state is TrialState.PAUSED for trial in trials)
    return False
