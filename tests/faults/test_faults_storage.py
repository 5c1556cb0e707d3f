"""The disk full, the database held by somebody else: the sweep waits, says so, and loses nothing."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import threading
from pathlib import Path

import pytest
from planted_sweep import assert_whole, run_planted_sweep

from sweeper import disk, oversight
from sweeper.listener import Silence
from sweeper.loop import Sweep
from sweeper.records import TrialState
from sweeper.store import open_store, sqlite
from trainer.config import load_config, parse_overrides

FULL = "The disk of"
ROOM = "There is room again"
LOCKED = "The database is locked"
UNLOCKED = "The database takes writes again."


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 24 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


class FillsTheDisk(Silence):
    """Fills the disk when a trial reports, to a certain rest, and makes room once the sweep has said that it waits."""

    def __init__(self, place, number, rest_bytes, told):
        self.filler = place / "filler"
        self.number, self.rest_bytes, self.told = number, rest_bytes, told
        self.notes = []

    def on_reported(self, trial, report):
        if trial.number == self.number:
            self.number = None
            with self.filler.open("wb", buffering=0) as file:
                try:
                    while disk.free_bytes(self.filler.parent) > self.rest_bytes:
                        file.write(b"x" * 4096)
                except OSError:
                    pass

    def on_note(self, text):
        self.notes.append(text)
        if any(words in text for words in self.told):
            self.filler.unlink(missing_ok=True)


def lower_marks(monkeypatch, least, enough):
    """The watch's marks are for real disks; this one is small."""
    monkeypatch.setattr(disk, "LEAST_FREE_BYTES", least)
    monkeypatch.setattr(disk, "ENOUGH_FREE_BYTES", enough)
    monkeypatch.setattr(oversight, "DISK_INTERVAL_SECONDS", 0.1)


def test_a_disk_that_is_nearly_full_is_waited_for(small_disk, monkeypatch):
    lower_marks(monkeypatch, 4 * 2**20, 8 * 2**20)
    listener = FillsTheDisk(small_disk, 1, 2 * 2**20, [FULL])
    run_planted_sweep(
        small_disk, "--sweep.max-runs", "8", "--env.seconds", "0.05", slots=2, listener=listener
    )
    assert any(FULL in note and "nearly full" in note for note in listener.notes)
    assert any(ROOM in note for note in listener.notes)
    trials = assert_whole(small_disk, 8).trials()
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert {trial.attributes["attempts"] for trial in trials} == {1}


def test_a_disk_that_is_full_to_the_last_byte_loses_nothing(small_disk, monkeypatch):
    """Workers cannot write their curves and checkpoints, the database cannot commit."""
    lower_marks(monkeypatch, 2**20, 8 * 2**20)
    listener = FillsTheDisk(small_disk, 1, 0, [FULL, "full", "cannot be written"])
    run_planted_sweep(
        small_disk, "--sweep.max-runs", "8", "--env.seconds", "0.05", slots=2, listener=listener
    )
    assert not listener.filler.exists()
    trials = assert_whole(small_disk, 8).trials()
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}


@pytest.mark.slow
def test_real_training_on_a_full_disk_goes_on(small_disk, monkeypatch):
    lower_marks(monkeypatch, 2**20, 4 * 2**20)
    settings = ["--sweep.max-runs", "6", "--sweep.method", "random", "--sweep.workers", "2"]
    settings += ["--train.device", "cpu", "--train.checkpoint-interval", "5", "--sweep.pruner", "none"]
    config = load_config("ocean/bandit", overrides=parse_overrides(settings))
    listener = FillsTheDisk(small_disk, 1, 0, [FULL, "full", "cannot be written"])
    Sweep(config, small_disk / "studies.db", "full", listener=listener).run()
    assert not listener.filler.exists()
    study = open_store(small_disk / "studies.db", must_exist=True).open("full")
    assert [trial.state for trial in study.trials()] == [TrialState.COMPLETE] * 6
    for trial in study.trials():
        steps = [point.agent_steps for point in study.curve(trial.uuid)]
        assert steps == list(range(1024, 1024 * len(steps) + 1, 1024))
        # Whole epochs only.
        assert steps[-1] == trial.total_agent_steps // 1024 * 1024


class HoldsTheDatabase(Silence):
    """Locks the database as an editor or a backup would, when a trial reports; lets go when it is told to."""

    def __init__(self, path):
        self.path = path
        self.notes = []
        self.holder = None

    def on_reported(self, trial, report):
        if trial.number == 1 and self.holder is None:
            self.holder = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            self.holder.execute("BEGIN EXCLUSIVE")
            self.lock_taken()

    def lock_taken(self):
        pass

    def let_go(self):
        self.holder.execute("COMMIT")
        self.holder.close()

    def on_note(self, text):
        self.notes.append(text)


class LetsGoWhenAsked(HoldsTheDatabase):
    def on_note(self, text):
        super().on_note(text)
        if LOCKED in text:
            self.let_go()


class HoldsFor(HoldsTheDatabase):
    seconds = 90.0

    def lock_taken(self):
        threading.Timer(self.seconds, self.let_go).start()


def check_waited(folder, listener):
    assert any(LOCKED in note and "nothing is lost" in note for note in listener.notes)
    assert UNLOCKED in listener.notes
    trials = assert_whole(folder, 6).trials()
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert {trial.attributes["attempts"] for trial in trials} == {1}


def test_a_database_locked_for_longer_than_its_timeout_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_SECONDS", 0.2)
    listener = LetsGoWhenAsked(tmp_path / "studies.db")
    run_planted_sweep(tmp_path, "--sweep.max-runs", "6", "--env.seconds", "0.02", slots=2, listener=listener)
    check_waited(tmp_path, listener)


@pytest.mark.slow
def test_a_database_locked_for_ninety_seconds(tmp_path):
    listener = HoldsFor(tmp_path / "studies.db")
    run_planted_sweep(tmp_path, "--sweep.max-runs", "6", "--env.seconds", "0.02", slots=2, listener=listener)
    check_waited(tmp_path, listener)


def test_marks_are_for_the_tightest_disk(tmp_path):
    free = {Path("a"): 500 * 2**20, Path("b"): 200 * 2**20}
    watch = disk.DiskWatch([Path("a"), Path("b")], free.__getitem__)
    assert watch.is_full()
    assert watch.sentence() == "The disk of b is nearly full: 200 MB are free."
    free[Path("b")] = 599 * 2**20
    assert not watch.is_full()
    assert not watch.has_room()
    free[Path("a")] = free[Path("b")] = 600 * 2**20
    assert watch.has_room()
