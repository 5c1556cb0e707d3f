"""Requests from other terminals, carried out by the process that runs the study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweeper.listener import EndReason
from sweeper.records import TrialState
from sweeper.store.records import Request, RequestKind

if TYPE_CHECKING:
    from sweeper.records import Trial
    from sweeper.session import Session


def carry_out(session: Session, request: Request) -> str:
    """Do what a request asks; what came of it, as a sentence."""
    if request.kind is RequestKind.STOP:
        session.end(EndReason.STOPPED)
        return "The sweep stops; what was running can be continued."
    if request.kind is RequestKind.EXTEND:
        return _extend(session, int(request.argument["runs"]))
    if request.kind is RequestKind.RETRY:
        numbers = request.argument.get("trials")
        return _retry(session, None if numbers is None else {int(number) for number in numbers})
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
    for request in session.ledger.requests():
        stale = request.kind is RequestKind.STOP
        answer = "The sweep had already ended." if stale else carry_out(session, request)
        session.ledger.answer(request, answer)


def _extend(session: Session, runs: int) -> str:
    before = session.budget.max_runs if session.budget.max_runs is not None else session.ledger.num_started()
    session.budget.max_runs = before + runs
    session.ledger.describe({"extended_to": session.budget.max_runs})
    session.ledger.set_max_runs(session.budget.max_runs)
    text = f"The budget is {session.budget.max_runs} runs now."
    session.listener.on_note(text)
    return text


def _retry(session: Session, numbers: set[int] | None) -> str:
    chosen = [
        trial
        for trial in session.ledger.in_state(TrialState.FAILED)
        if "retried_as" not in trial.attributes and (numbers is None or trial.number in numbers)
    ]
    for trial in chosen:
        _try_again(session, trial)
    count = "1 trial runs" if len(chosen) == 1 else f"{len(chosen)} trials run"
    return f"{count} again."


def _try_again(session: Session, failed: Trial) -> None:
    """A failed trial cannot be reopened: its configuration runs again as a new one, and only that one counts."""
    threads = session.launcher.num_threads
    source = str(failed.attributes.get("source", ""))
    fresh = session.ledger.add(
        failed.values,
        distributions=session.space.distributions(),
        describe=lambda number: {
            **session.attributes_of(source, number, threads),
            "retry_of": failed.number,
        },
        total_agent_steps=failed.total_agent_steps,
        state=TrialState.QUEUED,
    )
    session.ledger.change(failed.uuid, TrialState.FAILED, attributes={"retried_as": fresh.number})
    session.waiting.append(fresh.uuid)
