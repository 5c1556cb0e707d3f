"""Three ways to look on while a sweep runs: a live screen, plain lines, JSON lines. All are `SweepListener`s."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any, Self, TextIO

from sweeper.formatting import format_count, format_number, format_seconds, format_value
from sweeper.records import Reported, Trial, TrialState
from sweeper.view.board import Board, clock_text
from sweeper.view.hardware import Hardware
from sweeper.view.screen import LiveScreen, draw

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console, RenderableType

    from sweeper.loop import SweepOutcome, SweepStart

_PLAIN_INTERVAL_SECONDS = 15.0


class BoardListener:
    """Keeps a `Board` up to date; the base of listeners that show one.

    Args:
        board: with what is known before the sweep begins (environment, method, defaults).
        now: the wall clock.
    """

    def __init__(self, board: Board, now: Callable[[], float] = time.time) -> None:
        self.board = board
        self._now = now
        self._lock = threading.RLock()

    def on_sweep_started(self, start: SweepStart) -> None:
        """Slots are there and the study is open."""
        with self._lock:
            board = self.board
            board.study_name, board.metric, board.goal = start.study_name, start.metric, start.goal
            board.slots, board.max_runs, board.deadline = start.slots, start.max_runs, start.deadline
            board.started_at = self._now()
            board.backend = start.backend
            board.add(start.trials)

    def on_started(self, trial: Trial) -> None:
        """A trial has been launched."""
        with self._lock:
            self.board.start(trial)

    def on_reported(self, trial: Trial, report: Reported) -> None:
        """An epoch of a running trial."""
        with self._lock:
            self.board.report(trial, report)

    def on_finished(self, trial: Trial) -> None:
        """A trial has ended or paused."""
        with self._lock:
            self.board.finish(trial, self._now())

    def on_note(self, text: str) -> None:
        """A sentence a person should know."""
        with self._lock:
            self.board.notes.append(f"{clock_text(self._now())}  {text}")

    def on_sweep_finished(self, outcome: SweepOutcome) -> None:
        """The sweep is over."""


class ScreenListener(BoardListener):
    """A live screen on a terminal. Use as a context manager around `Sweep.run`."""

    def __init__(self, board: Board, console: Console, now: Callable[[], float] = time.time) -> None:
        super().__init__(board, now)
        self._hardware = Hardware()
        self._screen = LiveScreen(console, self._picture)

    def _picture(self, width: int, height: int) -> RenderableType:
        hardware = self._hardware.line()  # may ask a program: never while the loop waits for the lock
        with self._lock:
            self.board.hardware = hardware
            return draw(self.board, now=self._now(), width=width, height=height)

    def __enter__(self) -> Self:
        self._screen.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._screen.close()


class LineListener(BoardListener):
    """Timestamped lines: trials as they start and end, and a running one's progress now and then."""

    def __init__(self, board: Board, stream: TextIO, now: Callable[[], float] = time.time) -> None:
        super().__init__(board, now)
        self._stream = stream
        self._last_line: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def _say(self, text: str) -> None:
        self._stream.write(f"{clock_text(self._now())}  {text}\n")
        self._stream.flush()

    def on_sweep_started(self, start: SweepStart) -> None:
        """Names the study, its budget and where it lies."""
        super().on_sweep_started(start)
        budget = [f"{start.max_runs} runs"] if start.max_runs is not None else []
        if start.deadline is not None:
            budget.append(f"{format_seconds(max(0.0, start.deadline - self._now()))}")
        there = f", {len(start.trials)} trials are there already" if start.trials else ""
        board = self.board
        on_backend = f" on {board.backend}" if board.backend else ""
        self._say(
            f"study {start.study_name}: {board.environment}{on_backend}, {board.method}, {start.slots} at a time"
            f"{', budget ' + ' or '.join(budget) if budget else ''}{there}"
        )

    def on_started(self, trial: Trial) -> None:
        """The trial's number and what it changes."""
        super().on_started(trial)
        changed = self.board.changed_values(trial)
        words = "  ".join(
            f"{name.rpartition('.')[2]}={format_value(value)}" for name, value in changed.items()
        )
        self._last_line[trial.uuid] = self._now()
        if trial.agent_steps:
            self._say(f"trial {trial.number} goes on after {format_count(trial.agent_steps)} steps")
        else:
            self._say(f"trial {trial.number} starts: {words or 'the config as written'}")

    def on_reported(self, trial: Trial, report: Reported) -> None:
        """A line when the last one of this trial is some time ago."""
        super().on_reported(trial, report)
        now = self._now()
        if now - self._last_line.get(trial.uuid, 0.0) < _PLAIN_INTERVAL_SECONDS:
            return
        self._last_line[trial.uuid] = now
        row = self.board.running[trial.uuid]
        self._say(
            f"trial {trial.number}: "
            f"{format_count(report.agent_steps)} of {format_count(report.total_agent_steps)} steps "
            f"({100 * row.share:.0f} %), {format_count(report.steps_per_second)} steps/s, "
            f"score {format_number(row.score)}"
        )

    def on_finished(self, trial: Trial) -> None:
        """State, score and cost, the best so far and the time left."""
        super().on_finished(trial)
        self._last_line.pop(trial.uuid, None)
        if trial.state in (TrialState.FAILED, TrialState.INFEASIBLE):
            reason = trial.failure_message.strip().splitlines()
            text = reason[0] if reason else "no reason given"
            self._say(f"trial {trial.number} {trial.state.value}: {text}")
            return
        board = self.board
        leaders = [leader for leader in board.leaders(1) if leader.state is TrialState.COMPLETE]
        best = f"; best {format_number(leaders[0].score)} (trial {leaders[0].number})" if leaders else ""
        left = board.seconds_left(self._now())
        remaining = f"; {format_seconds(left)} left" if left else ""
        runs = f"; {board.num_done} of {board.max_runs} runs" if board.max_runs is not None else ""
        self._say(
            f"trial {trial.number} {trial.state.value}: score {format_number(trial.score)} in "
            f"{format_seconds(trial.cost_seconds)}{best}{runs}{remaining}"
        )

    def on_note(self, text: str) -> None:
        """The sentence."""
        super().on_note(text)
        self._say(text)


class JsonListener(BoardListener):
    """One JSON object a line for every piece of news."""

    def __init__(self, board: Board, stream: TextIO, now: Callable[[], float] = time.time) -> None:
        super().__init__(board, now)
        self._stream = stream

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def _emit(self, event: str, **fields: Any) -> None:
        self._stream.write(
            json.dumps({"event": event, "time": self._now(), **fields}, default=_jsonable) + "\n"
        )
        self._stream.flush()

    def on_sweep_started(self, start: SweepStart) -> None:
        """`sweep_started`."""
        super().on_sweep_started(start)
        self._emit(
            "sweep_started",
            study=start.study_name,
            storage=str(start.storage),
            folder=str(start.artifacts_folder),
            metric=start.metric,
            goal=start.goal,
            slots=start.slots,
            max_runs=start.max_runs,
            trials=len(start.trials),
            backend=start.backend,
        )

    def on_started(self, trial: Trial) -> None:
        """`trial_started`."""
        super().on_started(trial)
        self._emit("trial_started", trial=trial.number, values=dict(trial.values))

    def on_reported(self, trial: Trial, report: Reported) -> None:
        """`trial_reported`."""
        super().on_reported(trial, report)
        self._emit(
            "trial_reported",
            trial=trial.number,
            agent_steps=report.agent_steps,
            total_agent_steps=report.total_agent_steps,
            steps_per_second=report.steps_per_second,
            cost_seconds=report.cost_seconds,
            score=report.score,
        )

    def on_finished(self, trial: Trial) -> None:
        """`trial_finished`."""
        super().on_finished(trial)
        self._emit("trial_finished", **trial_record(trial))

    def on_note(self, text: str) -> None:
        """`note`."""
        super().on_note(text)
        self._emit("note", text=text)

    def on_sweep_finished(self, outcome: SweepOutcome) -> None:
        """`sweep_finished`."""
        self._emit(
            "sweep_finished",
            reason=outcome.reason.value,
            study=outcome.study_name,
            folder=str(outcome.artifacts_folder),
            best=None if outcome.best is None else trial_record(outcome.best),
            counts={state.value: count for state, count in outcome.counts.items()},
            elapsed_seconds=outcome.elapsed_seconds,
            confirmed=[asdict(repeat) for repeat in outcome.repeats],
        )


Listener = ScreenListener | LineListener | JsonListener


def trial_record(trial: Trial) -> dict[str, Any]:
    """A trial as JSON shows it, without its curve."""
    return {
        "trial": trial.number,
        "state": trial.state.value,
        "score": trial.score,
        "cost_seconds": trial.cost_seconds,
        "agent_steps": trial.agent_steps,
        "values": dict(trial.values),
        "failure_kind": trial.failure_kind.value if trial.failure_kind else None,
        "failure_message": trial.failure_message or None,
    }


def _jsonable(value: object) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)
