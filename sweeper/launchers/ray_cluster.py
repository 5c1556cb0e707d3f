"""Trials as Ray actors: one actor a slot, warm between trials, anywhere in a cluster.

Only this process touches the study. It asks each busy actor for news with a call that waits a moment; an actor or a
node that is lost answers that call with an error, and the trial is tried again elsewhere, from its checkpoint. Where
nodes do not share this machine's folders, the newest checkpoint travels with the news.
"""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sweeper.clock import Clock, SystemClock
from sweeper.errors import SweepError
from sweeper.folder import CURVE_FILE
from sweeper.launchers.obituary import obituary
from sweeper.launchers.ray_host import MARK_FILE, News, TrialHost
from sweeper.launchers.worker_environment import python_path, thread_variables
from sweeper.records import Assignment, Event, Finished, Reported, Verdict
from trainer.errors import FailureKind, MissingExtraError, Place, PufferError

if TYPE_CHECKING:
    from pathlib import Path

    from sweeper.trial import Survey
    from trainer.config import Config

REAL_SERVANT = "sweeper.trial:Runner"
NEWS_WAIT_SECONDS = 1.0
SURVEY_TIMEOUT_SECONDS = 600.0
CAPACITY_INTERVAL_SECONDS = 5.0

_THREADS_PER_ACTOR = 8


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
        SweepError: no cluster answers at the address.
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
            _connect(ray, address)
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
            address=config.sweep.ray_address,
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
            self._pending.append(_last_word(actor, kind, message))

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
        variables = {**thread_variables(self._cpus), "PYTHONPATH": python_path()}
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
            self._pending.append(_last_word(actor, FailureKind.WORKER_LOST, message))
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
                self._put_aside(actor)
                return
        actor.news = actor.handle.news.remote(assignment.uuid, NEWS_WAIT_SECONDS)

    def _put_aside(self, actor: _Actor) -> None:
        """Keep an actor warm, unless others wait for the room that it takes: those of a node that has been lost."""
        actor.assignment = None
        if any(other.beats < 0 for other in self._busy.values()):
            self._drop(actor)
        else:
            self._idle.append(actor)

    def _drop(self, actor: _Actor) -> None:
        self._ray.kill(actor.handle, no_restart=True)


def _connect(ray: Any, address: str | None) -> None:
    # Ray takes a dashboard's settings only where it starts a cluster itself.
    options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.ERROR}
    if address is None and "RAY_ADDRESS" not in os.environ:
        options["include_dashboard"] = False
    try:
        ray.init(**options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise SweepError(
            "No Ray cluster answers.",
            place=Place(section="sweep", key="ray_address"),
            value=address or os.environ.get("RAY_ADDRESS"),
            rule=" ".join(str(error).split())[:300],
            remedy="Start one with `ray start --head` and name it as HOST:6379, or leave the address out. One that "
            "wants a token (Ray 2.59 and later) takes the RAY_AUTH_TOKEN that it was started with.",
        ) from error


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


def _last_word(actor: _Actor, kind: FailureKind, message: str) -> Finished:
    if actor.assignment is None:
        raise RuntimeError("an idle actor has no trial to tell of")
    return obituary(actor.assignment, actor.last, kind, message)
