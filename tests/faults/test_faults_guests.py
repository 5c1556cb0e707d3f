"""A second process joins a sweep: more slots, one writer, and whoever dies takes nobody's trials with it."""

from __future__ import annotations

import signal

import pytest
from planted_process import SweepProcess
from planted_sweep import assert_whole, join_planted_sweep, study_in

from sweeper.errors import StudyMismatchError
from sweeper.records import TrialState

SETTINGS = ("--sweep.max-runs", "10", "--env.seconds", "0.05", "--sweep.retries", "20")


class Pair:
    """A sweep and its guest, whose trials wait in their second epoch until they are let go."""

    def __init__(self, folder):
        self.gate = folder / "gate"
        self.settings = (*SETTINGS, "--env.until", str(self.gate))
        self.sweep = SweepProcess(folder, *self.settings)
        self.guest = SweepProcess(folder, *self.settings, join=True)

    def let_go(self):
        self.gate.touch()
        return self.sweep, self.guest


@pytest.fixture
def pair(tmp_path):
    made = Pair(tmp_path)
    made.sweep.start().read_until("on_started", 1)
    made.guest.start().read_until("runs here", 1)
    yield made
    for process in (made.sweep, made.guest):
        if process.process.poll() is None:
            process.kill()
            process.process.wait()
    made.sweep.wait_for_nobody()


def test_a_guest_runs_trials_until_the_sweep_ends(pair, tmp_path):
    sweep, guest = pair.let_go()
    code, output = sweep.finish()
    assert code == 0, output
    assert f"Process {guest.process.pid} has joined with 1 slot." in output
    code, output = guest.finish()
    assert code == 0, output
    assert f"Joined the sweep on planted in process {sweep.process.pid} with 1 slot." in output
    assert output.endswith("The sweep has ended.\njoined True")
    study = assert_whole(tmp_path, 10)
    assert {trial.attributes["slot"] for trial in study.trials()} == {0, 1, 2, 3}
    assert not (study.folder / "join.json").exists()


def test_a_killed_guest_s_trial_goes_on_elsewhere(pair, tmp_path):
    pair.guest.kill()
    pair.guest.process.wait()
    sweep, guest = pair.let_go()
    code, output = sweep.finish()
    assert code == 0, output
    assert f"Process {guest.process.pid} has left." in output
    trials = assert_whole(tmp_path, 10).trials()
    again = [trial for trial in trials if trial.attributes["attempts"] > 1]
    assert again
    assert all("has gone" in trial.attributes["last_failure"] for trial in again)


def test_a_guest_that_leaves_by_ctrl_c_costs_no_attempt(pair, tmp_path):
    sweep, guest = pair.sweep, pair.guest
    guest.kill(signal.SIGINT)
    guest.read_until("is leaving:")
    pair.let_go()
    code, output = guest.finish()
    assert code == 0, output
    assert "Left the sweep" in output
    code, output = sweep.finish()
    assert code == 0, output
    trials = assert_whole(tmp_path, 10).trials()
    assert {trial.attributes["attempts"] for trial in trials} == {1}
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}


def test_a_guest_ends_with_a_killed_sweep_and_the_next_one_goes_on(pair, tmp_path):
    sweep, guest = pair.sweep, pair.guest
    sweep.kill()
    sweep.process.wait()
    pair.let_go()
    code, output = guest.finish()
    assert code != 0
    assert "The sweep that this process had joined is gone." in output
    sweep.wait_for_nobody()
    code, output = sweep.start().finish()
    assert code == 0, output
    assert_whole(tmp_path, 10)


def test_other_settings_cannot_join(pair, tmp_path):
    with pytest.raises(StudyMismatchError, match="total_timesteps"):
        join_planted_sweep(tmp_path, *pair.settings, "--train.total-timesteps", "20000")


def test_nothing_to_join(tmp_path):
    assert join_planted_sweep(tmp_path, *SETTINGS) is False
    assert not list(tmp_path.iterdir())
    assert SweepProcess(tmp_path, *SETTINGS).start().finish()[0] == 0
    assert join_planted_sweep(tmp_path, *SETTINGS) is False
    assert study_in(tmp_path).lock_info() is None
