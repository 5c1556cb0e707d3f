"""Trials as Ray actors: one actor a slot, warm between trials, anywhere in a cluster.

Only this process touches the study. It asks each busy actor for news with a call that waits a moment; an actor or a
node that is lost answers that call with an error, and the trial is tried again elsewhere, from its checkpoint. Where
nodes do not share this machine's folders, the newest checkpoint travels with the news.
"""

from __future__ import annotations

import importlib
import logging
import os
import queue
import sys
import tempfile
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sweeper.clock import Clock, SystemClock
from sweeper.folder import CURVE_FILE, LOG_FILE, log_tail, newest_checkpoint
from sweeper.launchers.worker import output_to
from sweeper.records import Assignment, Ending, Event, Finished, Reported, Verdict
from trainer.errors import FailureKind, MissingExtraError, PufferError

if TYPE_CHECKING:
    from sweeper.launchers.worker import Servant
    from sweeper.trial import Survey
    from trainer.config import Config

REAL_SERVANT = "sweeper.trial:Runner"
MARK_FILE = ".launched"
NEWS_WAIT_SECONDS = 1.0
SURVEY_TIMEOUT_SECONDS = 600.0
CAPACITY_INTERVAL_SECONDS = 5.0

_THREADS_PER_ACTOR = 8


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


class TrialHost:
    """Lives in the actor's process: runs one trial at a time in one thread, talks in others."""

    def __init__(self, servant: str) -> None:
        module, _, name = servant.partition(":")
        self._servant: Servant = getattr(importlib.import_module(module), name)()
        self._servant.warm_up()
        self._changed = threading.Condition()
        self._events: list[Event] = []
        self._verdicts: queue.SimpleQueue[tuple[str, Verdict]] = queue.SimpleQueue()
        self._uuid = ""
        self._beats = 0
        self._own_folder: Path | None = None
        self._last_files: dict[str, bytes] = {}
        self._sent: dict[str, int] = {}

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
            self._uuid, self._events, self._sent = assignment.uuid, [], {}
        shared = _read(assignment.folder / MARK_FILE) == mark
        self._own_folder = None
        with tempfile.TemporaryDirectory(prefix="puffer-sweep-") as temporary:
            local = assignment
            if not shared:
                self._own_folder = Path(temporary)
                local = _localised(assignment, Path(temporary), files)
            with output_to(local):
                finished = self._servant.run(local, self)
            self._last_files = self._new_files()
            self._own_folder = None
            self.send(_with_checkpoint_of(finished, assignment))

    def news(self, uuid: str, wait_seconds: float) -> News:
        """What has happened since the last call, waiting a moment for something to happen."""
        with self._changed:
            if not self._events:
                self._changed.wait(wait_seconds)
            if uuid != self._uuid:
                return News([], self._beats)
            events, self._events = self._events, []
            ended = any(isinstance(event, Finished) for event in events)
        files = self._last_files if ended else self._new_files()
        return News(events, self._beats, files)

    def tell(self, uuid: str, verdict: Verdict) -> None:
        """Hand a verdict to the running trial."""
        self._verdicts.put((uuid, verdict))

    def send(self, event: Event) -> None:
        """See `Channel.send`."""
        with self._changed:
            self._beats += 1
            self._events.append(event)
            if not isinstance(event, Reported) or event.wants_verdict:
                self._changed.notify_all()

    def verdict(self, *, wait: bool) -> Verdict | None:
        """See `Channel.verdict`."""
        while True:
            try:
                uuid, verdict = self._verdicts.get(block=wait)
            except queue.Empty:
                return None
            self._beats += 1
            if uuid == self._uuid:
                return verdict

    def beat(self) -> None:
        """See `Channel.beat`."""
        self._beats += 1

    def _new_files(self) -> dict[str, bytes]:
        """Newest checkpoint, curve and log, as far as they have changed since they were last sent."""
        folder = self._own_folder
        if folder is None:
            return {}
        checkpoint = newest_checkpoint(folder)
        names = [] if checkpoint is None else [str(checkpoint.relative_to(folder))]
        found: dict[str, bytes] = {}
        # The curve is sent once a checkpoint goes with it: without one the trial would begin anew.
        if checkpoint is not None and self._sent.get(names[0]) != checkpoint.stat().st_mtime_ns:
            self._sent[names[0]] = checkpoint.stat().st_mtime_ns
            for name in (*names, CURVE_FILE, LOG_FILE):
                if (folder / name).exists():
                    found[name] = (folder / name).read_bytes()
        return found


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


@dataclass(slots=True)
class _Actor:
    """A handle on an actor and what it is doing."""

    handle: Any
    assignment: Assignment | None = None
    news: Any = None
    last: Reported | None = None
    beats: int = -1
    sign_at: float = 0.0


class RayLauncher:
    """Runs trials on a Ray cluster.

    Args:
        cpus: cores per trial.
        gpus: GPUs per trial, which may be a fraction.
        num_slots: trials side by side at most; None for what the cluster can hold.
        address: of the cluster; None for RAY_ADDRESS, or a cluster of this machine alone.
        shared_folders: False sends checkpoints through Ray even where folders are shared.
        servant: what runs trials, as `module:Class`.
        clock: for silence.

    Raises:
        MissingExtraError: Ray is not installed.
    """

    token = "ray"  # noqa: S105 - a mark, not a secret

    def __init__(
        self,
        *,
        cpus: int = 1,
        gpus: float = 0.0,
        num_slots: int | None = None,
        address: str | None = None,
        shared_folders: bool = True,
        servant: str = REAL_SERVANT,
        clock: Clock | None = None,
    ) -> None:
        try:
            import ray
        except ImportError as error:
            raise MissingExtraError("ray", extra="ray", purpose="Sweeps on a Ray cluster") from error
        self._ray: Any = ray
        self._owns_ray = not ray.is_initialized()
        if self._owns_ray:
            ray.init(
                address=address, log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR
            )
        self._cpus, self._gpus, self._most = cpus, gpus, num_slots
        self._shared_folders = shared_folders
        self._servant = servant
        self._clock = clock or SystemClock()
        self._idle: list[_Actor] = []
        self._busy: dict[str, _Actor] = {}
        self._pending: list[Event] = []
        self._capacity = 1
        self._measured_at = -CAPACITY_INTERVAL_SECONDS
        self._closed = False

    @classmethod
    def from_config(cls, config: Config, *, clock: Clock | None = None) -> RayLauncher:
        """A launcher with the resources that a config asks for per trial."""
        threads = config.train.num_threads
        on_cpu = config.train.device == "cpu"
        per_gpu = config.sweep.trials_per_gpu
        workers = config.sweep.workers
        launcher = cls(
            cpus=1 if threads == "auto" else int(threads),
            num_slots=None if workers == "auto" else int(workers),
            clock=clock,
        )
        if not on_cpu and launcher.has_gpus():
            launcher._gpus = 1.0 / (1 if per_gpu == "auto" else int(per_gpu))
        return launcher

    def has_gpus(self) -> bool:
        """Whether any node has a GPU."""
        resources: dict[str, float] = self._ray.cluster_resources()
        return resources.get("GPU", 0.0) > 0.0

    @property
    def slots(self) -> int:
        """See `Launcher.slots`: what the living nodes can hold."""
        now = self._clock.monotonic()
        if now - self._measured_at >= CAPACITY_INTERVAL_SECONDS:
            self._measured_at = now
            self._capacity = self._measure()
        return self._capacity

    @property
    def num_threads(self) -> int:
        """See `Launcher.num_threads`."""
        return self._cpus

    def free_slots(self) -> int:
        """See `Launcher.free_slots`."""
        return max(0, self.slots - len(self._busy))

    def survey(self, config: Config) -> Survey:
        """See `Launcher.survey`."""
        actor = self._idle.pop() if self._idle else self._make_actor()
        try:
            answer = self._ray.get(actor.handle.survey.remote(config), timeout=SURVEY_TIMEOUT_SECONDS)
        except self._ray.exceptions.RayError as error:
            self._drop(actor)
            raise PufferError(
                "No actor of the Ray cluster could make the environment.",
                rule=" ".join(str(error).split())[:500],
                remedy="See that puffer-sweep and the environment are installed on every node.",
            ) from error
        self._idle.append(actor)
        if isinstance(answer, PufferError):
            raise answer
        survey: Survey = answer
        return survey

    def launch(self, assignment: Assignment) -> None:
        """See `Launcher.launch`."""
        if self.free_slots() <= 0:
            raise RuntimeError("no slot is free")
        actor = self._idle.pop() if self._idle else self._make_actor()
        actor.assignment, actor.last, actor.beats = assignment, None, -1
        actor.sign_at = self._clock.monotonic()
        mark = str(uuid4())
        if self._shared_folders:
            assignment.folder.mkdir(parents=True, exist_ok=True)
            (assignment.folder / MARK_FILE).write_text(mark, encoding="ascii")
        actor.handle.run.remote(assignment, _files_to_send(assignment), mark)
        actor.news = actor.handle.news.remote(assignment.uuid, NEWS_WAIT_SECONDS)
        self._busy[assignment.uuid] = actor

    def answer(self, uuid: str, verdict: Verdict) -> None:
        """See `Launcher.answer`."""
        actor = self._busy.get(uuid)
        if actor is not None:
            actor.handle.tell.remote(uuid, verdict)

    def events(self, timeout_seconds: float) -> list[Event]:
        """See `Launcher.events`."""
        waiting = {actor.news: actor for actor in self._busy.values()}
        if waiting and not self._pending:
            ready, _ = self._ray.wait(list(waiting), num_returns=1, timeout=timeout_seconds)
            if ready:
                ready, _ = self._ray.wait(list(waiting), num_returns=len(waiting), timeout=0)
            for reference in ready:
                self._take(waiting[reference])
        elif not self._pending:
            threading.Event().wait(timeout_seconds)
        events, self._pending = self._pending, []
        return events

    def silent_seconds(self, uuid: str) -> float:
        """See `Launcher.silent_seconds`."""
        actor = self._busy.get(uuid)
        return 0.0 if actor is None else self._clock.monotonic() - actor.sign_at

    def kill(self, uuid: str, kind: FailureKind, message: str) -> None:
        """See `Launcher.kill`."""
        actor = self._busy.pop(uuid, None)
        if actor is not None:
            self._drop(actor)
            self._pending.append(_obituary(actor, kind, message))

    def wake(self) -> None:
        """See `Launcher.wake`: `events` never waits long."""

    def close(self) -> None:
        """See `Launcher.close`; a Ray that was there before stays."""
        if self._closed:
            return
        self._closed = True
        for actor in (*self._idle, *self._busy.values()):
            self._drop(actor)
        self._idle, self._busy = [], {}
        if self._owns_ray:
            self._ray.shutdown()

    def _measure(self) -> int:
        """Trials that fit on the nodes that are alive, node by node: an actor cannot be split between two."""
        fitting = 0
        for node in self._ray.nodes():
            if not node["Alive"]:
                continue
            resources = node["Resources"]
            count = int(resources.get("CPU", 0.0) // self._cpus)
            if self._gpus > 0:
                count = min(count, int(resources.get("GPU", 0.0) / self._gpus + 1e-9))
            fitting += count
        return fitting if self._most is None else min(fitting, self._most)

    def _make_actor(self) -> _Actor:
        threads = str(self._cpus)
        variables = {
            "OMP_WAIT_POLICY": "PASSIVE",
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        }
        made = self._ray.remote(TrialHost).options(
            num_cpus=self._cpus,
            num_gpus=self._gpus,
            max_concurrency=_THREADS_PER_ACTOR,
            max_restarts=0,
            runtime_env={"env_vars": variables},
        )
        return _Actor(made.remote(self._servant))

    def _take(self, actor: _Actor) -> None:
        assignment = actor.assignment
        if assignment is None:
            return
        try:
            news: News = self._ray.get(actor.news)
        except self._ray.exceptions.RayError as error:
            self._busy.pop(assignment.uuid, None)
            self._drop(actor)
            self._measured_at = -CAPACITY_INTERVAL_SECONDS
            what = " ".join(str(error).split())[:300]
            message = f"The Ray actor of the trial, or its node, is lost: {what}"
            self._pending.append(_obituary(actor, FailureKind.WORKER_LOST, message))
            return
        if news.beats != actor.beats:
            actor.beats, actor.sign_at = news.beats, self._clock.monotonic()
        _store_files(assignment.folder, news.files)
        for event in news.events:
            self._pending.append(event)
            if isinstance(event, Reported):
                actor.last = event
            elif isinstance(event, Finished):
                self._busy.pop(assignment.uuid, None)
                actor.assignment = None
                self._idle.append(actor)
                return
        actor.news = actor.handle.news.remote(assignment.uuid, NEWS_WAIT_SECONDS)

    def _drop(self, actor: _Actor) -> None:
        self._ray.kill(actor.handle, no_restart=True)


def _files_to_send(assignment: Assignment) -> dict[str, bytes]:
    """What a node without our folders needs."""
    files: dict[str, bytes] = {}
    names = [CURVE_FILE]
    if assignment.resume_from is not None:
        names.append(str(assignment.resume_from.relative_to(assignment.folder)))
    for name in names:
        path = assignment.folder / name
        if path.exists():
            files[name] = path.read_bytes()
    return files


def _store_files(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        partial.write_bytes(content)
        partial.replace(path)
        if path.parent.name == "checkpoints":
            for old in sorted(path.parent.glob("epoch-*.pt"))[:-1]:
                old.unlink(missing_ok=True)


def _obituary(actor: _Actor, kind: FailureKind, message: str) -> Finished:
    assignment, last = actor.assignment, actor.last
    if assignment is None:
        raise RuntimeError("an idle actor has no trial to tell of")
    return Finished(
        uuid=assignment.uuid,
        ending=Ending.FAILED,
        score=None,
        agent_steps=last.agent_steps if last else 0,
        cost_seconds=last.cost_seconds if last else 0.0,
        checkpoint=newest_checkpoint(assignment.folder),
        failure_kind=kind,
        failure_message=message,
        log_tail=log_tail(assignment.folder),
    )
