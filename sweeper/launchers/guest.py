"""The other side of the door: offers this process's slots to a sweep that runs in another one."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection
from typing import TYPE_CHECKING, Any

from sweeper.errors import SweepError
from sweeper.launchers.invitation import Hello
from sweeper.provenance import own_version
from sweeper.records import Assignment, Finished, Verdict
from trainer.errors import FailureKind, PufferError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sweeper.clock import Clock
    from sweeper.interrupt import Interrupts
    from sweeper.launchers.base import Launcher
    from sweeper.launchers.invitation import Invitation

PATIENCE_SECONDS = 0.25
SIGNS_INTERVAL_SECONDS = 1.0
WELCOME_SECONDS = 60.0


class Guest:
    """A process in another's sweep.

    Args:
        invitation: where the sweep's door is.
        launcher: whose slots are offered; the caller closes it.
        cuda_available: whether its workers see a CUDA device.
        clock: the sweep's.
        on_note: told what runs here.

    Raises:
        SweepError: nobody opens, or this process is refused.
    """

    def __init__(
        self,
        invitation: Invitation,
        launcher: Launcher,
        *,
        cuda_available: bool,
        clock: Clock,
        on_note: Callable[[str], None],
    ) -> None:
        self._launcher = launcher
        self._clock = clock
        self._on_note = on_note
        self._inbox: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._running: dict[str, int] = {}
        self._leaving = self._farewell = self._ended = self._cut = False
        self._told_slots = launcher.slots
        self._signs_at = clock.monotonic()
        try:
            self._connection: Connection = Client(invitation.address, authkey=invitation.key)
        except (OSError, EOFError, AuthenticationError) as error:
            raise SweepError(
                f"The sweep in process {invitation.pid} does not open its door: {error}.",
                rule="Only processes of the same user in the same container can join a sweep.",
                remedy="On other machines: [sweep] launcher = ray.",
            ) from error
        self._listener = threading.Thread(target=self._listen, name="host", daemon=True)
        self._listener.start()
        self._say(
            "hello",
            Hello(os.getpid(), launcher.token, launcher.slots, cuda_available, own_version()),
        )
        try:
            kind, reason = self._inbox.get(timeout=WELCOME_SECONDS)
        except queue.Empty:
            kind, reason = "refused", "It does not answer."
        if kind != "welcome":
            raise SweepError(f"The sweep in process {invitation.pid} takes no guest. {reason or ''}".strip())

    def serve(self, interrupts: Interrupts) -> bool:
        """Run what the sweep sends until it ends or somebody interrupts; True if the sweep has ended.

        An interrupt lets running trials finish their epoch; they go on elsewhere. A second one ends them at once.

        Raises:
            SweepError: the sweep is gone without a word.
        """
        while not self._ended:
            for event in self._launcher.events(PATIENCE_SECONDS):
                if isinstance(event, Finished) and event.uuid in self._running:
                    self._on_note(
                        f"trial {self._running.pop(event.uuid)} has ended here: {event.ending.value}"
                    )
                self._say("events", [event])
            while not self._inbox.empty():
                self._obey(*self._inbox.get())
            if self._cut:
                raise SweepError(
                    "The sweep that this process had joined is gone.",
                    remedy="Run the same command again: it continues the study.",
                )
            self._give_signs()
            if interrupts.stop:
                self._leave(at_once=interrupts.stop_now)
                if self._farewell and not self._running:
                    return False
        return True

    def close(self) -> None:
        """Leave."""
        # Shut down first: closed under the listener's hands, the connection would be read without a handle.
        with (
            contextlib.suppress(OSError),
            socket.fromfd(self._connection.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as line,
        ):
            line.shutdown(socket.SHUT_RDWR)
        self._listener.join()
        with contextlib.suppress(OSError):
            self._connection.close()

    def _obey(self, kind: str, content: Any) -> None:
        if kind == "launch":
            assignment: Assignment = content
            self._running[assignment.uuid] = assignment.number
            self._launcher.launch(assignment)
            self._on_note(f"trial {assignment.number} runs here")
            if self._leaving:
                self._launcher.answer(assignment.uuid, Verdict.PAUSE)
        elif kind == "verdict":
            self._launcher.answer(*content)
        elif kind == "kill":
            self._launcher.kill(*content)
        elif kind == "survey":
            try:
                self._say("surveyed", self._launcher.survey(content))
            except PufferError as error:
                self._say("surveyed", error)
        elif kind == "farewell":
            self._farewell = True
        elif kind == "end":
            self._ended = True
        elif kind == "gone":
            self._cut = True

    def _leave(self, *, at_once: bool) -> None:
        if not self._leaving:
            self._leaving = True
            self._on_note("This process is leaving: its trials finish their epoch and go on elsewhere.")
            self._say("leaving")
            for uuid in self._running:
                self._launcher.answer(uuid, Verdict.PAUSE)
        if at_once:
            for uuid in list(self._running):
                self._launcher.kill(
                    uuid, FailureKind.WORKER_LOST, "The process that ran the trial was told to stop."
                )

    def _give_signs(self) -> None:
        now = self._clock.monotonic()
        if now - self._signs_at < SIGNS_INTERVAL_SECONDS:
            return
        self._signs_at = now
        self._say("signs", {uuid: self._launcher.silent_seconds(uuid) for uuid in self._running})
        if self._launcher.slots != self._told_slots and not self._leaving:
            self._told_slots = self._launcher.slots
            self._say("slots", self._told_slots)

    def _say(self, kind: str, content: Any = None) -> None:
        # A host that has gone is told of by the listener.
        with contextlib.suppress(OSError):
            self._connection.send((kind, content))

    def _listen(self) -> None:
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                self._inbox.put(("gone", None))
                self._launcher.wake()
                return
            self._inbox.put(message)
            self._launcher.wake()
