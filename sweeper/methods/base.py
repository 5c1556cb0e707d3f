"""What the loop asks at a free slot: a sampler and a pruner behind one face."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sweeper.records import Resume, Start, Suggestion, Trial, TrialState, Value, Verdict
from sweeper.samplers.base import Goal, History, Sampler

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sweeper.pruners.base import Pruner
    from sweeper.space import SearchSpace

TOTAL_STEPS = "train.total_timesteps"


class Method(Protocol):
    """Decides what runs next. Keeps nothing between calls that a decision depends on.

    Every call gets the snapshots of all trials of the study. A study continued after a kill therefore goes
    on as if nothing had happened, and asking twice without a new trial between brings the same answer twice.
    """

    name: str
    notes: tuple[str, ...]

    def next(self, trials: Sequence[Trial]) -> Start | Resume | None:
        """What to run in a free slot.

        None: nothing for now. Ask again when a running trial has reported its end; if none is running, the
        search has come to its end (a grid that is visited, say).

        Raises:
            SearchError: the method cannot go on with a study of this size.
        """
        ...

    def judge(self, trial: Trial, trials: Sequence[Trial]) -> Verdict:
        """What shall become of a running trial that has just reported."""
        ...

    def best(self, trials: Sequence[Trial]) -> Trial | None:
        """The trial whose configuration the method would recommend; None before there is any score."""
        ...


class ComposedMethod:
    """Any sampler with any pruner.

    Args:
        first: points to start with, each once: the config as written, the means, enqueued configs.
        total_steps: agent steps of a full-length trial where the space does not search them.
    """

    def __init__(
        self,
        sampler: Sampler,
        pruner: Pruner,
        space: SearchSpace,
        goal: Goal,
        seed: int,
        *,
        total_steps: int,
        first: Sequence[Suggestion] = (),
        earlier: Sequence[Trial] = (),
        notes: Sequence[str] = (),
    ) -> None:
        self.name = sampler.name
        self.notes = tuple(notes)
        self._sampler = sampler
        self._pruner = pruner
        self._space = space
        self._goal = goal
        self._seed = seed
        self._total_steps = total_steps
        self._first = tuple(first)
        self._earlier = tuple(earlier)

    def next(self, trials: Sequence[Trial]) -> Start | Resume | None:
        """See `Method.next`."""
        promotion = self._pruner.promote(trials)
        if promotion is not None:
            return promotion
        values, source = self._propose(trials)
        if values is None:
            return None
        total = steps_of(values, self._total_steps)
        return Start(values, self._pruner.first_pause(len(trials), total), source)

    def judge(self, trial: Trial, trials: Sequence[Trial]) -> Verdict:
        """See `Method.judge`."""
        return self._pruner.judge(trial, trials)

    def best(self, trials: Sequence[Trial]) -> Trial | None:
        """See `Method.best`: the best complete trial, or the furthest one while none is complete."""
        return best_observed(trials, self._goal)

    def _propose(self, trials: Sequence[Trial]) -> tuple[Mapping[str, Value] | None, str]:
        suggestion = next_first_point(self._first, trials)
        if suggestion is not None:
            return suggestion.values, suggestion.source
        history = History.of(self._space, self._goal, trials, self._seed, self._earlier)
        return self._sampler.propose(history), self._sampler.name


def next_first_point(first: Sequence[Suggestion], trials: Sequence[Trial]) -> Suggestion | None:
    """The first of the given points that no trial has tried yet."""
    if not first or len(trials) > 10 * len(first) + 100:
        # Long past the beginning: comparing every trial would cost more than it could find.
        return None
    tried = [dict(trial.values) for trial in trials]
    return next((s for s in first if dict(s.values) not in tried), None)


def steps_of(values: Mapping[str, Value], total_steps: int) -> int:
    """Agent steps of a full-length trial with these values."""
    return int(values.get(TOTAL_STEPS, total_steps))


def best_observed(trials: Sequence[Trial], goal: Goal) -> Trial | None:
    """The complete trial of the best score, or the furthest and best of the others while none is complete."""
    complete = [(worth[0], -t.number, t) for t in trials if (worth := goal.worth(t)) is not None]
    if complete:
        return max(complete, key=lambda entry: entry[:2])[2]
    partial = [
        (t.agent_steps, level, -t.number, t)
        for t in trials
        if t.state not in (TrialState.FAILED, TrialState.INFEASIBLE) and (level := goal.level(t)) is not None
    ]
    return max(partial, key=lambda entry: entry[:3])[3] if partial else None
