"""A sweep over the pretending worker, as a process that can be killed. Arguments: folder, then settings.

With `join` before them it is a guest in the sweep that runs there. SIGUSR1 lets an hour pass for the sweep's clock.
"""

from __future__ import annotations

import signal
import sys
from collections import Counter
from pathlib import Path

import psutil
from planted_config import planted_config

from sweeper.clock import SystemClock
from sweeper.joining import join_sweep
from sweeper.launchers.cores import SlotPlan
from sweeper.launchers.local import LocalLauncher
from sweeper.launchers.open_house import OpenHouse
from sweeper.launchers.process_tree import bearers
from sweeper.loop import Sweep
from sweeper.records import TrialState
from sweeper.setup import process_token
from sweeper.store import open_store


class JumpingClock(SystemClock):
    """The machine's clock, which can be told that this process has stood still."""

    skipped = 0.0

    def now(self):
        return super().now() + self.skipped

    def monotonic(self):
        return super().monotonic() + self.skipped


def planted_launcher(folder, slots, clock=None):
    return LocalLauncher(
        SlotPlan((None,) * slots, 1),
        token=process_token(folder / "studies.db", "planted"),
        worker_module="planted_worker",
        clock=clock,
    )


def run_planted_sweep(folder, *settings, slots=3, clock=None, **options):
    config = planted_config(*settings)
    launcher = OpenHouse(planted_launcher(folder, slots, clock), clock)
    return Sweep(config, folder / "studies.db", "planted", launcher=launcher, clock=clock, **options).run()


def join_planted_sweep(folder, *settings, slots=1):
    return join_sweep(
        planted_config(*settings),
        folder / "studies.db",
        "planted",
        lambda text: tell("guest", text),
        planted_launcher(folder, slots),
    )


def study_in(folder):
    return open_store(folder / "studies.db", must_exist=True).open("planted")


def assert_whole(folder, num_trials):
    """Every configuration once, nothing running, curves strictly increasing, no process left."""
    study = study_in(folder)
    trials = study.trials()
    states = Counter(trial.state for trial in trials)
    assert states[TrialState.RUNNING] == 0
    values = [tuple(sorted(trial.values.items())) for trial in trials]
    assert len(set(values)) == len(values) == num_trials
    for uuid, curve in study.curves().items():
        steps = [point.agent_steps for point in curve]
        assert steps == sorted(set(steps)), uuid
    for trial in trials:
        if trial.state is TrialState.COMPLETE:
            assert [point.agent_steps for point in study.curve(trial.uuid)] == list(range(1000, 10_001, 1000))
    left = bearers(process_token(folder / "studies.db", "planted"))
    assert not left, [psutil.Process(pid).cmdline() for pid in left]
    return study


class Lines:
    """Tells standard output what happens, line by line."""

    def __getattr__(self, name):
        return lambda thing: tell(name, getattr(thing, "number", ""), getattr(thing, "state", ""))

    def on_reported(self, trial, report):
        tell("on_reported", trial.number, report.epoch)

    def on_note(self, text):
        tell("note", text)


def tell(*words):
    sys.stdout.write(" ".join(str(word) for word in words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    # As in a terminal's foreground: what starts the tests may have it ignore some of them, and that is inherited.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    clock = JumpingClock()
    signal.signal(signal.SIGUSR1, lambda number, frame: setattr(clock, "skipped", 3600.0))
    if sys.argv[1] == "join":
        tell("joined", join_planted_sweep(Path(sys.argv[2]), *sys.argv[3:]))
    else:
        tell(run_planted_sweep(Path(sys.argv[1]), *sys.argv[2:], listener=Lines(), clock=clock).reason)
