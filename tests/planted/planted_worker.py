"""A worker that only pretends to train, and that fails on purpose: starts in a fraction of a second.

What it does follows from the config: `env.fault` names a fault, `env.at` the epoch, `env.seconds` an epoch's length,
`env.only` the trial that it befalls (-1: all), `env.once` whether a second attempt is spared.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

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
        yield Epoch(steps, float(config.env.get("seconds", 0.0)), height * number / num_epochs, metrics={"a": 1.0})


class Pretender:
    def warm_up(self):
        pass

    def survey(self, config):
        if config.env.get("fault") == "unmakeable":
            raise EnvironmentMakeError("There is no such environment.", value=config.base.env_name)
        return Survey(EnvironmentFacts(), cuda_available=False)

    def close(self):
        pass

    def run(self, assignment, channel):
        env = assignment.config.env
        run = PretendedRun.begin(assignment, lambda a: planned_epochs(a, int(env.get("epochs", 10))))
        print("pretending", assignment.number, flush=True)
        channel.send(Started(assignment.uuid, os.getpid(), run.agent_steps))
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
            report = run.take(epoch)
            channel.send(report)
            verdict = channel.verdict(wait=report.wants_verdict)
            if report.agent_steps < report.total_agent_steps and verdict not in (None, Verdict.CONTINUE):
                return run.finished(Ending.PAUSED if verdict is Verdict.PAUSE else Ending.STOPPED)
        return run.finished(Ending.COMPLETE)


def strike(fault, run):
    if fault == "nan":
        return run.finished(Ending.FAILED, FailureKind.NOT_FINITE, "planted")
    if fault == "crash":
        return run.finished(Ending.FAILED, FailureKind.CRASH, "planted")
    if fault == "environment":
        return run.finished(Ending.FAILED, FailureKind.ENVIRONMENT, "planted")
    if fault == "infinite score":
        run.curve[:] = []
        finished = run.finished(Ending.COMPLETE)
        object.__setattr__(finished, "score", float("inf"))
        return finished
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "segfault":
        ctypes.string_at(0)
    if fault == "exit":
        os._exit(3)
    if fault == "hang":
        threading.Event().wait()
    if fault == "hang in C":
        ctypes.PyDLL(None).sleep(3600)  # PyDLL keeps the interpreter's lock: no thread of Python's moves
    if fault == "fork":
        leave_children()
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "fork and hang":
        leave_children()
        threading.Event().wait()
    if fault == "allocate":
        hoard = []
        while True:
            hoard.append(bytearray(b"x" * 2**24))
            time.sleep(0.002)
    if fault == "garbage":
        os.write(int(sys.argv[2]), b"\0\0\0\5abcde")
        threading.Event().wait()
    return None


def leave_children():
    """One child in the group, and one that has run away from it."""
    sleeper = [sys.executable, "-S", "-c", "import time; time.sleep(3600)"]
    subprocess.Popen(sleeper)
    subprocess.Popen(sleeper, start_new_session=True)


if __name__ == "__main__":
    main(Pretender)
