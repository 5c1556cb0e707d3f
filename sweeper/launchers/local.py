"""Warm worker processes on this machine, one per slot, each in a process group of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any
from uuid import uuid4

from sweeper.clock import Clock, SystemClock
from sweeper.folder import log_tail, newest_checkpoint
from sweeper.launchers.gpus import device_name
from sweeper.launchers.process_tree import TOKEN_VARIABLE, kernel_kills, kill_tree, tree_bytes
from sweeper.records import Assignment, Ending, Event, Finished, Reported, Verdict
from trainer.errors import FailureKind, PufferError

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from sweeper.launchers.cores import SlotPlan
    from sweeper.trial import Survey
    from trainer.config import Config

SURVEY_TIMEOUT_SECONDS = 600.0
MEMORY_CHECK_SECONDS = 0.5
LONGEST_GAP_SECONDS = 5.0
"""A longer gap between two looks means that this process itself stood still: nobody else is blamed for it."""

_EXIT_PATIENCE_SECONDS = 5.0


@dataclass(slots=True)
class _Slot:
    """A worker process and what it is doing."""

    index: int
    gpu: int | None
    process: subprocess.Popen[bytes] | None = None
    connection: Connection | None = None
    output: IO[bytes] | None = None
    generation: int = 0
    assignment: Assignment | None = None
    last: Reported | None = None
    sign_at: float = 0.0
    kill_reason: tuple[FailureKind, str] | None = None
    answers: list[Any] = field(default_factory=list)


class LocalLauncher:
    """Runs trials in spawned processes that stay warm between trials.

    Args:
        plan: slots and threads; `replan` may change it after the first survey, before anything runs.
        token: marks all processes of this sweep: the study's, so that a later sweep finds what is left of this one.
        clock: for silence.
        memory_limit_bytes: of a worker with its descendants; None for no limit.
        replan: slots from what the first survey has found.
        worker_module: what `python -m` runs in a worker.
    """

    def __init__(
        self,
        plan: SlotPlan,
        *,
        token: str | None = None,
        clock: Clock | None = None,
        memory_limit_bytes: int | None = None,
        replan: Callable[[Survey], SlotPlan] | None = None,
        worker_module: str = "sweeper.launchers.worker",
    ) -> None:
        self._plan = plan
        self._replan = replan
        self._worker_module = worker_module
        self._token = f"{token or 'trial'}:{uuid4()}"
        self._clock = clock or SystemClock()
        self._memory_limit_bytes = memory_limit_bytes
        self._inbox: queue.SimpleQueue[tuple[_Slot, int, str, Any] | None] = queue.SimpleQueue()
        self._pending: list[Event] = []
        self._slots = [_Slot(index, gpu) for index, gpu in enumerate(plan.gpus)]
        self._looked_at = self._weighed_at = self._clock.monotonic()
        self._closed = False
        self._kernel_kills = kernel_kills()
        self._guardian = self._start_guardian()
        for slot in self._slots:
            self._spawn(slot)

    @property
    def slots(self) -> int:
        """See `Launcher.slots`."""
        return len(self._slots)

    @property
    def num_threads(self) -> int:
        """See `Launcher.num_threads`."""
        return self._plan.num_threads

    @property
    def token(self) -> str:
        """What all processes of this launcher carry in their environment."""
        return self._token

    def pids(self) -> list[int]:
        """The workers' process ids."""
        return [slot.process.pid for slot in self._slots if slot.process is not None]

    def free_slots(self) -> int:
        """See `Launcher.free_slots`."""
        return sum(slot.assignment is None for slot in self._slots)

    def survey(self, config: Config) -> Survey:
        """See `Launcher.survey`."""
        slot = self._free_slot()
        self._send(slot, "survey", config)
        deadline = self._clock.monotonic() + SURVEY_TIMEOUT_SECONDS
        while not slot.answers:
            if self._clock.monotonic() > deadline:
                self._end(slot)
                raise PufferError(
                    "The environment could not be made in time.",
                    rule=f"It has {SURVEY_TIMEOUT_SECONDS:.0f} seconds.",
                )
            before = slot.generation
            self._take(1.0)
            if slot.generation != before and not slot.answers:
                raise PufferError(
                    "Making the environment has ended the worker process.",
                    remedy="Its last words: " + (self._last_words or "none."),
                )
        answer = slot.answers.pop()
        if isinstance(answer, PufferError):
            raise answer
        if self._replan is not None:
            plan, self._replan = self._replan(answer), None
            self._adopt(plan)
        survey: Survey = answer
        return survey

    def launch(self, assignment: Assignment) -> None:
        """See `Launcher.launch`."""
        slot = self._free_slot()
        slot.assignment = assignment
        slot.last = None
        slot.kill_reason = None
        slot.sign_at = self._clock.monotonic()
        self._send(slot, "run", assignment)

    def answer(self, uuid: str, verdict: Verdict) -> None:
        """See `Launcher.answer`."""
        slot = self._slot_of(uuid)
        if slot is not None:
            self._send(slot, "verdict", (uuid, verdict))

    def events(self, timeout_seconds: float) -> list[Event]:
        """See `Launcher.events`."""
        if not self._pending:
            self._take(timeout_seconds)
        self._weigh()
        events, self._pending = self._pending, []
        return events

    def silent_seconds(self, uuid: str) -> float:
        """See `Launcher.silent_seconds`."""
        slot = self._slot_of(uuid)
        return 0.0 if slot is None else self._clock.monotonic() - slot.sign_at

    def kill(self, uuid: str, kind: FailureKind, message: str) -> None:
        """See `Launcher.kill`."""
        slot = self._slot_of(uuid)
        if slot is None:
            return
        slot.kill_reason = (kind, message)
        self._end(slot)

    def wake(self) -> None:
        """See `Launcher.wake`."""
        self._inbox.put(None)

    def close(self) -> None:
        """See `Launcher.close`."""
        if self._closed:
            return
        self._closed = True
        for slot in self._slots:
            if slot.assignment is None and slot.connection is not None:
                with contextlib.suppress(OSError):
                    slot.connection.send(("exit", None))
            elif slot.process is not None:
                kill_tree(slot.process.pid, self._token_of(slot))
        for slot in self._slots:
            self._reap(slot)
        if self._guardian.stdin is not None:
            self._guardian.stdin.close()
        self._guardian.wait()

    # --- processes -----------------------------------------------------------------------------------------------

    def _token_of(self, slot: _Slot) -> str:
        return f"{self._token}/{slot.index}"

    def _start_guardian(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "sweeper.launchers.guardian", self._token],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": _python_path()},
            start_new_session=True,
        )

    def _spawn(self, slot: _Slot) -> None:
        ours, theirs = multiprocessing.Pipe()
        slot.output = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker
        slot.generation += 1
        slot.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", self._worker_module, str(os.getpid()), str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=slot.output,
            stderr=slot.output,
            env=worker_environment(self._plan.num_threads, slot.gpu, self._token_of(slot)),
            pass_fds=(theirs.fileno(),),
            process_group=0,
        )
        theirs.close()
        slot.connection = ours
        slot.sign_at = self._clock.monotonic()
        threading.Thread(
            target=self._listen, args=(slot, ours, slot.generation), name=f"slot-{slot.index}", daemon=True
        ).start()

    def _listen(self, slot: _Slot, connection: Connection, generation: int) -> None:
        # A worker stopped or killed in the middle of a message must not hold up the loop: a thread waits for it.
        while True:
            try:
                kind, content = connection.recv()
            except (EOFError, OSError):
                self._inbox.put((slot, generation, "gone", None))
                return
            except Exception as error:  # noqa: BLE001 - bytes that are no message: the worker is past trusting
                self._inbox.put((slot, generation, "gone", f"{type(error).__name__}: {error}"))
                return
            self._inbox.put((slot, generation, kind, content))

    def _free_slot(self) -> _Slot:
        free = [slot for slot in self._slots if slot.assignment is None]
        if not free:
            raise RuntimeError("no slot is free")
        slot = next((slot for slot in free if slot.process is not None), free[0])
        if slot.process is None:
            self._spawn(slot)
        return slot

    def _send(self, slot: _Slot, kind: str, content: Any) -> None:
        if slot.connection is None:
            return
        # A worker that has just died is told of by its listener.
        with contextlib.suppress(OSError):
            slot.connection.send((kind, content))

    def _adopt(self, plan: SlotPlan) -> None:
        """Another number of slots or threads, while nothing runs: workers are started with their threads."""
        if plan.num_threads != self._plan.num_threads or plan.gpus[:1] != self._plan.gpus[:1]:
            for slot in self._slots:
                self._end(slot)
                self._reap(slot)
            self._slots = []
        self._plan = plan
        for slot in self._slots[plan.num_slots :]:
            self._end(slot)
            self._reap(slot)
        known = self._slots[: plan.num_slots]
        self._slots = known + [_Slot(index, plan.gpus[index]) for index in range(len(known), plan.num_slots)]
        for slot in self._slots:
            if slot.process is None:
                self._spawn(slot)

    def _end(self, slot: _Slot) -> None:
        """Kill a worker; its listener tells when it is gone."""
        if slot.process is not None:
            kill_tree(slot.process.pid, self._token_of(slot))

    def _reap(self, slot: _Slot) -> None:
        process = slot.process
        if process is None:
            return
        try:
            process.wait(_EXIT_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._end(slot)
            process.wait()
        # Its group may outlive it.
        kill_tree(process.pid, self._token_of(slot))
        self._last_words = _read_output(slot.output)
        if slot.connection is not None:
            slot.connection.close()
        if slot.output is not None:
            slot.output.close()
        slot.process = slot.connection = slot.output = None

    # --- messages ------------------------------------------------------------------------------------------------

    def _take(self, timeout_seconds: float) -> None:
        """Take in what has arrived; wait only for the first message."""
        block = True
        while True:
            try:
                message = self._inbox.get(block, timeout_seconds) if block else self._inbox.get_nowait()
            except queue.Empty:
                break
            block = False
            if message is not None:
                self._handle(*message)
        now = self._clock.monotonic()
        gap = now - self._looked_at - timeout_seconds
        self._looked_at = now
        if gap > LONGEST_GAP_SECONDS:
            for slot in self._slots:
                slot.sign_at = min(now, slot.sign_at + gap)

    def _handle(self, slot: _Slot, generation: int, kind: str, content: Any) -> None:
        if generation != slot.generation or slot.process is None:
            return
        slot.sign_at = self._clock.monotonic()
        if kind == "gone":
            self._bury(slot, content)
        elif kind == "survey":
            slot.answers.append(content)
        elif kind == "events":
            for event in content:
                self._note(slot, event)

    def _note(self, slot: _Slot, event: Event) -> None:
        if slot.assignment is None or event.uuid != slot.assignment.uuid or slot.kill_reason is not None:
            return
        if isinstance(event, Reported):
            slot.last = event
        elif isinstance(event, Finished):
            slot.assignment = None
        self._pending.append(event)

    def _bury(self, slot: _Slot, what: str | None) -> None:
        """A worker has ended: say so for its trial, and start another."""
        process = slot.process
        if process is None:
            return
        if process.poll() is None:
            # The line is cut and the process is still there: it may be dying, or past answering.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.5)
        status = process.poll()
        self._end(slot)
        self._reap(slot)
        assignment, slot.assignment = slot.assignment, None
        if assignment is not None:
            kind, message = slot.kill_reason or self._verdict_on_death(status, what)
            self._pending.append(self._obituary(assignment, slot.last, kind, message))
        slot.kill_reason = None
        slot.generation += 1
        if not self._closed and assignment is not None:
            self._spawn(slot)

    def _verdict_on_death(self, status: int | None, what: str | None) -> tuple[FailureKind, str]:
        if what is not None:
            return FailureKind.WORKER_LOST, f"The worker has sent something that cannot be read ({what})."
        if status is None or status >= 0:
            return FailureKind.WORKER_LOST, f"The worker process has ended by itself (exit status {status})."
        name = signal.Signals(-status).name if -status in signal.valid_signals() else f"signal {-status}"
        kernel_kills_before, self._kernel_kills = self._kernel_kills, kernel_kills()
        if name == "SIGKILL" and self._kernel_kills > kernel_kills_before:
            return FailureKind.OUT_OF_MEMORY, "The kernel ended the worker process because memory ran out."
        return FailureKind.WORKER_LOST, f"The worker process was ended by {name}."

    def _obituary(
        self, assignment: Assignment, last: Reported | None, kind: FailureKind, message: str
    ) -> Finished:
        return Finished(
            uuid=assignment.uuid,
            ending=Ending.FAILED,
            score=None,
            agent_steps=last.agent_steps if last else 0,
            cost_seconds=last.cost_seconds if last else 0.0,
            checkpoint=newest_checkpoint(assignment.folder),
            failure_kind=kind,
            failure_message=message,
            log_tail=log_tail(assignment.folder) or self._last_words,
        )

    def _slot_of(self, uuid: str) -> _Slot | None:
        found = (s for s in self._slots if s.assignment is not None and s.assignment.uuid == uuid)
        return next(found, None)

    def _weigh(self) -> None:
        limit = self._memory_limit_bytes
        now = self._clock.monotonic()
        if limit is None or now - self._weighed_at < MEMORY_CHECK_SECONDS:
            return
        self._weighed_at = now
        for slot in self._slots:
            if slot.assignment is None or slot.process is None or slot.kill_reason is not None:
                continue
            used = tree_bytes(slot.process.pid)
            if used > limit:
                message = (
                    f"The trial used {used / 2**30:.1f} GiB of memory; the limit is {limit / 2**30:.1f} GiB."
                )
                self.kill(slot.assignment.uuid, FailureKind.OUT_OF_MEMORY, message)

    _last_words = ""


def worker_environment(num_threads: int, gpu: int | None, token: str) -> dict[str, str]:
    """The environment of a worker: everything that must be settled before torch is imported.

    Threads of a forward pass that spin afterwards would steal cores from environment threads and from other trials;
    a GPU is named here, before CUDA starts, so that each worker sees its own as cuda:0.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": _python_path(),
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": str(num_threads),
        "MKL_NUM_THREADS": str(num_threads),
        "OPENBLAS_NUM_THREADS": str(num_threads),
        TOKEN_VARIABLE: token,
    }
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = device_name(gpu)
        environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    return environment


def _python_path() -> str:
    """The parent's own search path, so that whatever it can import its workers can."""
    return os.pathsep.join(dict.fromkeys(entry or os.getcwd() for entry in sys.path))  # noqa: PTH109


def _read_output(output: IO[bytes] | None, num_bytes: int = 4000) -> str:
    if output is None:
        return ""
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - num_bytes))
    return output.read().decode("utf-8", errors="replace").strip()
