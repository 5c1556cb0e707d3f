"""kill -9 of workers, of the sweep and of everything: the same command goes on, and nothing is lost or done twice."""

from __future__ import annotations

import os
import random
import signal
import time

import psutil
import pytest
from planted_process import SweepProcess
from planted_sweep import assert_whole, study_in

from sweeper.launchers.process_tree import bearers
from sweeper.records import TrialState

SETTINGS = ("--sweep.max-runs", "8", "--env.seconds", "0.03", "--sweep.retries", "20")


def test_a_killed_sweep_leaves_nobody_and_is_continued(tmp_path):
    sweep = SweepProcess(tmp_path, *SETTINGS)
    sweep.start().read_until("on_started", 4)
    sweep.kill()
    sweep.process.wait()
    sweep.wait_for_nobody()
    before = {t.number: t for t in study_in(tmp_path).trials()}
    running = [n for n, t in before.items() if t.state is TrialState.RUNNING]
    assert running
    code, output = sweep.start().finish()
    assert code == 0, output
    assert "continued now" in output
    study = assert_whole(tmp_path, 8)
    after = study.trials()
    for number, trial in before.items():
        assert after[number].values == trial.values
        if trial.state is TrialState.COMPLETE:
            assert after[number] == trial


@pytest.mark.slow
def test_children_that_ran_away_die_with_a_killed_sweep(tmp_path):
    sweep = SweepProcess(
        tmp_path, "--env.fault", "fork and hang", "--env.at", "2", "--sweep.hang-timeout", "60"
    )
    sweep.start().read_until("on_started", 3)
    deadline = time.monotonic() + 30
    while len(bearers(sweep.token)) < 3 + 2 * 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    sweep.kill()
    sweep.process.wait()
    sweep.wait_for_nobody()


@pytest.mark.slow
def test_everything_killed_at_once(tmp_path):
    sweep = SweepProcess(tmp_path, *SETTINGS)
    sweep.start().read_until("on_started", 4)
    for pid in [sweep.process.pid, *bearers(sweep.token), *psutil_children(sweep.process.pid)]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    sweep.process.wait()
    sweep.wait_for_nobody()
    code, output = sweep.start().finish()
    assert code == 0, output
    assert_whole(tmp_path, 8)


def psutil_children(pid):
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_it_cleanly_and_the_same_command_goes_on(tmp_path, number):
    sweep = SweepProcess(tmp_path, *SETTINGS)
    sweep.start().read_until("on_started", 4)
    sweep.kill(number)
    code, output = sweep.finish()
    assert code == 0, output
    assert output.strip().endswith("interrupted")
    states = {t.state for t in study_in(tmp_path).trials()}
    assert TrialState.RUNNING not in states
    assert TrialState.QUEUED in states
    assert sweep.start().finish()[0] == 0
    assert_whole(tmp_path, 8)


def test_a_second_signal_ends_it_at_once(tmp_path):
    sweep = SweepProcess(tmp_path, "--sweep.max-runs", "4", "--env.fault", "hang", "--env.at", "2")
    sweep.start().read_until("on_started", 3)
    sweep.kill(signal.SIGINT)
    sweep.read_until("Stopping")
    assert sweep.process.poll() is None
    sweep.kill(signal.SIGINT)
    code, output = sweep.finish(30)
    assert code == 0, output
    sweep.wait_for_nobody()
    assert {t.state for t in study_in(tmp_path).trials()} == {TrialState.QUEUED}


def test_a_second_start_is_refused_with_the_holder(tmp_path):
    sweep = SweepProcess(tmp_path, "--sweep.max-runs", "8", "--env.seconds", "3")
    sweep.start().read_until("on_started", 1)
    code, output = SweepProcess(tmp_path, "--sweep.max-runs", "8", "--env.seconds", "3").start().finish()
    assert code != 0
    assert f"is being run by process {sweep.process.pid} on" in output
    sweep.kill(signal.SIGTERM)
    sweep.kill(signal.SIGTERM)
    assert sweep.finish()[0] == 0


def test_a_stopped_sweep_goes_on_after_sigcont(tmp_path):
    """Whoever has stood still for an hour blames nobody else for it: no trial hangs, none takes too long."""
    sweep = SweepProcess(tmp_path, *SETTINGS, "--sweep.hang-timeout", "60", "--sweep.trial-timeout", "120")
    sweep.start().read_until("on_started", 2)
    sweep.kill(signal.SIGSTOP)
    sweep.wait_until_stopped()
    # Told of when it goes on: its clock has gone on without it.
    sweep.kill(signal.SIGUSR1)
    sweep.kill(signal.SIGCONT)
    code, output = sweep.finish()
    assert code == 0, output
    study = assert_whole(tmp_path, 8)
    assert not [t for t in study.trials() if t.state is TrialState.FAILED]


def rain_of_kills(folder, *, num_worker_kills, num_sweep_kills, num_trials, seed):
    """Kill -9 of workers and of the sweep, each some epochs after the one before, until the sweep has ended.

    Returns:
        How many of each have been killed.
    """
    draw = random.Random(seed)
    settings = ("--sweep.max-runs", str(num_trials), "--env.seconds", "0.03", "--sweep.retries", "1000")
    sweep = SweepProcess(folder, *settings)
    victims = ["worker"] * num_worker_kills + ["sweep"] * num_sweep_kills
    draw.shuffle(victims)
    done = {"worker": 0, "sweep": 0}
    sweep.start().read_until("on_started", 1)
    for victim in victims:
        sweep.read_until("on_reported", sweep.count("on_reported") + draw.randint(1, 8))
        if sweep.process.poll() is not None:
            break
        if victim == "sweep":
            sweep.kill()
            sweep.process.wait()
            sweep.wait_for_nobody()
            sweep.start().read_until("on_started", 1)
        else:
            workers = sweep.workers()
            if not workers:
                continue
            try:
                os.kill(draw.choice(workers), signal.SIGKILL)
            except ProcessLookupError:
                continue
        done[victim] += 1
    code, output = sweep.finish(300)
    assert code == 0, output
    return done


@pytest.mark.slow
def test_a_rain_of_kills(tmp_path):
    done = rain_of_kills(tmp_path, num_worker_kills=14, num_sweep_kills=6, num_trials=60, seed=8)
    assert done == {"worker": 14, "sweep": 6}
    study = assert_whole(tmp_path, 60)
    assert {t.state for t in study.trials()} <= {TrialState.COMPLETE, TrialState.PRUNED}
