"""The frozen records that pass between the rooms of the trainer, and out of it.

Shapes: B rows of a step batch, S segments, T steps a segment (`bptt_horizon`), O the observation's shape,
A the action's. A row is one agent of one environment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Directive(Enum):
    """What the caller of `train` wants after it has seen a Progress."""

    CONTINUE = "continue"
    PAUSE = "pause"
    """Write a checkpoint and return; the run can go on from it later."""
    STOP = "stop"
    """Write a checkpoint and return; the run is over (a pruned trial)."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What one epoch (a rollout and its update) has brought.

    Attributes:
        epoch: epochs done, from 1.
        num_epochs: epochs of the whole run.
        agent_steps: steps of all agents so far, strictly increasing over a run and its resumes.
        total_agent_steps: the steps at which the run is complete.
        uptime_seconds: training time so far, summed over resumes; pauses do not count.
        steps_per_second: agent steps per second of this epoch.
        score: mean of the metric over the episodes that ended since the last Progress; None if none did.
        metrics: all scalars of the epoch by slash-separated name: `environment/*` (score, episode_return,
            episode_length, num_episodes and what the environment itself reports), `losses/*` (policy, value,
            entropy, kl, clip_fraction, explained_variance), `seconds/*` (environment, forward, learn, copy, other),
            `usage/*` (processors, memory_bytes; on CUDA device_memory_bytes, device_share), `learning_rate`. Finite
            values only.
        backend: what the environments run on, which `auto` leaves open; empty where nobody knows.
    """

    epoch: int
    num_epochs: int
    agent_steps: int
    total_agent_steps: int
    uptime_seconds: float
    steps_per_second: float
    score: float | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    backend: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores of whole episodes on fresh environments with fixed seeds.

    Attributes:
        scores: one per episode, in the order of the episodes' seeds.
        mean, deviation: of the scores (deviation with n - 1; 0 for a single episode).
        interval: 95 % confidence interval of the mean (Student's t).
        lengths: agent steps per episode.
        truncated_episodes: episodes cut off by the evaluation's own step limit; their score is what they had.
    """

    scores: tuple[float, ...]
    mean: float
    deviation: float
    interval: tuple[float, float]
    lengths: tuple[int, ...] = ()
    truncated_episodes: int = 0


class RunStatus(Enum):
    """How a run of `train` ended, when it did not raise."""

    COMPLETED = "completed"
    PAUSED = "paused"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What `train` returns.

    Attributes:
        status: completed, paused or stopped.
        agent_steps, uptime_seconds, epochs: as in the last Progress.
        checkpoint: the newest checkpoint's path, None when no folder was given.
        facts: what a person wants to know later: device, device_name, steps_per_second, torch, backend,
            num_parameters, peak_memory_bytes …; strings and numbers.
    """

    status: RunStatus
    agent_steps: int
    uptime_seconds: float
    epochs: int
    checkpoint: Path | None
    facts: Mapping[str, str | int | float]


OnProgress = Callable[[Progress], Directive]
"""Called once an epoch, from the thread that trains."""

OnHeartbeat = Callable[[], None]
"""Called from the thread that trains at every environment step and every minibatch: cheap, must not raise."""


@dataclass(frozen=True, slots=True)
class EnvironmentFacts:
    """What must be known of an environment before its config can be resolved.

    Attributes:
        agents_per_env: agents in each environment; `num_envs * agents_per_env` agents in all.
        backend: the backend that `auto` takes, or the one that was asked for (`Serial`, …).
        can_step_half: whether that backend steps one half of the environments while the policy works on the other.
        observation, action: one line each, for people ("uint8 (4, 84, 84)", "discrete 4").
        env_keys: names that `[env]` may hold here, None where any name goes.
        native_bfloat16: whether the processor of the machine that looked multiplies bfloat16 in hardware.
    """

    agents_per_env: int = 1
    backend: str = "Serial"
    can_step_half: bool = False
    observation: str = ""
    action: str = ""
    env_keys: tuple[str, ...] | None = None
    native_bfloat16: bool = False
