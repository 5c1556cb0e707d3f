"""Faults planted in workers: each is an outcome with its reason, and the sweep goes on."""

from __future__ import annotations

import os
import signal

import pytest
from planted_config import planted_config
from planted_sweep import assert_whole, run_planted_sweep, study_in

from sweeper.errors import SweepAbortedError
from sweeper.launchers.cores import SlotPlan
from sweeper.launchers.local import LocalLauncher
from sweeper.listener import EndReason, Silence
from sweeper.loop import Sweep
from sweeper.records import TrialState
from trainer.errors import EnvironmentMakeError, FailureKind

FAULTS = {
    "kill": FailureKind.WORKER_LOST,
    "segfault": FailureKind.WORKER_LOST,
    "exit": FailureKind.WORKER_LOST,
    "babble": FailureKind.WORKER_LOST,
    "fork": FailureKind.WORKER_LOST,
    "hang": FailureKind.HANG,
    "hang in C": FailureKind.HANG,
    "fork and hang": FailureKind.HANG,
    "infinite score": FailureKind.NOT_FINITE,
    "crash": FailureKind.CRASH,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_an_outcome_and_the_sweep_goes_on(tmp_path, fault):
    # Long where no hang is planted: a busy machine must not make one.
    hang_timeout = "6" if FAULTS[fault] is FailureKind.HANG else "60"
    outcome = run_planted_sweep(
        tmp_path,
        *("--sweep.max-runs", "4", "--sweep.retries", "0", "--sweep.pruner", "median"),
        *("--env.fault", fault, "--env.only", "1", "--sweep.hang-timeout", hang_timeout),
        slots=2,
    )
    assert outcome.reason is EndReason.RUNS
    study = assert_whole(tmp_path, 4)
    failed = study.trials()[1]
    assert (failed.state, failed.failure_kind) == (TrialState.FAILED, FAULTS[fault])
    assert failed.failure_message
    assert sum(trial.state is TrialState.FAILED for trial in study.trials()) == 1
    if fault == "segfault":
        assert "SIGSEGV" in failed.failure_message
        assert "Segmentation fault" in failed.attributes["log_tail"]


def test_a_lost_worker_s_trial_is_continued_from_its_checkpoint(tmp_path):
    run_planted_sweep(
        tmp_path,
        *(
            "--sweep.max-runs",
            "3",
            "--env.fault",
            "kill",
            "--env.only",
            "1",
            "--env.at",
            "6",
            "--env.once",
            "True",
        ),
        slots=2,
    )
    study = assert_whole(tmp_path, 3)
    trial = study.trials()[1]
    assert trial.state is TrialState.COMPLETE
    assert trial.attributes["attempts"] == 2
    assert "worker_lost" in trial.attributes["last_failure"]


def test_a_trial_that_takes_too_long_is_ended(tmp_path):
    run_planted_sweep(
        tmp_path,
        *("--sweep.max-runs", "1", "--env.fault", "hang in C", "--sweep.trial-timeout", "1"),
        *("--sweep.max-consecutive-failures", "9"),
        slots=1,
    )
    trial = study_in(tmp_path).trials()[0]
    assert trial.failure_kind is FailureKind.TIMEOUT
    assert trial.agent_steps == 2000


def test_a_trial_that_allocates_without_end_is_ended(tmp_path):
    config = planted_config(
        *("--sweep.max-runs", "2", "--env.fault", "allocate", "--env.only", "0", "--sweep.retries", "0")
    )
    launcher = LocalLauncher(
        SlotPlan((None,), 1), worker_module="planted_worker", memory_limit_bytes=400 * 2**20
    )
    Sweep(config, tmp_path / "studies.db", "planted", launcher=launcher).run()
    greedy, modest = study_in(tmp_path).trials()
    assert greedy.failure_kind is FailureKind.OUT_OF_MEMORY
    assert "0.4 GiB" in greedy.failure_message
    assert modest.state is TrialState.COMPLETE


def test_an_environment_that_cannot_be_made_writes_nothing(tmp_path):
    with pytest.raises(EnvironmentMakeError, match="no such environment"):
        run_planted_sweep(tmp_path, "--env.fault", "unmakeable", slots=1)
    assert list(tmp_path.iterdir()) == []


def test_the_breaker_ends_a_sweep_whose_workers_all_die(tmp_path):
    with pytest.raises(SweepAbortedError, match=r"3 trials in a row .*SIGSEGV"):
        run_planted_sweep(
            tmp_path,
            *("--env.fault", "segfault", "--sweep.retries", "0", "--sweep.max-consecutive-failures", "3"),
            slots=1,
        )
    assert_whole(tmp_path, 3)


class WhenStarted(Silence):
    """Does something, once, when a trial of a certain number has reported."""

    def __init__(self, number, act):
        self.number, self.act = number, act

    def on_reported(self, trial, report):
        if trial.number == self.number:
            self.number = None
            self.act()


class StoppedLauncher(LocalLauncher):
    """Stops its workers when it is told to, and lets them go on once the loop has looked for news in vain."""

    looks_left = None

    def stop_workers(self):
        for pid in self.pids():
            os.kill(pid, signal.SIGSTOP)
        self.looks_left = 4

    def events(self, timeout_seconds):
        events = super().events(timeout_seconds)
        if self.looks_left and not events:
            self.looks_left -= 1
            if not self.looks_left:
                for pid in self.pids():
                    os.kill(pid, signal.SIGCONT)
        return events


def test_stopped_workers_go_on_when_they_are_told_to(tmp_path):
    """SIGSTOP to every worker until nothing comes any more, then SIGCONT."""
    config = planted_config("--sweep.max-runs", "3", "--env.seconds", "0.02")
    launcher = StoppedLauncher(SlotPlan((None, None), 1), worker_module="planted_worker")
    listener = WhenStarted(0, launcher.stop_workers)
    Sweep(config, tmp_path / "studies.db", "planted", launcher=launcher, listener=listener).run()
    assert launcher.looks_left == 0
    assert {trial.state for trial in study_in(tmp_path).trials()} <= {TrialState.COMPLETE, TrialState.PRUNED}
