"""What every sampler is given and what it owes: a new configuration as a pure function of the history.

Samplers keep no state between calls that a decision depends on. Random numbers follow from the sweep's seed
and the number of trials there are, so that a study continued after a kill goes on as if nothing had happened.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sweeper.errors import SearchError
from sweeper.records import Trial, TrialState, Value
from sweeper.score import final_score

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sweeper.space import SearchSpace

WINDOW = 0.1
"""Share of a curve behind a point whose mean stands for the score there (the `last` score rule)."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What a study is after.

    Attributes:
        objectives: `score`, or `score` and `cost`.
        maximise: whether a higher score is better; cost is always better low.
        cost: what cost means: `uptime` or `agent_steps`.
        percentile: whether scores count by their rank among all scores only.
        rule: the study's score rule; under `auc` a curve's level is its mean height so far, else its end.
    """

    objectives: tuple[str, ...] = ("score",)
    maximise: bool = True
    cost: str = "uptime"
    percentile: bool = False
    rule: str = "last"

    @property
    def sign(self) -> float:
        """Turns scores into values of which more is better."""
        return 1.0 if self.maximise else -1.0

    def worth(self, trial: Trial) -> tuple[float, ...] | None:
        """The objectives of a complete trial, more being better; None where there is no finite score."""
        if trial.state is not TrialState.COMPLETE or trial.score is None or not math.isfinite(trial.score):
            return None
        cost = trial.cost_seconds if self.cost == "uptime" else float(trial.agent_steps)
        return tuple(self.sign * trial.score if name == "score" else -cost for name in self.objectives)

    def level(self, trial: Trial, steps: int | None = None) -> float | None:
        """The signed score of a trial after `steps` agent steps (None: its last point).

        It is the mean of the curve over the tenth of the full length before that point, or, where the score is
        the area under the curve, over all that lies before it: what the same run cut there would have scored.
        """
        end = trial.curve[-1].agent_steps if steps is None and trial.curve else steps
        if end is None:
            return None
        if self.rule == "auc":
            mean = final_score("auc", [point for point in trial.curve if point.agent_steps <= end], end)
        else:
            mean = window_mean(trial, end)
        return None if mean is None else self.sign * mean


def window_mean(trial: Trial, steps: int) -> float | None:
    """Mean score over the tenth of the full length that ends at `steps`; None before the first point."""
    begin = steps - WINDOW * (trial.total_agent_steps or steps)
    total, count = 0.0, 0
    for point in reversed(trial.curve):
        if point.agent_steps > steps or not math.isfinite(point.score):
            continue
        if count and point.agent_steps <= begin:
            break
        total, count = total + point.score, count + 1
    return total / count if count else None


@dataclass(frozen=True, slots=True)
class History:
    """The trials of a study as a sampler sees them.

    Attributes:
        trials: all snapshots, by number.
        seed: the sweep's.
        earlier: trials of other studies to learn from (`warm_start`), already inside this space.
    """

    space: SearchSpace
    goal: Goal
    trials: tuple[Trial, ...]
    seed: int
    earlier: tuple[Trial, ...] = field(default=())

    @classmethod
    def of(
        cls, space: SearchSpace, goal: Goal, trials: Sequence[Trial], seed: int, earlier: Sequence[Trial] = ()
    ) -> History:
        """Sorts the snapshots by number, so that their order in memory decides nothing."""
        return cls(space, goal, tuple(sorted(trials, key=lambda t: t.number)), seed, tuple(earlier))

    def generator(self, purpose: str) -> np.random.Generator:
        """Random numbers that depend on the seed, the number of trials and what they are for."""
        return np.random.default_rng([abs(self.seed), len(self.trials), zlib.crc32(purpose.encode())])

    def optuna_seed(self, purpose: str) -> int:
        """A seed for a library's own generator."""
        return int(self.generator(purpose).integers(2**31 - 1))

    def learnt(self) -> tuple[Trial, ...]:
        """Earlier studies' trials, then this one's."""
        return self.earlier + self.trials


class Sampler(Protocol):
    """Proposes new configurations."""

    name: str

    def propose(self, history: History) -> Mapping[str, Value] | None:
        """Natural values for every parameter, inside their bounds; None when there is nothing left to try.

        Raises:
            SearchError: the history is larger than this sampler can take.
        """
        ...


def refuse_above(name: str, limit: int, count: int) -> None:
    """Says that a method's time would explode rather than letting it.

    Raises:
        SearchError: more finished trials than the method takes.
    """
    if count > limit:
        raise SearchError(
            f"The method {name} takes at most {limit} finished trials; this study has {count}.",
            rule="Its time for a suggestion grows too fast beyond that.",
            remedy="Continue with method = Thaw or method = tpe, which read the same study.",
        )


def single_objective(name: str, goal: Goal) -> None:
    """Refuses several objectives.

    Raises:
        SearchError: the study has more than one objective.
    """
    if len(goal.objectives) > 1:
        raise SearchError(
            f"The method {name} looks at one objective; this study has {', '.join(goal.objectives)}.",
            remedy="Use Thaw, Protein, Carbs, ParetoGenetic, tpe, nsgaii or random.",
        )
