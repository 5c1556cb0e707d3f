"""The worker process: waits for assignments, runs them, says what happens. `python -m` runs it.

Three threads: the main one trains; one reads what the sweep says and ends the process when the line is cut;
one gives signs of life as long as the main one moves.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import queue
import signal
import sys
import threading
import time
from multiprocessing.connection import Client, Connection
from typing import TYPE_CHECKING, Any, Protocol

from sweeper.folder import LOG_FILE
from sweeper.launchers.process_tree import die_with_parent, prefer_as_victim
from sweeper.launchers.verdicts import Verdicts
from sweeper.records import Assignment, Event, Finished, Reported, Verdict
from trainer.errors import PufferError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sweeper.trial import Channel, Survey
    from trainer.config import Config

BEAT_INTERVAL_SECONDS = 1.0
HOLD_BACK_SECONDS = 0.2
"""Reports that need no answer are sent together, at most this much later."""


class Line:
    """The line to the sweep, shared by the worker's threads; a `sweeper.trial.Channel` for one trial at a time."""

    def __init__(self, connection: Connection) -> None:
        self.tasks: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._connection = connection
        self._sending = threading.Lock()
        self._verdicts = Verdicts()
        self._held: list[Event] = []
        self._sent_at = time.monotonic()
        self._beats = 0

    def begin(self, uuid: str) -> None:
        """A trial begins: what was meant for an earlier one is dropped."""
        self._verdicts.begin(uuid)
        self._held = []

    def send(self, event: Event) -> None:
        """See `Channel.send`."""
        self._beats += 1
        self._held.append(event)
        waits = isinstance(event, Reported) and not event.wants_verdict
        if not waits or time.monotonic() - self._sent_at >= HOLD_BACK_SECONDS:
            held, self._held = self._held, []
            self.say("events", held)

    def verdict(self, *, wait: bool) -> Verdict | None:
        """See `Channel.verdict`."""
        verdict = self._verdicts.get(wait=wait)
        self._beats += 1
        return verdict

    def beat(self) -> None:
        """See `Channel.beat`."""
        self._beats += 1

    def say(self, kind: str, content: Any = None) -> None:
        """Send a message; the end of the line is the end of the worker."""
        try:
            with self._sending:
                self._connection.send((kind, content))
        except OSError:
            end_now()
        self._sent_at = time.monotonic()

    def listen(self) -> None:
        """Read until the line is cut, then end the process: the sweep is gone."""
        while True:
            try:
                kind, content = self._connection.recv()
            except (EOFError, OSError):
                end_now()
            if kind == "verdict":
                self._verdicts.put(*content)
            else:
                self.tasks.put((kind, content))

    def give_signs_of_life(self) -> None:
        """Say so, once a second at most, whenever the main thread has moved."""
        seen = 0
        while True:
            time.sleep(BEAT_INTERVAL_SECONDS)
            if self._beats != seen:
                seen = self._beats
                self.say("beat")


def end_now() -> None:
    """End this process and its group at once: nobody is left to hear of it."""
    with contextlib.suppress(OSError):
        if os.getpgid(0) == os.getpid():
            os.killpg(0, signal.SIGKILL)
    os._exit(1)


@contextlib.contextmanager
def output_to(assignment: Assignment) -> Iterator[None]:
    """Send everything that is printed, by C code too, to the trial's log."""
    assignment.folder.mkdir(parents=True, exist_ok=True)
    saved = [os.dup(1), os.dup(2)]
    log = os.open(assignment.folder / LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, old in zip((1, 2), saved, strict=True):
            os.dup2(old, number)
            os.close(old)
        os.close(log)


class Servant(Protocol):
    """What a worker can do: the real one trains, a test's pretends to."""

    def warm_up(self) -> None:
        """Import what every trial needs while nobody waits for it yet."""

    def survey(self, config: Config) -> Survey:
        """See `sweeper.trial.survey`."""

    def run(self, assignment: Assignment, channel: Channel) -> Finished:
        """See `sweeper.trial.Runner.run`."""

    def close(self) -> None:
        """Let go of what is kept warm."""


def serve(line: Line, servant: Servant) -> None:
    """Do what the sweep asks until it says `exit`."""
    while True:
        kind, content = line.tasks.get()
        if kind == "run":
            line.begin(content.uuid)
            with output_to(content):
                finished = servant.run(content, line)
            line.send(finished)
        elif kind == "survey":
            try:
                line.say("survey", servant.survey(content))
            except PufferError as error:
                line.say("survey", error)
        else:
            servant.close()
            return


def main(make_servant: Callable[[], Servant] | None = None) -> None:
    """Arguments: the parent's pid, then a file descriptor, or `connect` for an address in the environment."""
    parent, where = int(sys.argv[1]), sys.argv[2]
    die_with_parent(parent)
    prefer_as_victim()
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if where == "connect":
        address = os.environ["PUFFER_SWEEP_ADDRESS"]
        key = bytes.fromhex(os.environ["PUFFER_SWEEP_KEY"])
        connection = Client(address, authkey=key)
    else:
        connection = Connection(int(where))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True, errors="replace")
    line = Line(connection)
    threading.Thread(target=line.listen, name="listen", daemon=True).start()
    threading.Thread(target=line.give_signs_of_life, name="beat", daemon=True).start()
    line.say("ready", os.getpid())
    if make_servant is None:
        from sweeper.trial import Runner

        make_servant = Runner
    servant = make_servant()
    with contextlib.suppress(ImportError):
        # What cannot be imported is told by the first task, with its reason.
        servant.warm_up()
    serve(line, servant)


if __name__ == "__main__":
    main()
