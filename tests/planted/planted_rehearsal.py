"""Sweeps on a virtual clock: launched by nobody, over in a moment, and what must hold of their studies."""

from __future__ import annotations

from collections import Counter

import pytest
from planted_config import planted_config

from sweeper.clock import VirtualClock
from sweeper.launchers.simulated import Epoch, SimulatedLauncher
from sweeper.listener import Silence
from sweeper.loop import Sweep
from sweeper.records import TrialState
from sweeper.store import open_store


def rising(assignment, num_epochs=10, seconds=1.0):
    total = assignment.config.train.total_timesteps
    height = 100 * assignment.config.train.learning_rate
    for number in range(1, num_epochs + 1):
        score = height * number / num_epochs
        yield Epoch(total * number // num_epochs, seconds, score, metrics={"losses/kl": 0.1})


class Notes(Silence):
    def __init__(self):
        self.notes, self.started, self.finished, self.outcome = [], [], [], None

    def on_note(self, text):
        self.notes.append(text)

    def on_started(self, trial):
        self.started.append(trial.number)

    def on_finished(self, trial):
        self.finished.append((trial.number, trial.state))

    def on_sweep_finished(self, outcome):
        self.outcome = outcome


class Rehearsal:
    """Sweeps over one study in a folder, on one clock."""

    def __init__(self, folder):
        self.folder = folder
        self.clock = VirtualClock()
        self.storage = folder / "studies.db"
        self.listener = Notes()

    def sweep(self, *settings, behave=rising, slots=2, name="rehearsal", listener=None, text=None):
        config = planted_config(*settings) if text is None else planted_config(*settings, text=text)
        launcher = SimulatedLauncher(slots, self.clock, behave)
        listener = listener or self.listener
        made = Sweep(config, self.storage, name, launcher=launcher, clock=self.clock, listener=listener)
        if hasattr(listener, "attach"):
            listener.attach(made)
        return made

    def run(self, *settings, **options):
        return self.sweep(*settings, **options).run()

    @property
    def study(self):
        return open_store(self.storage, must_exist=True, clock=self.clock).open("rehearsal")


def states(study):
    return Counter(trial.state for trial in study.trials())


def check_whole(study):
    """What must hold of any study that no sweep is running on."""
    trials = study.trials()
    assert [t.number for t in trials] == list(range(len(trials)))
    assert not [t for t in trials if t.state is TrialState.RUNNING]
    values = [tuple(sorted(t.values.items())) for t in trials if "retry_of" not in t.attributes]
    assert len(set(values)) == len(values)
    for uuid, curve in study.curves().items():
        steps = [point.agent_steps for point in curve]
        assert steps == sorted(set(steps)), uuid
    mirrored = study.optuna_study.trials
    assert [t.number for t in mirrored] == [t.number for t in trials]
    for trial, mirror in zip(trials, mirrored, strict=True):
        assert mirror.params == dict(trial.values)
        assert mirror.user_attrs["uuid"] == trial.uuid
        assert mirror.user_attrs["phase"] == trial.state.value
        assert mirror.intermediate_values == {o.agent_steps: pytest.approx(o.score) for o in trial.curve}
        assert len(mirror.intermediate_values) <= 50
        if trial.state is TrialState.COMPLETE:
            assert mirror.value == pytest.approx(trial.score)
    assert study.lock_info() is None


class StopAfter(Notes):
    """Asks the sweep to stop, as Ctrl-C does, after so many reports."""

    def __init__(self, reports, times=1):
        super().__init__()
        self.left, self.times = reports, times

    def attach(self, sweep):
        self.sweep = sweep

    def on_reported(self, trial, report):
        self.left -= 1
        if self.left == 0:
            for _ in range(self.times):
                self.sweep.stop()
