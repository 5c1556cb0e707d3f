"""What an earlier sitting has left: a kill, a power cut and a Ctrl-C all end here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweeper.folder import folder_owner, read_curve_file
from sweeper.records import TrialState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sweeper.records import CurvePoint, Trial
    from sweeper.store.ledger import Ledger


def fill_in(ledger: Ledger, trial: Trial, known: Sequence[CurvePoint]) -> Sequence[CurvePoint]:
    """Put into the database what a worker that is gone had noted of its curve and nobody had heard.

    Its checkpoint may lie beyond the last report: a trial that goes on from there has its whole curve only so.

    Args:
        ledger: of its study.
        trial: that no worker has.
        known: its curve as the database has it.

    Returns:
        The whole curve.
    """
    folder = ledger.study.trial_folder(trial.number)
    if folder_owner(folder) not in (None, trial.uuid):
        return known
    last = known[-1].agent_steps if known else 0
    missing = [point for point in read_curve_file(folder) if point.agent_steps > last]
    if missing:
        ledger.backfill(trial.uuid, known, missing)
    return [*known, *missing]


def recover(ledger: Ledger, on_note: Callable[[str], None]) -> list[str]:
    """Put trials that were running back in the queue, their curves filled in; the uuids of all that wait, by number."""
    cut_off = ledger.in_state(TrialState.RUNNING)
    for trial in cut_off:
        fill_in(ledger, trial, ledger.curve(trial.uuid))
        ledger.change(trial.uuid, TrialState.QUEUED)
    if cut_off:
        numbers = ", ".join(str(trial.number) for trial in cut_off)
        on_note(f"Cut off by the end of an earlier sweep, and continued now: trial {numbers}.")
    return [trial.uuid for trial in ledger.in_state(TrialState.QUEUED)]
