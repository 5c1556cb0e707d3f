"""What a report is drawn from: one study as plain, frozen records, with the questions that every figure asks of it.

Nothing here knows a database or Plotly. The store fills a `StudyView`; tests and notebooks can make one by hand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from sweeper.formatting import format_count, format_seconds
from sweeper.records import Observation, Trial, TrialState, Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sweeper.parameter import Parameter
    from sweeper.repeats import Repeat

ENDED_EARLY = (TrialState.PRUNED, TrialState.PAUSED)
"""States of trials that have a score without having run to their full length."""


@dataclass(frozen=True, eq=False)
class StudyView:
    """A study at one moment; compares by identity, so that what was computed from it can be kept with it.

    Attributes:
        name, environment, method, pruner, metric, device: as the config names them.
        goal: `maximize` or `minimize`.
        objectives: `score`, or `score` and `cost` where the sweep wanted the whole front.
        parameters: in the INI's order.
        trials: by number.
        curves: uuid → the whole learning curve; a trial without one shows the curve it carries.
        cost_name: what cost means: `uptime` (seconds of training) or `agent_steps`.
        written: the values of the config as written, inside the space.
        best_config: the INI of the best trial, empty while there is none.
        best_changes: full name → (value in the config as written, value in the best trial's config).
        repeats: what `confirm` found, best mean first.
        running: whether a sweep holds the study now.
        max_runs: the budget in configurations, None where there is none.
        facts: what else is known: versions, commit, command …
        videos: trial number → the film of its agent.
    """

    name: str
    environment: str
    parameters: tuple[Parameter, ...]
    trials: tuple[Trial, ...]
    method: str = ""
    pruner: str = ""
    metric: str = "score"
    goal: str = "maximize"
    objectives: tuple[str, ...] = ("score",)
    cost_name: str = "uptime"
    device: str = ""
    curves: Mapping[str, Sequence[Observation]] = field(default_factory=dict)
    written: Mapping[str, Value] = field(default_factory=dict)
    best_config: str = ""
    best_changes: Mapping[str, tuple[object, object]] = field(default_factory=dict)
    repeats: tuple[Repeat, ...] = ()
    running: bool = False
    max_runs: int | None = None
    facts: Mapping[str, object] = field(default_factory=dict)
    videos: Mapping[int, Path] = field(default_factory=dict)

    @property
    def sign(self) -> int:
        """1 when more is better, -1 when less is."""
        return -1 if self.goal == "minimize" else 1

    @property
    def metric_label(self) -> str:
        """The metric's name as a person reads it on an axis."""
        return self.metric.rpartition("/")[2].replace("_", " ")

    @property
    def cost_label(self) -> str:
        """What the cost axis says."""
        return "agent steps" if self.cost_name == "agent_steps" else "training time (seconds)"

    @property
    def wants_front(self) -> bool:
        """Whether the sweep optimised score and cost together, so that its result is a front."""
        return "cost" in self.objectives

    def cost_text(self, trial: Trial) -> str:
        """What a trial has cost, in words."""
        if self.cost_name == "agent_steps":
            return f"{format_count(trial.agent_steps)} agent steps"
        return format_seconds(trial.cost_seconds)

    def cost(self, trial: Trial) -> float:
        """What a trial has cost, in the study's own unit."""
        return float(trial.agent_steps) if self.cost_name == "agent_steps" else trial.cost_seconds

    def curve(self, trial: Trial) -> Sequence[Observation]:
        """The fullest learning curve there is of a trial."""
        return self.curves.get(trial.uuid) or trial.curve

    def in_state(self, *states: TrialState) -> tuple[Trial, ...]:
        """Trials in one of these states, by number."""
        return tuple(trial for trial in self.trials if trial.state in states)

    @cached_property
    def complete(self) -> tuple[Trial, ...]:
        """Complete trials with a finite score, by number."""
        return tuple(trial for trial in self.in_state(TrialState.COMPLETE) if _is_finite(trial.score))

    @cached_property
    def scored(self) -> tuple[Trial, ...]:
        """Complete, pruned and paused trials with a finite score, by number."""
        states = (TrialState.COMPLETE, *ENDED_EARLY)
        return tuple(trial for trial in self.in_state(*states) if _is_finite(trial.score))

    @cached_property
    def ranking(self) -> tuple[Trial, ...]:
        """Complete trials, best first; the earlier one first among equals."""
        return tuple(sorted(self.complete, key=lambda trial: (-self.sign * score_of(trial), trial.number)))

    @property
    def best(self) -> Trial | None:
        """The best complete trial."""
        return self.ranking[0] if self.ranking else None

    @cached_property
    def pareto_front(self) -> tuple[Trial, ...]:
        """Complete trials that no other one beats in both score and cost, cheapest first."""
        front: list[Trial] = []
        ordered = sorted(self.complete, key=lambda trial: (self.cost(trial), -self.sign * score_of(trial)))
        for trial in ordered:
            if not front or self.sign * score_of(trial) > self.sign * score_of(front[-1]):
                front.append(trial)
        return tuple(front)

    @cached_property
    def top_tenth(self) -> tuple[Trial, ...]:
        """The best tenth of the complete trials: at least three where there are so many."""
        return self.ranking[: max(min(3, len(self.ranking)), len(self.ranking) // 10)]


def score_of(trial: Trial) -> float:
    """The score of a trial that is known to have one."""
    if trial.score is None:
        raise ValueError(f"trial {trial.number} has no score")
    return trial.score


def _is_finite(score: float | None) -> bool:
    return score is not None and math.isfinite(score)
