"""Somebody else holds the database while trials begin and go on: the loop turns all the same."""

from __future__ import annotations

import math
import sqlite3
import threading
from dataclasses import replace

import pytest
from planted_rehearsal import Notes, check_whole, rising

from sweeper import session
from sweeper.launchers.simulated import Epoch
from sweeper.listener import EndReason
from sweeper.records import TrialState
from trainer.errors import FailureKind


@pytest.fixture(autouse=True)
def _hurried(monkeypatch):
    """Seconds of the virtual clock shall not take seconds."""
    monkeypatch.setattr(session, "CURVE_PATIENCE_SECONDS", 0.01)


class Holder(Notes):
    """Takes the database when a note says some words, and lets go when a trial has failed or is tried again."""

    def __init__(self, path, words):
        super().__init__()
        self.path, self.words = path, words
        self.connection = None
        self.failed_meanwhile = []

    def take(self):
        self.connection = sqlite3.connect(self.path, isolation_level=None, timeout=60.0)
        self.connection.execute("BEGIN EXCLUSIVE")

    def let_go(self):
        self.connection.execute("COMMIT")
        self.connection.close()
        self.connection = None

    def on_note(self, text):
        super().on_note(text)
        if self.words in text and self.connection is None:
            self.take()
        elif "tried again" in text and self.connection is not None:
            self.failed_meanwhile.append(text)
            self.let_go()

    def on_finished(self, trial):
        super().on_finished(trial)
        if self.connection is not None and trial.state is TrialState.FAILED:
            self.failed_meanwhile.append(trial.failure_kind)
            self.let_go()


class HolderFromStart(Holder):
    """Takes it when the second trial begins."""

    def on_started(self, trial):
        super().on_started(trial)
        if trial.number == 1:
            self.take()


def test_a_hang_is_ended_while_a_trial_waits_to_go_on(rehearsal):
    """Trial 0 is to be continued from its checkpoint, for which its curve is read; trial 1 hangs."""
    hung = []

    def behave(assignment):
        if assignment.number == 1:
            hung.append(assignment.resume_from)
            yield Epoch(1000, math.inf, 1.0)
        for epoch in rising(assignment):
            bad = assignment.resume_from is None and assignment.number == 0 and epoch.agent_steps == 5000
            yield replace(epoch, failure=FailureKind.WORKER_LOST if bad else None)

    listener = Holder(rehearsal.storage, "Trial 0 is tried again")
    outcome = rehearsal.run(
        *("--sweep.max-runs", "2", "--sweep.retries", "1", "--sweep.hang-timeout", "20"),
        behave=behave,
        listener=listener,
    )
    (text,) = listener.failed_meanwhile
    assert "Trial 1 is tried again" in text
    assert "no sign of life for 20 s" in text
    assert len(hung) == 2
    assert outcome.counts == {TrialState.COMPLETE: 1, TrialState.FAILED: 1}
    first = rehearsal.study.trials()[0]
    assert [p.agent_steps for p in rehearsal.study.curve(first.uuid)] == list(range(1000, 10_001, 1000))
    check_whole(rehearsal.study)


def test_a_time_limit_is_kept_while_the_next_trial_begins(rehearsal):
    def behave(assignment):
        slow = assignment.number == 0
        yield from rising(assignment, seconds=50.0 if slow else 1.0)

    listener = HolderFromStart(rehearsal.storage, "never said")
    outcome = rehearsal.run(
        *("--sweep.max-runs", "4", "--sweep.trial-timeout", "120"), behave=behave, listener=listener
    )
    assert listener.failed_meanwhile == [FailureKind.TIMEOUT]
    # Others have begun and ended before the database could be told of any of them.
    ended = [number for number, _ in listener.finished]
    assert ended.index(1) < ended.index(0)
    assert listener.started.index(2) < 3
    assert outcome.counts == {TrialState.COMPLETE: 3, TrialState.FAILED: 1}
    check_whole(rehearsal.study)


def test_an_interrupt_while_a_trial_waits_to_go_on_leaves_it_in_the_queue(rehearsal):
    def behave(assignment):
        for epoch in rising(assignment):
            bad = assignment.resume_from is None and assignment.number == 0 and epoch.agent_steps == 5000
            yield replace(epoch, failure=FailureKind.WORKER_LOST if bad else None)

    class Interrupter(Holder):
        def on_reported(self, trial, report):
            if self.connection is not None and trial.number == 1 and report.epoch >= 7:
                self.sweep.stop()

        def on_finished(self, trial):
            super(Holder, self).on_finished(trial)
            if self.connection is not None and trial.number == 1:
                self.let_go()

        def attach(self, sweep):
            self.sweep = sweep

    listener = Interrupter(rehearsal.storage, "Trial 0 is tried again")
    outcome = rehearsal.run("--sweep.max-runs", "2", behave=behave, listener=listener)
    assert outcome.reason is EndReason.INTERRUPTED
    assert outcome.counts == {TrialState.QUEUED: 2}
    check_whole(rehearsal.study)
    assert rehearsal.run("--sweep.max-runs", "2").counts == {TrialState.COMPLETE: 2}
    check_whole(rehearsal.study)


def test_nothing_is_begun_while_the_database_is_far_behind(rehearsal, monkeypatch):
    from sweeper.store import ledger

    class Impatient(HolderFromStart):
        def take(self):
            super().take()
            monkeypatch.setattr(ledger, "MOST_BEHIND_SECONDS", -1.0)

        def let_go(self):
            super().let_go()
            monkeypatch.undo()

    def behave(assignment):
        yield from rising(assignment, seconds=50.0 if assignment.number == 0 else 1.0)

    listener = Impatient(rehearsal.storage, "never said")
    rehearsal.run(
        *("--sweep.max-runs", "4", "--sweep.trial-timeout", "120"), behave=behave, listener=listener
    )
    ended = listener.finished.index((0, TrialState.FAILED))
    assert [number for number, _ in listener.finished[:ended]] == [1]
    assert sorted(listener.started) == [0, 1, 2, 3]
    check_whole(rehearsal.study)


def test_whoever_asks_twice_does_not_wait_for_the_database(rehearsal, monkeypatch):
    from sweeper.store import ledger, lock

    class AskTwice(HolderFromStart):
        def attach(self, sweep):
            self.sweep = sweep

        def take(self):
            super().take()
            monkeypatch.setattr(ledger, "MOST_BEHIND_SECONDS", -1.0)
            self.sweep.stop()
            self.sweep.stop()

    listener = AskTwice(rehearsal.storage, "never said")
    outcome = rehearsal.run("--sweep.max-runs", "4", listener=listener)
    assert outcome.reason is EndReason.INTERRUPTED
    assert listener.notes[-1].startswith("The database is not waited for")
    listener.connection.execute("COMMIT")
    listener.connection.close()
    for thread in threading.enumerate():
        if thread.name == "puffer-sweep-writer":
            thread.join()
    monkeypatch.undo()
    # Its process would have ended by now.
    monkeypatch.setattr(lock, "is_alive", lambda row, clock: False)
    assert rehearsal.run("--sweep.max-runs", "4").counts == {TrialState.COMPLETE: 4}
    check_whole(rehearsal.study)
