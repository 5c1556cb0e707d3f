"""`[sweep] confirm_top`: a sweep ends with its leaders once more, from Python as from the command line."""

from __future__ import annotations

import pytest
from planted_rehearsal import Notes, Rehearsal, StopAfter, rising

import sweeper.loop
from sweeper.export import confirmed_leader
from sweeper.launchers.simulated import SimulatedLauncher
from sweeper.listener import EndReason
from sweeper.repeats import read_repeats
from sweeper.store.ledger import Ledger

CONFIRMED = ("--sweep.max-runs", "6", "--sweep.confirm-top", "2", "--sweep.confirm-seeds", "3")


@pytest.fixture
def rehearsal(tmp_path, monkeypatch):
    found = Rehearsal(tmp_path)

    def make(config, *, token, clock):
        return SimulatedLauncher(2, clock, rising)

    monkeypatch.setattr(sweeper.loop, "make_launcher", make)
    return found


def test_the_outcome_and_the_study_know_the_repeats(rehearsal) -> None:
    listener = Notes()
    outcome = rehearsal.run(*CONFIRMED, listener=listener)
    assert outcome.reason is EndReason.RUNS
    assert [len(repeat.scores) for repeat in outcome.repeats] == [3, 3]
    assert read_repeats(rehearsal.study.attributes()) == outcome.repeats
    assert confirmed_leader(rehearsal.study).number == outcome.repeats[0].trial_number
    assert any("6 runs to make for 2 configurations" in note for note in listener.notes)
    Ledger(rehearsal.study, rehearsal.clock).close()  # the lock has been given back


def test_nothing_is_confirmed_unless_asked(rehearsal) -> None:
    assert rehearsal.run("--sweep.max-runs", "4").repeats == ()


def test_what_was_interrupted_is_not_confirmed(rehearsal) -> None:
    listener = StopAfter(12)
    sweep = rehearsal.sweep(*CONFIRMED, listener=listener)
    listener.attach(sweep)
    outcome = sweep.run()
    assert outcome.reason is EndReason.INTERRUPTED
    assert outcome.repeats == ()
    assert read_repeats(rehearsal.study.attributes()) == ()
