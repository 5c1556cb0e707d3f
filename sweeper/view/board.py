"""What there is to show of a sweep at one moment, gathered from the loop's news or from the store."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sweeper.records import Reported, Trial, TrialState, Value

LEADERS = 5
FAILURES = 3
_NOTES = 4
_CURVE_POINTS = 240

COUNTED = (
    TrialState.COMPLETE,
    TrialState.PRUNED,
    TrialState.PAUSED,
    TrialState.FAILED,
)
"""States that use up a run of the budget."""

_CUT_SHORT = (TrialState.PRUNED, TrialState.PAUSED)


@dataclass(slots=True)
class RunningTrial:
    """One trial that is being trained now."""

    number: int
    values: Mapping[str, Value]
    agent_steps: int = 0
    total_agent_steps: int = 0
    cost_seconds: float = 0.0
    steps_per_second: float = 0.0
    score: float | None = None
    scores: deque[float] = field(default_factory=lambda: deque(maxlen=_CURVE_POINTS))

    @property
    def share(self) -> float:
        """How much of its full length is done, 0 to 1."""
        return min(1.0, self.agent_steps / self.total_agent_steps) if self.total_agent_steps else 0.0


@dataclass(slots=True)
class Board:
    """A sweep at one moment.

    Attributes:
        study_name, environment, method, device, metric: as the config names them.
        backend: what the environments run on, empty until it is known.
        goal: `maximize` or `minimize`.
        slots: how many trials run side by side.
        max_runs, deadline: budgets; None where there is none.
        started_at: wall clock, seconds since the epoch.
        defaults: the config as written, to show only what a leader changed.
        running: by trial uuid.
        trials: the newest snapshot of each trial that has ended or paused, by uuid.
        notes: the last sentences a person should know.
        hardware: one line about processor and memory, empty where unknown.
    """

    study_name: str = ""
    environment: str = ""
    backend: str = ""
    method: str = ""
    device: str = ""
    metric: str = "score"
    goal: str = "maximize"
    slots: int = 1
    max_runs: int | None = None
    deadline: float | None = None
    started_at: float = 0.0
    defaults: Mapping[str, Value] = field(default_factory=dict)
    running: dict[str, RunningTrial] = field(default_factory=dict)
    trials: dict[str, Trial] = field(default_factory=dict)
    notes: deque[str] = field(default_factory=lambda: deque(maxlen=_NOTES))
    hardware: str = ""
    ended_here: list[float] = field(default_factory=list)

    def start(self, trial: Trial) -> None:
        """A trial has been launched, for the first time or again."""
        self.trials.pop(trial.uuid, None)
        self.device = str(trial.attributes.get("device") or self.device)
        self.running[trial.uuid] = RunningTrial(
            trial.number,
            trial.values,
            trial.agent_steps,
            trial.total_agent_steps,
            trial.cost_seconds,
            score=trial.score,
            scores=deque((point.score for point in trial.curve), maxlen=_CURVE_POINTS),
        )

    def report(self, trial: Trial, report: Reported) -> None:
        """An epoch of a running trial."""
        if trial.uuid not in self.running:
            self.start(trial)
        row = self.running[trial.uuid]
        row.agent_steps = report.agent_steps
        row.total_agent_steps = report.total_agent_steps
        row.cost_seconds = report.cost_seconds
        row.steps_per_second = report.steps_per_second
        if report.score is not None:
            row.score = report.score
            row.scores.append(report.score)

    def finish(self, trial: Trial, now: float) -> None:
        """A trial has ended or paused."""
        self.running.pop(trial.uuid, None)
        self.trials[trial.uuid] = trial
        self.device = str(trial.attributes.get("device") or self.device)
        if trial.state in COUNTED:
            self.ended_here.append(now)

    def add(self, trials: Iterable[Trial]) -> None:
        """Trials that were there before."""
        for trial in trials:
            self.device = str(trial.attributes.get("device") or self.device)
            if trial.state is TrialState.RUNNING:
                self.start(trial)
            elif trial.state is not TrialState.QUEUED:
                self.trials[trial.uuid] = trial

    @property
    def sign(self) -> int:
        """1 when more is better."""
        return -1 if self.goal == "minimize" else 1

    def count(self, *states: TrialState) -> int:
        """Ended and paused trials in these states."""
        return sum(trial.state in states for trial in self.trials.values())

    @property
    def num_done(self) -> int:
        """Runs of the budget that are used up."""
        return self.count(*COUNTED)

    def leaders(self, most: int = LEADERS) -> list[Trial]:
        """The best complete trials; while there are fewer, those that were cut short after the most steps."""
        complete = [t for t in self.trials.values() if t.state is TrialState.COMPLETE and t.score is not None]
        complete.sort(key=lambda trial: (-self.sign * (trial.score or 0.0), trial.number))
        cut_short = [t for t in self.trials.values() if t.state in _CUT_SHORT and t.score is not None]
        cut_short.sort(
            key=lambda trial: (-trial.agent_steps, -self.sign * (trial.score or 0.0), trial.number)
        )
        return [*complete, *cut_short][:most]

    def failures(self, most: int = FAILURES) -> list[Trial]:
        """The last failed trials, the latest first."""
        failed = [trial for trial in self.trials.values() if trial.state is TrialState.FAILED]
        return sorted(failed, key=lambda trial: -trial.number)[:most]

    def changed_values(self, trial: Trial) -> dict[str, Value]:
        """Parameters whose value is not the one in the config as written."""
        return {name: value for name, value in trial.values.items() if self.defaults.get(name) != value}

    def seconds_left(self, now: float) -> float | None:
        """An estimate from the pace so far and the deadline; None while nothing has ended."""
        by_deadline = None if self.deadline is None else max(0.0, self.deadline - now)
        by_runs = None
        if self.max_runs is not None and self.ended_here:
            under_way = sum(row.share for row in self.running.values())
            remaining = max(0.0, self.max_runs - self.num_done - under_way)
            by_runs = remaining * (now - self.started_at) / (len(self.ended_here) + under_way)
        known = [seconds for seconds in (by_deadline, by_runs) if seconds is not None]
        return min(known) if known else None


def clock_text(now: float) -> str:
    """The local time of day."""
    return datetime.fromtimestamp(now, tz=UTC).astimezone().strftime("%H:%M:%S")


Now = Callable[[], float]
