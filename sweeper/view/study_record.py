"""Studies as JSON shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeper.store import StudyInfo


def info_record(info: StudyInfo) -> dict[str, Any]:
    """A study's counts, budget and best."""
    lock = info.lock
    return {
        "study": info.name,
        "uuid": info.uuid,
        "environment": info.environment,
        "metric": info.metric,
        "goals": list(info.goals),
        "counts": {state.value: count for state, count in info.counts.items()},
        "best_score": info.best_score,
        "best_trial": info.best_number,
        "max_runs": info.max_runs,
        "cost_seconds": info.cost_seconds,
        "agent_steps": info.agent_steps,
        "created_at": info.created_at,
        "changed_at": info.changed_at,
        "running": None
        if lock is None or not lock.alive
        else {"host": lock.host, "pid": lock.pid, "started_at": lock.started_at},
    }
