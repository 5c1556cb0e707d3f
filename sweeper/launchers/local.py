"""Warm worker processes on this machine, one per slot, each in a process group of its own."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sweeper.clock import Clock, SystemClock
from sweeper.launchers.obituary import obituary
from sweeper.launchers.process_tree import kernel_kills, tree_bytes
from sweeper.launchers.worker_environment import python_path, worker_environment
from sweeper.launchers.worker_process import GONE, WorkerProcess
from sweeper.records import Assignment, Event, Finished, Reported, Verdict
from trainer.errors import HANG_EXIT_STATUS, FailureKind, PufferError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sweeper.launchers.cores import SlotPlan
    from sweeper.launchers.sharing import Sharing
    from sweeper.trial import Survey
    from trainer.config import Config

SURVEY_TIMEOUT_SECONDS = 600.0
SURVEY_ATTEMPTS = 3
"""So many workers may be killed while they make the environment: a kill from outside says nothing about it."""

MEMORY_CHECK_SECONDS = 0.5
LONGEST_GAP_SECONDS = 5.0
"""A longer gap between two looks means that this process itself stood still: nobody else is blamed for it."""

_DEATH_PATIENCE_SECONDS = 0.5


@dataclass(slots=True)
class _Slot:
    """A worker and what it is doing; `used` once it has been given anything to do."""

    index: int
    gpu: int | None
    worker: WorkerProcess | None = None
    assignment: Assignment | None = None
    last: Reported | None = None
    sign_at: float = 0.0
    kill_reason: tuple[FailureKind, str] | None = None
    used: bool = False
    answers: list[Any] = field(default_factory=list)


class LocalLauncher:
    """Runs trials in spawned processes that stay warm between trials.

    Args:
        plan: slots and threads; `replan` may change it after the first survey, before anything runs.
        token: marks all processes of this sweep: the study's, so that a later sweep finds what is left of this one.
        clock: for silence.
        memory_limit_bytes: of a worker with its descendants; None for no limit.
        replan: slots from what the first survey has found.
        sharing: finds out how many trials a GPU can hold, and adds slots; None where the config says how many.
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
        sharing: Sharing | None = None,
        worker_module: str = "sweeper.launchers.worker",
    ) -> None:
        self._plan = plan
        self._replan = replan
        self._sharing = sharing
        self._worker_module = worker_module
        self._token = f"{token or 'trial'}:{uuid4()}"
        self._clock = clock or SystemClock()
        self._memory_limit_bytes = memory_limit_bytes
        self._inbox: queue.SimpleQueue[tuple[_Slot, WorkerProcess, str, Any] | None] = queue.SimpleQueue()
        self._pending: list[Event] = []
        self._slots = [_Slot(index, gpu) for index, gpu in enumerate(plan.gpus)]
        self._looked_at = self._weighed_at = self._clock.monotonic()
        self._closed = False
        self._kernel_kills = kernel_kills()
        self._last_words = ""
        self._last_status: int | None = None
        self._guardian = _start_guardian(self._token)
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
        return [slot.worker.pid for slot in self._slots if slot.worker is not None]

    def free_slots(self) -> int:
        """See `Launcher.free_slots`."""
        return sum(slot.assignment is None for slot in self._slots)

    def survey(self, config: Config) -> Survey:
        """See `Launcher.survey`."""
        answer = self._survey_once(config)
        attempts = 1
        while answer is None and self._last_status == -signal.SIGKILL and attempts < SURVEY_ATTEMPTS:
            answer = self._survey_once(config)
            attempts += 1
        if answer is None:
            raise PufferError(
                "Making the environment has ended the worker process.",
                remedy="Its last words: " + (self._last_words or "none."),
            )
        if isinstance(answer, PufferError):
            raise answer
        if self._replan is not None:
            plan, self._replan = self._replan(answer), None
            self._adopt(plan)
        return answer

    def launch(self, assignment: Assignment) -> None:
        """See `Launcher.launch`."""
        slot, worker = self._free_slot()
        slot.assignment = assignment
        slot.last = None
        slot.kill_reason = None
        slot.sign_at = self._clock.monotonic()
        worker.send("run", assignment)

    def answer(self, uuid: str, verdict: Verdict) -> None:
        """See `Launcher.answer`."""
        slot = self._slot_of(uuid)
        if slot is not None and slot.worker is not None:
            slot.worker.send("verdict", (uuid, verdict))

    def events(self, timeout_seconds: float) -> list[Event]:
        """See `Launcher.events`."""
        if not self._pending:
            self._take(timeout_seconds)
        self._weigh()
        self._share()
        events, self._pending = self._pending, []
        return events

    def silent_seconds(self, uuid: str) -> float:
        """See `Launcher.silent_seconds`."""
        slot = self._slot_of(uuid)
        return 0.0 if slot is None else self._clock.monotonic() - slot.sign_at

    def kill(self, uuid: str, kind: FailureKind, message: str) -> None:
        """See `Launcher.kill`."""
        slot = self._slot_of(uuid)
        if slot is not None and slot.worker is not None:
            slot.kill_reason = (kind, message)
            slot.worker.kill()

    def wake(self) -> None:
        """See `Launcher.wake`."""
        self._inbox.put(None)

    def close(self) -> None:
        """See `Launcher.close`."""
        if self._closed:
            return
        self._closed = True
        for slot in self._slots:
            if slot.worker is None:
                continue
            # One that has done nothing yet keeps nothing open, and may still be on its way.
            if slot.assignment is None and slot.used:
                slot.worker.send("exit")
            else:
                slot.worker.kill()
        for slot in self._slots:
            self._reap(slot)
        if self._guardian.stdin is not None:
            self._guardian.stdin.close()
        self._guardian.wait()

    # --- workers -------------------------------------------------------------------------------------------------

    def _spawn(self, slot: _Slot) -> WorkerProcess:
        token = f"{self._token}/{slot.index}"
        trials_on_gpu = self._plan.gpus.count(slot.gpu)
        environment = worker_environment(self._plan.num_threads, slot.gpu, token, trials_on_gpu)

        def hear(worker: WorkerProcess, kind: str, content: Any) -> None:
            self._inbox.put((slot, worker, kind, content))

        slot.sign_at = self._clock.monotonic()
        slot.used = False
        slot.worker = WorkerProcess(self._worker_module, environment, token, hear)
        return slot.worker

    def _free_slot(self) -> tuple[_Slot, WorkerProcess]:
        free = [slot for slot in self._slots if slot.assignment is None]
        if not free:
            raise RuntimeError("no slot is free")
        slot = next((slot for slot in free if slot.worker is not None), free[0])
        worker = slot.worker or self._spawn(slot)
        slot.used = True
        return slot, worker

    def _survey_once(self, config: Config) -> Survey | PufferError | None:
        """What a worker finds; None if it ends over it."""
        slot, worker = self._free_slot()
        worker.send("survey", config)
        deadline = self._clock.monotonic() + SURVEY_TIMEOUT_SECONDS
        while not slot.answers:
            if self._clock.monotonic() > deadline:
                worker.kill()
                raise PufferError(
                    "The environment could not be made in time.",
                    rule=f"It has {SURVEY_TIMEOUT_SECONDS:.0f} seconds.",
                )
            self._take(1.0)
            if slot.worker is not worker and not slot.answers:
                return None
        answer: Survey | PufferError = slot.answers.pop()
        return answer

    def _adopt(self, plan: SlotPlan) -> None:
        """Another number of slots or threads, while nothing runs: workers are started with their threads."""
        if plan.num_threads != self._plan.num_threads or plan.gpus[:1] != self._plan.gpus[:1]:
            for slot in self._slots:
                self._end(slot)
            self._slots = []
        for slot in self._slots[plan.num_slots :]:
            self._end(slot)
        self._slots = self._slots[: plan.num_slots]
        self._extend(plan)

    def _extend(self, plan: SlotPlan) -> None:
        """More slots, whatever runs."""
        self._plan = plan
        known = len(self._slots)
        self._slots += [_Slot(index, plan.gpus[index]) for index in range(known, plan.num_slots)]
        for slot in self._slots:
            if slot.worker is None:
                self._spawn(slot)

    def _end(self, slot: _Slot) -> None:
        if slot.worker is not None:
            slot.worker.kill()
            self._reap(slot)

    def _reap(self, slot: _Slot) -> None:
        if slot.worker is not None:
            self._last_words = slot.worker.reap()
            slot.worker = None

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

    def _handle(self, slot: _Slot, worker: WorkerProcess, kind: str, content: Any) -> None:
        if slot.worker is not worker:
            return
        slot.sign_at = self._clock.monotonic()
        if kind == GONE:
            self._bury(slot, worker, content)
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

    def _bury(self, slot: _Slot, worker: WorkerProcess, what: str | None) -> None:
        """A worker has ended: say so for its trial, and start another."""
        # The line is cut and the process may still be there: dying, or past answering.
        status = self._last_status = worker.status(_DEATH_PATIENCE_SECONDS)
        worker.kill()
        self._reap(slot)
        assignment, slot.assignment = slot.assignment, None
        reason, slot.kill_reason = slot.kill_reason, None
        if assignment is None:
            return
        kind, message = reason or self._verdict_on_death(status, what)
        self._pending.append(obituary(assignment, slot.last, kind, message, self._last_words))
        if not self._closed:
            self._spawn(slot)

    def _verdict_on_death(self, status: int | None, what: str | None) -> tuple[FailureKind, str]:
        if what is not None:
            return FailureKind.WORKER_LOST, f"The worker has sent something that cannot be read ({what})."
        if status == HANG_EXIT_STATUS:
            return (
                FailureKind.ENVIRONMENT,
                "An environment hangs in native code; the log's end says which and where.",
            )
        if status is None or status >= 0:
            return FailureKind.WORKER_LOST, f"The worker process has ended by itself (exit status {status})."
        name = signal.Signals(-status).name if -status in signal.valid_signals() else f"signal {-status}"
        kernel_kills_before, self._kernel_kills = self._kernel_kills, kernel_kills()
        if name == "SIGKILL" and self._kernel_kills > kernel_kills_before:
            return FailureKind.OUT_OF_MEMORY, "The kernel ended the worker process because memory ran out."
        return FailureKind.WORKER_LOST, f"The worker process was ended by {name}."

    def _slot_of(self, uuid: str) -> _Slot | None:
        found = (s for s in self._slots if s.assignment is not None and s.assignment.uuid == uuid)
        return next(found, None)

    # --- memory --------------------------------------------------------------------------------------------------

    def _weigh(self) -> None:
        limit = self._memory_limit_bytes
        now = self._clock.monotonic()
        if limit is None or now - self._weighed_at < MEMORY_CHECK_SECONDS:
            return
        self._weighed_at = now
        for slot in self._slots:
            if slot.assignment is None or slot.worker is None or slot.kill_reason is not None:
                continue
            used = tree_bytes(slot.worker.pid)
            if used > limit:
                message = (
                    f"The trial used {used / 2**30:.1f} GiB of memory; the limit is {limit / 2**30:.1f} GiB."
                )
                self.kill(slot.assignment.uuid, FailureKind.OUT_OF_MEMORY, message)

    def _share(self) -> None:
        if self._sharing is None:
            return
        plan = self._sharing.look(self._pending)
        if plan is not None:
            self._sharing = None
            self._extend(plan)


def _start_guardian(token: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", "sweeper.launchers.guardian", token],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": python_path()},
        start_new_session=True,
    )
