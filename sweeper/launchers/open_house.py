"""A launcher that takes in guests: processes that offer more slots to a sweep that runs already.

Guests never touch the study. What is launched on one looks to the sweep like any other trial; when a guest is lost, its
trials are failures that a retry helps, on whichever slot is free.
"""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import socket
import sys
import threading
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, Listener
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sweeper.clock import Clock, SystemClock
from sweeper.launchers.invitation import Hello, Invitation, withdraw
from sweeper.launchers.local import LONGEST_GAP_SECONDS, SURVEY_TIMEOUT_SECONDS
from sweeper.launchers.obituary import obituary
from sweeper.launchers.process_tree import kill_bearers
from sweeper.provenance import own_version
from sweeper.records import Assignment, Event, Finished, Reported, Verdict
from trainer.errors import FailureKind, PufferError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sweeper.launchers.base import Launcher
    from sweeper.trial import Survey
    from trainer.config import Config

OBEDIENCE_SECONDS = 3.0
"""A guest that has not ended a trial so long after it was told to is thrown out, with all its workers."""

FAREWELL_SECONDS = 5.0


@dataclass(slots=True)
class _Loan:
    """A trial on a guest's slot."""

    assignment: Assignment
    sign_at: float
    last: Reported | None = None
    killed: tuple[FailureKind, str, float] | None = None


@dataclass(slots=True)
class _Guest:
    """A process that offers slots."""

    connection: Connection
    hello: Hello
    num_slots: int
    loans: dict[str, _Loan] = field(default_factory=dict)

    def send(self, kind: str, content: Any = None) -> None:
        """Say something; a guest that has just gone is told of by its listener."""
        with contextlib.suppress(OSError):
            self.connection.send((kind, content))

    def free_slots(self) -> int:
        """Slots that can take an assignment now."""
        return max(0, self.num_slots - len(self.loans))


class OpenHouse:
    """Runs trials on its own launcher and on its guests' slots.

    Args:
        own: the launcher of this process.
        clock: for silence.
    """

    def __init__(self, own: Launcher, clock: Clock | None = None) -> None:
        self._own = own
        self._clock = clock or SystemClock()
        self._inbox: queue.SimpleQueue[tuple[Connection, str, Any]] = queue.SimpleQueue()
        self._guests: dict[Connection, _Guest] = {}
        self._pending: list[Event] = []
        self._answers: list[Survey | PufferError] = []
        self._cuda: bool | None = None
        self._on_note: Callable[[str], None] = lambda _text: None
        self._listener: Listener | None = None
        self._key = b""
        self._folder: Path | None = None
        self._looked_at = self._clock.monotonic()
        self._closed = False

    @property
    def slots(self) -> int:
        """See `Launcher.slots`: those of guests count while they are there."""
        return self._own.slots + sum(guest.num_slots for guest in self._guests.values())

    @property
    def num_threads(self) -> int:
        """See `Launcher.num_threads`."""
        return self._own.num_threads

    @property
    def token(self) -> str:
        """See `Launcher.token`."""
        return self._own.token

    def open_door(self, folder: Path, on_note: Callable[[str], None]) -> None:
        """Let guests in from now on; the invitation lies in the study's folder.

        Args:
            folder: the study's.
            on_note: told who comes and goes.
        """
        self._on_note = on_note
        # An abstract name leaves no file behind, however this process ends.
        linux = sys.platform == "linux"
        address = f"\0puffer-sweep-{uuid4()}" if linux else ("127.0.0.1", 0)
        self._key = secrets.token_bytes(32)
        listener = Listener(address, authkey=self._key)
        invitation = Invitation(os.getpid(), _address_of(listener), self._key)
        try:
            invitation.write(folder)
        except OSError as error:
            listener.close()
            on_note(f"Nobody can join: {folder} cannot be written ({error.strerror or error}).")
            return
        self._listener, self._folder = listener, folder
        threading.Thread(target=self._receive, args=(listener,), name="door", daemon=True).start()

    def free_slots(self) -> int:
        """See `Launcher.free_slots`."""
        return self._own.free_slots() + sum(guest.free_slots() for guest in self._guests.values())

    def survey(self, config: Config) -> Survey:
        """See `Launcher.survey`; asks a guest where only a guest has a free slot."""
        guest = next((guest for guest in self._guests.values() if guest.free_slots() > 0), None)
        if self._own.free_slots() > 0 or guest is None:
            survey = self._own.survey(config)
            self._cuda = survey.cuda_available
            return survey
        guest.send("survey", config)
        deadline = self._clock.monotonic() + SURVEY_TIMEOUT_SECONDS
        while not self._answers:
            if guest.connection not in self._guests or self._clock.monotonic() > deadline:
                raise PufferError("The process that was to make the environment has gone.")
            with contextlib.suppress(queue.Empty):
                self._handle(*self._inbox.get(timeout=1.0))
        answer = self._answers.pop()
        if isinstance(answer, PufferError):
            raise answer
        return answer

    def launch(self, assignment: Assignment) -> None:
        """See `Launcher.launch`; its own slots first."""
        if self._own.free_slots() > 0:
            self._own.launch(assignment)
            return
        guest = next((guest for guest in self._guests.values() if guest.free_slots() > 0), None)
        if guest is None:
            raise RuntimeError("no slot is free")
        guest.loans[assignment.uuid] = _Loan(assignment, self._clock.monotonic())
        guest.send("launch", assignment)

    def answer(self, uuid: str, verdict: Verdict) -> None:
        """See `Launcher.answer`."""
        guest = self._guest_of(uuid)
        if guest is None:
            self._own.answer(uuid, verdict)
        else:
            guest.send("verdict", (uuid, verdict))

    def events(self, timeout_seconds: float) -> list[Event]:
        """See `Launcher.events`."""
        at_once = bool(self._pending) or not self._inbox.empty()
        events = self._own.events(0.0 if at_once else timeout_seconds)
        while not self._inbox.empty():
            self._handle(*self._inbox.get())
        self._look_after_guests(timeout_seconds)
        events += self._pending
        self._pending = []
        return events

    def silent_seconds(self, uuid: str) -> float:
        """See `Launcher.silent_seconds`."""
        guest = self._guest_of(uuid)
        if guest is None:
            return self._own.silent_seconds(uuid)
        return self._clock.monotonic() - guest.loans[uuid].sign_at

    def kill(self, uuid: str, kind: FailureKind, message: str) -> None:
        """See `Launcher.kill`."""
        guest = self._guest_of(uuid)
        if guest is None:
            self._own.kill(uuid, kind, message)
        elif guest.loans[uuid].killed is None:
            guest.loans[uuid].killed = (kind, message, self._clock.monotonic())
            guest.send("kill", (uuid, kind, message))

    def wake(self) -> None:
        """See `Launcher.wake`."""
        self._own.wake()

    def close(self) -> None:
        """See `Launcher.close`; guests are sent home."""
        if self._closed:
            return
        self._closed = True
        if self._folder is not None:
            withdraw(self._folder)
        for guest in self._guests.values():
            guest.send("end")
        deadline = self._clock.monotonic() + FAREWELL_SECONDS
        while self._guests and self._clock.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                self._handle(*self._inbox.get(timeout=0.2))
        for guest in list(self._guests.values()):
            self._lose(guest)
        if self._listener is not None:
            self._shut(self._listener)
        self._own.close()

    # --- at the door ---------------------------------------------------------------------------------------------

    def _receive(self, listener: Listener) -> None:
        while not self._closed:
            try:
                connection = listener.accept()
            except (OSError, EOFError, AuthenticationError):
                continue
            threading.Thread(target=self._listen, args=(connection,), name="guest", daemon=True).start()

    def _listen(self, connection: Connection) -> None:
        while True:
            try:
                kind, content = connection.recv()
            except Exception as error:  # noqa: BLE001 - whatever a guest says that is no message, it is gone with it
                self._inbox.put(
                    (connection, "gone", None if isinstance(error, EOFError | OSError) else error)
                )
                self._own.wake()
                return
            self._inbox.put((connection, kind, content))
            self._own.wake()

    def _shut(self, listener: Listener) -> None:
        # A thread waits in `accept`, which closing alone would not end: somebody knocks and runs away.
        address = _address_of(listener)
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as knock:
            knock.connect(address)
        listener.close()

    def _handle(self, connection: Connection, kind: str, content: Any) -> None:
        if kind == "hello":
            self._greet(connection, content)
            return
        guest = self._guests.get(connection)
        if guest is None:
            return
        if kind == "gone":
            self._lose(guest)
        elif kind == "events":
            for event in content:
                self._note(guest, event)
        elif kind == "signs":
            now = self._clock.monotonic()
            for uuid, silent in content.items():
                if (loan := guest.loans.get(uuid)) is not None:
                    loan.sign_at = now - silent
        elif kind == "slots":
            guest.num_slots = int(content)
        elif kind == "surveyed":
            self._answers.append(content)
        elif kind == "leaving":
            guest.num_slots = 0
            guest.send("farewell")

    def _greet(self, connection: Connection, hello: Hello) -> None:
        reason = ""
        if hello.version != own_version():
            reason = f"The sweep is run by puffer-sweep {own_version()}, and this is {hello.version}."
        elif self._cuda and not hello.cuda_available:
            reason = "The sweep trains on GPUs, and this process has none."
        guest = _Guest(connection, hello, hello.num_slots)
        if reason or self._closed:
            guest.send("refused", reason or "The sweep has just ended.")
            return
        self._guests[connection] = guest
        guest.send("welcome")
        many = "1 slot" if hello.num_slots == 1 else f"{hello.num_slots} slots"
        self._on_note(f"Process {hello.pid} has joined with {many}.")

    def _note(self, guest: _Guest, event: Event) -> None:
        loan = guest.loans.get(event.uuid)
        if loan is None:
            return
        loan.sign_at = self._clock.monotonic()
        if isinstance(event, Reported):
            loan.last = event
        elif isinstance(event, Finished):
            del guest.loans[event.uuid]
        self._pending.append(event)

    # --- looking after guests ------------------------------------------------------------------------------------

    def _look_after_guests(self, timeout_seconds: float) -> None:
        now = self._clock.monotonic()
        gap = now - self._looked_at - timeout_seconds
        self._looked_at = now
        for guest in list(self._guests.values()):
            for loan in guest.loans.values():
                if gap > LONGEST_GAP_SECONDS:
                    loan.sign_at = min(now, loan.sign_at + gap)
            late = [
                loan
                for loan in guest.loans.values()
                if loan.killed and now - loan.killed[2] > OBEDIENCE_SECONDS
            ]
            if late:
                self._lose(guest)

    def _lose(self, guest: _Guest) -> None:
        """A guest has gone, or must: nothing that it has started may go on beside what is started next."""
        self._guests.pop(guest.connection, None)
        kill_bearers(guest.hello.token)
        _hang_up(guest.connection)
        lost = FailureKind.WORKER_LOST, f"The process {guest.hello.pid} that ran the trial has gone."
        for loan in guest.loans.values():
            kind, message = loan.killed[:2] if loan.killed is not None else lost
            self._pending.append(obituary(loan.assignment, loan.last, kind, message))
        if not self._closed:
            self._on_note(f"Process {guest.hello.pid} has left.")

    def _guest_of(self, uuid: str) -> _Guest | None:
        return next((guest for guest in self._guests.values() if uuid in guest.loans), None)


def _hang_up(connection: Connection) -> None:
    """End a conversation; the thread that listens to it hears the end and lets go of the connection."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


def _address_of(listener: Listener) -> str | tuple[str, int]:
    address = listener.address
    if isinstance(address, bytes):
        return address.decode()
    return (str(address[0]), int(address[1])) if isinstance(address, tuple) else str(address)
