"""A worker that only pretends to train, and that fails on purpose: starts in a fraction of a second.

What it does follows from the config: `env.fault` names a fault, `env.at` the epoch, `env.seconds` an epoch's
length, `env.only` the trial that it befalls (-1: all), `env.once` whether a second attempt is spared, `env.until` a
file without which no trial gets beyond its first epoch.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from sweeper.launchers.simulated import Epoch, PretendedRun
from sweeper.launchers.worker import main
from sweeper.records import Ending, Started, Verdict
from sweeper.trial import Survey
from trainer.errors import EnvironmentMakeError, FailureKind
from trainer.records import EnvironmentFacts


def planned_epochs(assignment, num_epochs=10):
    """Scores that rise with the steps towards a height that the learning rate decides."""
    config = assignment.config
    total = config.train.total_timesteps
    height = 100.0 * config.train.learning_rate
    for number in range(1, num_epochs + 1):
        steps = total * number // num_epochs
        seconds = float(config.env.get("seconds", 0.0))
        yield Epoch(steps, seconds, height * number / num_epochs, metrics={"a": 1.0})


class Pretender:
    def warm_up(self):
        pass

    def survey(self, config):
        if config.env.get("fault") == "unmakeable":
            raise EnvironmentMakeError("There is no such environment.", value=config.base.env_name)
        if config.env.get("fault") == "killed in survey":
            # `env.left` names a file with as many characters as workers are still to be killed.
            left = Path(config.env["left"])
            if words := left.read_text():
                left.write_text(words[1:])
                kill_myself()
        return Survey(EnvironmentFacts(), cuda_available=False)

    def close(self):
        pass

    def run(self, assignment, channel):
        env = assignment.config.env
        run = PretendedRun.begin(assignment, lambda a: planned_epochs(a, int(env.get("epochs", 10))))
        sys.stdout.write(f"pretending {assignment.number}\n")
        channel.send(Started(assignment.uuid, os.getpid(), run.agent_steps, run.number))
        mark = assignment.folder / "struck"
        struck = env.get("once", False) and mark.exists()
        mine = env.get("only", -1) in (-1, assignment.number) and not struck
        for number, epoch in enumerate(run.epochs, start=run.number + 1):
            if mine and number == int(env.get("at", 3)):
                mark.touch()
                finished = strike(str(env.get("fault", "")), run)
                if finished is not None:
                    return finished
            time.sleep(epoch.seconds)
            channel.beat()
            while number > 1 and "until" in env and not Path(env["until"]).exists():
                time.sleep(0.01)
                channel.beat()
            report = run.take(epoch)
            channel.send(report)
            verdict = channel.verdict(wait=report.wants_verdict)
            if report.agent_steps < report.total_agent_steps and verdict not in (None, Verdict.CONTINUE):
                return run.finished(Ending.PAUSED if verdict is Verdict.PAUSE else Ending.STOPPED)
        return run.finished(Ending.COMPLETE)


def strike(fault, run):
    """Ends this process, hangs it, or ends the run with a failure; None where no fault is named."""
    kinds = {
        "nan": FailureKind.NOT_FINITE,
        "crash": FailureKind.CRASH,
        "environment": FailureKind.ENVIRONMENT,
    }
    if fault in kinds:
        return run.finished(Ending.FAILED, kinds[fault], "planted")
    if fault == "infinite score":
        return replace(run.finished(Ending.COMPLETE), score=float("inf"))
    if fault:
        FAULTS[fault]()
    return None


def kill_myself():
    os.kill(os.getpid(), signal.SIGKILL)


def hang():
    threading.Event().wait()


def allocate():
    hoard = []
    while True:
        hoard.append(bytearray(b"x" * 2**24))
        time.sleep(0.002)


def babble():
    os.write(int(sys.argv[2]), b"\0\0\0\5abcde")
    hang()


FAULTS = {
    "kill": kill_myself,
    "segfault": lambda: ctypes.string_at(0),
    "exit": lambda: os._exit(3),
    "hang": hang,
    # PyDLL keeps the interpreter's lock: no thread of Python's moves.
    "hang in C": lambda: ctypes.PyDLL(None).sleep(3600),
    "fork": lambda: (leave_children(), kill_myself()),
    "fork and hang": lambda: (leave_children(), hang()),
    "allocate": allocate,
    "babble": babble,
}


def leave_children():
    """One child in the group, and one that has run away from it."""
    sleeper = [sys.executable, "-S", "-c", "import time; time.sleep(3600)"]
    subprocess.Popen(sleeper)
    subprocess.Popen(sleeper, start_new_session=True)


if __name__ == "__main__":
    main(Pretender)
