"""What of a trial is shown in Optuna's tables: objective values, and attributes for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweeper.records import Observation, Trial, TrialState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweeper.records import CurvePoint

SHOWN_STATES = frozenset({TrialState.COMPLETE, TrialState.PRUNED})
"""States that have objective values in Optuna."""


def objective_values(trial: Trial, objectives: Sequence[str], cost: str) -> list[float] | None:
    """A trial's values in Optuna, in the order of the objectives; None where it has none.

    Args:
        trial: the trial.
        objectives: `score`, or `score` and `cost`.
        cost: `uptime` or `agent_steps`.
    """
    if trial.state not in SHOWN_STATES or trial.score is None:
        return None
    if trial.state is TrialState.PRUNED and len(objectives) > 1:
        return None
    spent = trial.cost_seconds if cost == "uptime" else float(trial.agent_steps)
    return [trial.score if name == "score" else spent for name in objectives]


def scored(points: Sequence[CurvePoint]) -> list[Observation]:
    """The points that have a score, as observations."""
    return [
        Observation(point.agent_steps, point.cost_seconds, point.score)
        for point in points
        if point.score is not None
    ]


def failure_attributes(trial: Trial) -> dict[str, object]:
    """Why a trial failed; empty if it has not."""
    if trial.failure_kind is None:
        return {}
    return {"failure_kind": trial.failure_kind.value, "failure_message": trial.failure_message}


def spent_attributes(trial: Trial) -> dict[str, object]:
    """What a trial has come to and what it has used."""
    return {
        "score": trial.score,
        "cost_seconds": round(trial.cost_seconds, 3),
        "agent_steps": trial.agent_steps,
        "total_agent_steps": trial.total_agent_steps,
    }
