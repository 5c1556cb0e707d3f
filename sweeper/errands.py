"""Requests from other terminals, carried out by the process that holds the study's lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweeper.assigning import describe_trial
from sweeper.listener import EndReason
from sweeper.records import TrialState
from sweeper.store.records import Request, RequestKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna.distributions import BaseDistribution

    from sweeper.records import Trial
    from sweeper.session import Session
    from sweeper.store.ledger import Ledger


def carry_out(session: Session, request: Request) -> str:
    """Do what a request asks while a sweep runs; what came of it, as a sentence."""
    if request.kind is RequestKind.STOP:
        session.end(EndReason.STOPPED)
        return "The sweep stops; what was running can be continued."
    if request.kind is RequestKind.EXTEND:
        before = session.budget.max_runs
        session.budget.max_runs = extend(session.ledger, before, int(request.argument["runs"]))
        text = f"The budget is {session.budget.max_runs} runs now."
        session.listener.on_note(text)
        return text
    if request.kind is RequestKind.RETRY:
        numbers = request.argument.get("trials")
        fresh = retry(
            session.ledger,
            None if numbers is None else {int(number) for number in numbers},
            distributions=session.space.distributions(),
            sweep_seed=session.config.sweep.seed,
            now=session.clock.now(),
        )
        session.waiting += [trial.uuid for trial in fresh]
        return tell_retried(len(fresh))
    if request.kind is RequestKind.DELETE:
        session.end_now(EndReason.DELETED)
        session.ending = EndReason.DELETED
        session.delete_folders = bool(request.argument.get("folders", False))
        return "The sweep ends and the study is deleted."
    session.ledger.describe({"note": str(request.argument.get("text", ""))})
    return "Noted."


def catch_up(session: Session) -> None:
    """Carry out what was asked while nobody ran the study.

    A `stop` that was meant for a sweep that has since ended must not end this one.
    """
    for request in session.ledger.inbox.read():
        stale = request.kind is RequestKind.STOP
        answer = "The sweep had already ended." if stale else carry_out(session, request)
        session.ledger.inbox.answer(request, answer)


def extend(ledger: Ledger, max_runs: int | None, more: int) -> int:
    """Give a study a larger budget; what it is now.

    Args:
        ledger: of the study.
        max_runs: the budget so far; None for what has been started.
        more: so many more runs.
    """
    total = (ledger.num_started() if max_runs is None else max_runs) + more
    ledger.describe({"extended_to": total})
    ledger.set_max_runs(total)
    return total


def retry(
    ledger: Ledger,
    numbers: set[int] | None,
    *,
    distributions: Mapping[str, BaseDistribution],
    sweep_seed: int,
    now: float,
) -> list[Trial]:
    """Put failed trials into the queue once more: those of the numbers, or all; the new ones.

    A failed trial cannot be reopened: its configuration runs again as a new one, and only that one counts.
    """
    chosen = [
        trial
        for trial in ledger.in_state(TrialState.FAILED)
        if "retried_as" not in trial.attributes and (numbers is None or trial.number in numbers)
    ]
    fresh = []
    for failed in chosen:
        known = failed.attributes

        def describe(
            number: int, known: Mapping[str, object] = known, old: int = failed.number
        ) -> dict[str, object]:
            threads = int(str(known.get("num_threads", 1)))
            described = describe_trial(str(known.get("source", "")), sweep_seed, number, threads, now)
            return {**described, "retry_of": old}

        trial = ledger.add(
            failed.values,
            distributions=distributions,
            describe=describe,
            total_agent_steps=failed.total_agent_steps,
            state=TrialState.QUEUED,
        )
        ledger.change(failed.uuid, TrialState.FAILED, attributes={"retried_as": trial.number})
        fresh.append(trial)
    return fresh


def tell_retried(count: int) -> str:
    """What came of a retry."""
    return "1 trial runs again." if count == 1 else f"{count} trials run again."
