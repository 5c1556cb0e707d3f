"""The project's own method on a study's trials: snapshots in, natural values out, `sweeper.thaw` between.

Trials become runs of the core: values in the unit cube, agent steps as shares of each trial's own full
length, levels at the rungs. A trial that failed by what its configuration may have caused counts as a
crash; one that failed by bad luck (a lost worker, a hang) keeps what it has shown. An infeasible point
counts as a crash without a cost, so that the search learns where points do not fit together.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sweeper.methods.base import best_observed, next_first_point, steps_of
from sweeper.records import Resume, Start, Suggestion, Trial, TrialState, Value, Verdict
from sweeper.thaw.core import Thaw
from sweeper.thaw.records import Begin, Run
from sweeper.thaw.settings import Settings
from trainer.errors import FailureKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sweeper.samplers.base import Goal, History
    from sweeper.space import SearchSpace

OWN_FAULT = frozenset(
    {
        FailureKind.NOT_FINITE,
        FailureKind.CRASH,
        FailureKind.ENVIRONMENT,
        FailureKind.OUT_OF_MEMORY,
        FailureKind.OUT_OF_DEVICE_MEMORY,
        FailureKind.TIMEOUT,
    }
)
"""Failures that another run of the same configuration would probably meet again."""

MAX_RUNS = 1500
"""Trials that the core is shown: the newest, the unfinished and the best."""

NEWEST = 300


class RunReader:
    """Turns trials into runs of the core."""

    def __init__(self, space: SearchSpace, goal: Goal, rungs: Sequence[float]) -> None:
        self._space = space
        self._goal = goal
        self._rungs = tuple(rungs)

    def read(self, trials: Sequence[Trial]) -> tuple[list[Trial], list[Run]]:
        """The trials that the core shall see, by number, and their runs in the same order."""
        shown = self._shown(sorted(trials, key=lambda t: t.number))
        return shown, [self._run(trial) for trial in shown]

    def _shown(self, trials: list[Trial]) -> list[Trial]:
        if len(trials) <= MAX_RUNS:
            return trials
        newest = trials[-NEWEST:]
        older = trials[:-NEWEST]

        def rank(trial: Trial) -> float:
            if trial.state in (TrialState.RUNNING, TrialState.QUEUED):
                return math.inf
            level = self._goal.sign * trial.score if trial.score is not None else -math.inf
            return level if math.isfinite(level) else -math.inf

        best = sorted(older, key=lambda t: (-rank(t), t.number))[: MAX_RUNS - NEWEST]
        return sorted(best, key=lambda t: t.number) + newest

    def _run(self, trial: Trial) -> Run:
        point = self._space.encode(trial.values)
        total = trial.total_agent_steps
        length = min(trial.agent_steps / total, 1.0) if total else 0.0
        complete = trial.state is TrialState.COMPLETE
        crashed = trial.state is TrialState.INFEASIBLE or (
            trial.state is TrialState.FAILED and trial.failure_kind in OWN_FAULT
        )
        cost = trial.cost_seconds if self._goal.cost == "uptime" else float(trial.agent_steps)
        if crashed:
            return Run(point, max(length, self._rungs[0] / 2), cost, crashed=True, open=False)
        looks = [share for share in self._rungs if share <= length + 1e-9]
        if length > 0 and (not looks or length > looks[-1] + 1e-6):
            looks.append(length)
        rungs, levels = [], []
        for share in looks:
            if complete and share >= 1 - 1e-9:
                level = None if trial.score is None else self._goal.sign * trial.score
            else:
                level = self._goal.level(trial, math.ceil(share * total))
            if level is not None and math.isfinite(level):
                rungs.append(share)
                levels.append(level)
        if complete and not levels and trial.score is not None and math.isfinite(trial.score):
            rungs, levels = [1.0], [self._goal.sign * trial.score]
        running = trial.state in (TrialState.RUNNING, TrialState.QUEUED)
        return Run(
            point,
            1.0 if complete else length,
            cost,
            np.array(rungs),
            np.array(levels),
            target=next((share for share in self._rungs if share > length + 1e-9), 1.0) if running else None,
            open=trial.state is TrialState.PAUSED,
        )


class ThawMethod:
    """See the module; the promotion of paused trials is part of the method.

    Args:
        first: points to start with, each once.
        total_steps: agent steps of a full-length trial where the space does not search them.
        earlier: trials of other studies, values inside this space.
        max_cost: of a full-length trial, as far as it is predicted; None for no limit.
    """

    name = "thaw"

    def __init__(
        self,
        space: SearchSpace,
        goal: Goal,
        seed: int,
        *,
        total_steps: int,
        first: Sequence[Suggestion] = (),
        earlier: Sequence[Trial] = (),
        settings: Settings | None = None,
        max_cost: float | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        base = settings if settings is not None else Settings()
        self.notes = tuple(notes)
        self._settings = replace(base, percentile=goal.percentile, max_cost=max_cost)
        self._space = space
        self._goal = goal
        self._first = tuple(first)
        self._earlier = tuple(replace(trial, state=_closed(trial.state)) for trial in earlier)
        self._total_steps = total_steps
        self._core = Thaw(space.encode(space.centre()), space.snap, seed, self._settings)
        self._reader = RunReader(space, goal, self._settings.rungs)

    def next(self, trials: Sequence[Trial]) -> Start | Resume | None:
        """See `Method.next`."""
        rungs = self._settings.rungs
        suggestion = next_first_point(self._first, trials)
        if suggestion is not None:
            share = rungs[self._settings.first_rung if not trials else 1]
            return self._start(suggestion.values, share, suggestion.source)
        shown, runs = self._read(trials)
        decision = self._core.decide(self._scalarised(runs, len(trials)), salt=len(trials))
        if isinstance(decision, Begin):
            return self._start(self._space.decode(decision.point), decision.until, self.name)
        trial = shown[decision.index]
        return Resume(trial.uuid, _pause(decision.until, trial.total_agent_steps))

    def judge(self, trial: Trial, trials: Sequence[Trial]) -> Verdict:  # noqa: ARG002
        """Runs pause where they were told to; nothing is decided between rungs."""
        return Verdict.CONTINUE

    def best(self, trials: Sequence[Trial]) -> Trial | None:
        """The trial of the best posterior value at full length, less its uncertainty."""
        if len(self._goal.objectives) > 1 or not trials:
            return best_observed(trials, self._goal)
        ordered = sorted(trials, key=lambda t: t.number)
        runs = self._reader.read(ordered)
        index = self._core.recommend(runs[1])
        chosen = None if index is None else runs[0][index]
        if chosen is None or chosen.state in (TrialState.FAILED, TrialState.INFEASIBLE) or not chosen.curve:
            return best_observed(trials, self._goal)
        return chosen

    def _read(self, trials: Sequence[Trial]) -> tuple[list[Trial], list[Run]]:
        earlier = [replace(t, number=t.number - len(self._earlier) - 1_000_000_000) for t in self._earlier]
        return self._reader.read([*earlier, *trials])

    def _start(self, values: Mapping[str, Value], share: float, source: str) -> Start:
        return Start(dict(values), _pause(share, steps_of(values, self._total_steps)), source)

    def _scalarised(self, runs: list[Run], count: int) -> list[Run]:
        """With score and cost as objectives: one weighing of the two per decision (ParEGO, Knowles 2006)."""
        if len(self._goal.objectives) < 2:
            return runs
        levels = np.array([level for run in runs for level in run.levels])
        costs = np.array([math.log(run.cost / run.length) for run in runs if run.cost > 0 and run.length > 0])
        if len(levels) < 2 or len(costs) < 2:
            return runs
        # The golden ratio's multiples fill [0, 1] evenly without any state.
        weight = (count * 0.6180339887498949) % 1.0
        score_span = max(float(levels.max() - levels.min()), 1e-12)
        cost_span = max(float(costs.max() - costs.min()), 1e-12)
        weighed = []
        for run in runs:
            dear = (
                math.log(run.cost / run.length)
                if run.cost > 0 and run.length > 0
                else float(np.median(costs))
            )
            penalty = weight * (dear - costs.min()) / cost_span
            weighed.append(replace(run, levels=(run.levels - levels.min()) / score_span - penalty))
        return weighed


class ThawSampler:
    """The same proposals for full-length runs only, for use with a pruner that is not promotion."""

    name = "thaw"

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings if settings is not None else Settings()

    def propose(self, history: History) -> Mapping[str, Value]:
        """See `Sampler.propose`."""
        settings = replace(self._settings, percentile=history.goal.percentile, only_new=True)
        space = history.space
        core = Thaw(space.encode(space.centre()), space.snap, history.seed, settings)
        _, runs = RunReader(space, history.goal, settings.rungs).read(history.trials)
        decision = core.decide(runs, salt=len(history.trials))
        if not isinstance(decision, Begin):
            raise TypeError("a core that may only begin runs has continued one")
        return space.decode(decision.point)


def _pause(share: float, total_steps: int) -> int | None:
    return None if share >= 1 - 1e-9 else max(1, math.ceil(share * total_steps))


def _closed(state: TrialState) -> TrialState:
    """Trials of other studies cannot be continued here."""
    return TrialState.PRUNED if state in (TrialState.PAUSED, TrialState.RUNNING, TrialState.QUEUED) else state
