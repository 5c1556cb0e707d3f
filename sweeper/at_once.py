"""Requests of other terminals: left for the sweep that runs on a study, or carried out at once where none does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweeper.clock import Clock, SystemClock
from sweeper.errands import extend, retry, tell_retried
from sweeper.errors import StudyLockedError
from sweeper.export import study_config
from sweeper.space import SearchSpace
from sweeper.store.ledger import Ledger
from sweeper.store.records import RequestKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sweeper.store import StoredStudy


def ask(
    study: StoredStudy, kind: RequestKind, argument: Mapping[str, Any], clock: Clock | None = None
) -> str:
    """See to a request; what came of it, as sentences.

    Args:
        study: the study.
        kind: EXTEND, RETRY or NOTE.
        argument: see `sweeper.store.Request`.
        clock: None for the system's.

    Raises:
        StorageError: the database refuses.
    """
    clock = clock or SystemClock()
    try:
        ledger = Ledger(study, clock)
    except StudyLockedError:
        study.request(kind, argument)
        lock = study.lock_info()
        holder = "" if lock is None else f" (process {lock.pid} on {lock.host})"
        return f"The sweep that runs on it{holder} sees to it."
    try:
        return _carry_out(ledger, kind, argument, clock)
    finally:
        ledger.close()


def _carry_out(ledger: Ledger, kind: RequestKind, argument: Mapping[str, Any], clock: Clock) -> str:
    again = "Run the command that started the sweep again to have them done."
    if kind is RequestKind.EXTEND:
        total = extend(ledger, ledger.study.max_runs, int(argument["runs"]))
        return f"The budget is {total} runs now. {again}"
    if kind is RequestKind.RETRY:
        numbers = argument.get("trials")
        config = study_config(ledger.study)
        fresh = retry(
            ledger,
            None if numbers is None else {int(number) for number in numbers},
            distributions=SearchSpace.from_config(config).distributions(),
            sweep_seed=config.sweep.seed,
            now=clock.now(),
        )
        return f"{tell_retried(len(fresh))} {again}" if fresh else "Nothing is left to be tried again."
    if kind is RequestKind.NOTE:
        ledger.describe({"note": str(argument.get("text", ""))})
        return "Noted."
    raise ValueError(f"only a sweep that runs can be asked to {kind.value}")
