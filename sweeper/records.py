"""The frozen records that pass between the rooms of the sweeper."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trainer.config import Config
    from trainer.errors import FailureKind

Value = bool | int | float | str
"""A parameter's value in natural units, as it stands in the INI and in the study."""


class Verdict(Enum):
    """All that a scheduler says about a running trial."""

    CONTINUE = "continue"
    PAUSE = "pause"
    STOP = "stop"


class TrialState(StrEnum):
    """Where a trial stands, in words people use. PAUSED is WAITING in Optuna with `phase = paused`."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    INFEASIBLE = "infeasible"


@dataclass(frozen=True, slots=True)
class Observation:
    """One point of a trial's learning curve.

    Attributes:
        agent_steps: strictly increasing within a trial.
        cost_seconds: training time so far.
        score: the metric; finite.
    """

    agent_steps: int
    cost_seconds: float
    score: float


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One epoch of a trial, whole.

    Attributes:
        agent_steps: strictly increasing within a trial.
        cost_seconds: training time so far.
        score: the metric, None where no episode ended in the epoch.
        metrics: every scalar of the epoch by its slash-separated name.
    """

    agent_steps: int
    cost_seconds: float
    score: float | None
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial as the loop, the samplers and the reports see it: a snapshot, never a handle.

    Attributes:
        number: Optuna's, from 0, stable.
        uuid: ours; survives SQLite's reuse of ids.
        values: full name → natural value.
        curve: observations in order (thinned to what Optuna keeps unless said otherwise).
        score: the final score, None until complete; of a pruned or paused trial the last observed one.
        cost_seconds, agent_steps: spent so far.
        total_agent_steps: the steps of its full length.
        failure_kind, failure_message: of failed and infeasible trials.
        attributes: everything else kept with the trial (seed, device, versions, commit …).
    """

    number: int
    uuid: str
    state: TrialState
    values: Mapping[str, Value]
    curve: tuple[Observation, ...] = ()
    score: float | None = None
    cost_seconds: float = 0.0
    agent_steps: int = 0
    total_agent_steps: int = 0
    failure_kind: FailureKind | None = None
    failure_message: str = ""
    attributes: Mapping[str, object] = field(default_factory=dict)

    @property
    def steps_per_second(self) -> float | None:
        """Agent steps per second of training: as noted at its end, before that over all of its time."""
        noted = self.attributes.get("steps_per_second")
        if isinstance(noted, int | float):
            return float(noted)
        return self.agent_steps / self.cost_seconds if self.agent_steps and self.cost_seconds else None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A new configuration to try: values for every swept parameter, inside its bounds, in natural units."""

    values: Mapping[str, Value]
    source: str
    """Who proposed it, for the trial's note: `config`, `means`, `enqueued`, or the method's name."""


@dataclass(frozen=True, slots=True)
class Start:
    """A method's decision at a free slot: run a new configuration.

    Attributes:
        values: natural values for every swept parameter, inside their bounds.
        pause_at_steps: agent steps at which the run shall pause; None for full length.
        source: who proposed it: `config`, `means`, `enqueued`, or the method's name.
    """

    values: Mapping[str, Value]
    pause_at_steps: int | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Resume:
    """A method's decision at a free slot: go on with a paused trial, up to `pause_at_steps` (None: to its end)."""

    uuid: str
    pause_at_steps: int | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker needs to run (or go on with) one trial. Crosses process and machine boundaries.

    Attributes:
        config: complete and resolved, seed and thread count included.
        folder: the trial's own (config.ini, log, checkpoints).
        resume_from: a checkpoint to continue from.
        earlier: the curve before that checkpoint, so that the final score sees the whole run.
        pause_at: agent steps at which the run shall pause unless told otherwise; None for full length.
        num_slots: trials side by side: so many numbers on is the trial that its worker may expect next.
    """

    uuid: str
    number: int
    config: Config
    folder: Path
    num_threads: int
    resume_from: Path | None = None
    earlier: tuple[Observation, ...] = ()
    pause_at: int | None = None
    num_slots: int = 1


# What a worker says, in the order it can say it. Every event names its trial.


@dataclass(frozen=True, slots=True)
class Started:
    """The worker has begun: environments are being made.

    `epoch` and `agent_steps` are those of the checkpoint that it goes on from, 0 at the beginning.
    """

    uuid: str
    pid: int
    agent_steps: int = 0
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Reported:
    """One epoch's progress; the worker waits for a Verdict only where `wants_verdict`.

    `score` is None when no episode ended in the epoch.
    """

    uuid: str
    epoch: int
    agent_steps: int
    total_agent_steps: int
    cost_seconds: float
    steps_per_second: float
    score: float | None
    metrics: Mapping[str, float]
    wants_verdict: bool = True


class Ending(StrEnum):
    """How a worker's run ended."""

    COMPLETE = "complete"
    PAUSED = "paused"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finished:
    """The last word about a trial from its worker (or from the launcher, when the worker cannot speak).

    Attributes:
        score: by the sweep's score rule; set for COMPLETE, never NaN.
        checkpoint: the newest one, if any.
        facts: device, versions, steps per second, peak memory …
        log_tail: the last lines of the trial's log, for FAILED.
    """

    uuid: str
    ending: Ending
    score: float | None
    agent_steps: int
    cost_seconds: float
    checkpoint: Path | None = None
    facts: Mapping[str, str | int | float] = field(default_factory=dict)
    evaluation: Mapping[str, object] | None = None
    failure_kind: FailureKind | None = None
    failure_message: str = ""
    traceback: str = ""
    log_tail: str = ""


Event = Started | Reported | Finished
