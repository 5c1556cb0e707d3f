"""The frozen records of the store."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sweeper.records import CurvePoint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sweeper.records import TrialState

__all__ = ["CurvePoint", "LockInfo", "Request", "RequestKind", "StudyInfo", "StudySpec"]


@dataclass(frozen=True, slots=True)
class StudySpec:
    """What makes a study itself: two sweeps with equal specs may share a study.

    Attributes:
        name: a plain name.
        goals: `maximize` or `minimize`, one per objective.
        objectives: names, as in `score`, `cost`.
        metric: what the score is called.
        space: the search space as JSON (name → description).
        settings: every fixed setting that makes scores comparable, full name → value.
        config: the whole config as INI text.
        artifacts_folder: where trial folders lie.
        environment: its name, for people.
    """

    name: str
    goals: tuple[str, ...]
    objectives: tuple[str, ...]
    metric: str
    space: Mapping[str, Any]
    settings: Mapping[str, Any]
    config: str
    artifacts_folder: Path
    environment: str = ""

    @property
    def goal(self) -> str:
        """The score's goal, wherever the score stands among the objectives."""
        return self.goals[self.objectives.index("score")]

    @property
    def sign(self) -> int:
        """1 when a higher score is better, -1 when a lower one is."""
        return -1 if self.goal == "minimize" else 1


@dataclass(frozen=True, slots=True)
class LockInfo:
    """Who runs a study.

    Attributes:
        host, pid: the holder.
        started_at: when its process began, seconds since the epoch.
        beat_at: its last sign of life, by its own clock.
        alive: as far as can be told from here.
    """

    host: str
    pid: int
    started_at: float
    beat_at: float
    alive: bool


class RequestKind(StrEnum):
    """What another terminal can ask of a study."""

    STOP = "stop"
    EXTEND = "extend"
    RETRY = "retry"
    DELETE = "delete"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Request:
    """A request row.

    Attributes:
        argument: of `extend`: `{"runs": N}`; of `retry`: `{"trials": [numbers]}` or `{}` for all failed ones;
            of `delete`: `{"folders": bool}`; of `note`: `{"text": str}`.
        answer: what came of it; None while it is open.
    """

    id: int
    kind: RequestKind
    argument: Mapping[str, Any]
    created_at: float
    host: str
    pid: int
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class StudyInfo:
    """A line of `puffer-sweep list`, read without loading any trial.

    Attributes:
        counts: TrialState → number of trials.
        best_score: of the complete trials, None where there is none.
        max_runs: the budget as the last sweep or `extend` set it.
        created_at, changed_at: seconds since the epoch.
    """

    name: str
    uuid: str
    environment: str
    metric: str
    goals: tuple[str, ...]
    counts: Mapping[TrialState, int]
    best_score: float | None
    best_number: int | None
    max_runs: int | None
    created_at: float
    changed_at: float
    cost_seconds: float
    agent_steps: int
    lock: LockInfo | None
