"""What lives in a Ray actor's process: runs one trial at a time and answers calls beside it."""

from __future__ import annotations

import importlib
import tempfile
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.folder import CURVE_FILE, LOG_FILE, newest_checkpoint
from sweeper.launchers.verdicts import Verdicts
from sweeper.launchers.worker import output_to
from sweeper.records import Assignment, Event, Finished, Reported, Verdict
from trainer.errors import PufferError

if TYPE_CHECKING:
    from sweeper.launchers.worker import Servant
    from sweeper.trial import Survey
    from trainer.config import Config

MARK_FILE = ".launched"
"""A file by which an actor knows that it shares the trial's folder with the sweep."""


@dataclass(slots=True)
class News:
    """What an actor answers.

    Attributes:
        events: since the last answer.
        beats: signs of life so far.
        files: paths in the trial's folder → contents, where folders are not shared.
    """

    events: list[Event]
    beats: int
    files: dict[str, bytes] = field(default_factory=dict)


class Outbox:
    """Files of a trial's folder on a node that does not share it, as far as they have changed since last sent.

    The trial writes while another thread reads, so the folder may be removed only once `close` has returned.
    """

    def __init__(self, folder: Path) -> None:
        self._folder: Path | None = folder
        self._left: dict[str, bytes] = {}
        self._sent_ns: dict[str, int] = {}
        self._lock = threading.Lock()

    def collect(self) -> dict[str, bytes]:
        """Newest checkpoint, curve and log: path in the folder → contents; empty where none is newer."""
        with self._lock:
            if self._folder is not None:
                return self._newer_in(self._folder)
            left, self._left = self._left, {}
            return left

    def close(self) -> None:
        """Take in what has not been sent yet; nothing is read from the folder any more afterwards."""
        with self._lock:
            if self._folder is not None:
                self._left = self._newer_in(self._folder)
            self._folder = None

    def _newer_in(self, folder: Path) -> dict[str, bytes]:
        # A checkpoint that goes away meanwhile has made room for newer ones.
        while (checkpoint := newest_checkpoint(folder)) is not None:
            name = str(checkpoint.relative_to(folder))
            try:
                written_ns = checkpoint.stat().st_mtime_ns
                if self._sent_ns.get(name) == written_ns:
                    return {}
                found = {name: checkpoint.read_bytes()}
            except FileNotFoundError:
                continue
            self._sent_ns[name] = written_ns
            # The curve is sent once a checkpoint goes with it: without one the trial would begin anew.
            for other in (CURVE_FILE, LOG_FILE):
                if (folder / other).exists():
                    found[other] = (folder / other).read_bytes()
            return found
        return {}


class TrialHost:
    """Lives in the actor's process: runs one trial at a time in one thread, talks in others."""

    def __init__(self, servant: str) -> None:
        module, _, name = servant.partition(":")
        self._servant: Servant = getattr(importlib.import_module(module), name)()
        self._servant.warm_up()
        self._changed = threading.Condition()
        self._events: list[Event] = []
        self._verdicts = Verdicts()
        self._uuid = ""
        self._beats = 0
        self._outbox: Outbox | None = None

    def survey(self, config: Config) -> Survey | PufferError:
        """See `Launcher.survey`; an error is handed back whole."""
        try:
            return self._servant.survey(config)
        except PufferError as error:
            return error

    def run(self, assignment: Assignment, files: dict[str, bytes], mark: str) -> None:
        """Run a trial to its end; what happens is told by `news`.

        Args:
            assignment: whose folder is used as it is where it is shared.
            files: what is needed of it where it is not.
            mark: a word in a file of the folder, by which a shared one is known.
        """
        with self._changed:
            self._uuid, self._events = assignment.uuid, []
            self._outbox = None
        self._verdicts.begin(assignment.uuid)
        shared = _read(assignment.folder / MARK_FILE) == mark
        with tempfile.TemporaryDirectory(prefix="puffer-sweep-") as temporary:
            local = assignment
            if not shared:
                local = _localised(assignment, Path(temporary), files)
                self._outbox = Outbox(local.folder)
            with output_to(local):
                finished = self._servant.run(local, self)
            if self._outbox is not None:
                self._outbox.close()
            self.send(_with_checkpoint_of(finished, assignment))

    def news(self, uuid: str, wait_seconds: float) -> News:
        """What has happened since the last call, waiting a moment for something to happen."""
        with self._changed:
            if not self._events:
                self._changed.wait(wait_seconds)
            if uuid != self._uuid:
                return News([], self._beats)
            events, self._events = self._events, []
        files = {} if self._outbox is None else self._outbox.collect()
        return News(events, self._beats, files)

    def tell(self, uuid: str, verdict: Verdict) -> None:
        """Hand a verdict to the running trial."""
        self._verdicts.put(uuid, verdict)

    def send(self, event: Event) -> None:
        """See `Channel.send`."""
        with self._changed:
            self._beats += 1
            self._events.append(event)
            if not isinstance(event, Reported) or event.wants_verdict:
                self._changed.notify_all()

    def verdict(self, *, wait: bool) -> Verdict | None:
        """See `Channel.verdict`."""
        verdict = self._verdicts.get(wait=wait)
        self._beats += 1
        return verdict

    def beat(self) -> None:
        """See `Channel.beat`."""
        self._beats += 1


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""


def _localised(assignment: Assignment, folder: Path, files: dict[str, bytes]) -> Assignment:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    checkpoint = newest_checkpoint(folder) if assignment.resume_from is not None else None
    return replace(assignment, folder=folder, resume_from=checkpoint)


def _with_checkpoint_of(finished: Finished, assignment: Assignment) -> Finished:
    if finished.checkpoint is None:
        return finished
    return replace(finished, checkpoint=assignment.folder / "checkpoints" / finished.checkpoint.name)
