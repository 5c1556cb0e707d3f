"""The planted sweep, or a guest of it, as a process of its own that can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from sweeper.launchers.process_tree import bearers
from sweeper.setup import process_token

PLANTED = Path(__file__).parent


class SweepProcess:
    """A sweep in its own session; `join` makes it a guest of the one that runs."""

    def __init__(self, folder, *settings, join=False):
        self.folder = folder
        self.words = [*(["join"] if join else []), str(folder), *settings]
        self.token = process_token(folder / "studies.db", "planted")
        self.process = self.reader = None
        self.heard = threading.Condition()

    def start(self):
        path = os.pathsep.join([str(PLANTED), *sys.path])
        if self.reader is not None:
            # The end of the one before must not be taken for the end of this one.
            self.reader.join()
        self.lines, self.ended = [], False
        self.process = subprocess.Popen(
            [sys.executable, str(PLANTED / "planted_sweep.py"), *self.words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        self.reader = threading.Thread(target=self.read, args=(self.process.stdout,), daemon=True)
        self.reader.start()
        return self

    def read(self, output):
        with output:
            for line in output:
                with self.heard:
                    self.lines.append(line.rstrip())
                    self.heard.notify_all()
        with self.heard:
            self.ended = True
            self.heard.notify_all()

    def count(self, word):
        """Lines so far that hold a word."""
        return sum(word in line for line in list(self.lines))

    def read_until(self, word, count=1, timeout=60.0):
        """Wait until so many lines have held a word, or the output has ended."""
        with self.heard:
            self.heard.wait_for(lambda: self.ended or self.count(word) >= count, timeout)
        return self

    def wait_until_stopped(self):
        """Wait until SIGSTOP has reached it."""
        os.waitpid(self.process.pid, os.WUNTRACED)

    def kill(self, number=signal.SIGKILL):
        os.kill(self.process.pid, number)

    def finish(self, timeout=120.0):
        code = self.process.wait(timeout)
        self.reader.join(timeout)
        return code, "\n".join(self.lines)

    def workers(self):
        return [
            pid for pid in bearers(self.token) if any("planted_worker" in word for word in command_line(pid))
        ]

    def wait_for_nobody(self, timeout=20.0):
        deadline = time.monotonic() + timeout
        while bearers(self.token):
            assert time.monotonic() < deadline, [command_line(pid) for pid in bearers(self.token)]
            time.sleep(0.05)


def command_line(pid):
    try:
        return psutil.Process(pid).cmdline()
    except psutil.Error:
        return []
