"""The live screen: a `Board` drawn for a terminal of any size, and the thread that keeps drawing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sweeper.formatting import format_count, format_number, format_seconds, format_value
from sweeper.records import Trial, TrialState
from sweeper.view.board import Board, RunningTrial, clock_text
from sweeper.view.sparkline import sparkline

if TYPE_CHECKING:
    from collections.abc import Callable

REFRESHES_PER_SECOND = 4
_TINY = 24
_NARROW = 46
_LITTLE = 58
_MEDIUM = 84

_LABEL = "dim"
_TITLE = "bold"
_ACCENT = "color(208)"
_BLUE = "color(68)"
_COUNT_WORDS = (
    (TrialState.COMPLETE, "complete", _BLUE),
    (TrialState.PRUNED, "pruned", "dim"),
    (TrialState.PAUSED, "paused", "color(97)"),
    (TrialState.FAILED, "failed", "color(167)"),
    (TrialState.INFEASIBLE, "infeasible", "dim"),
)


def draw(board: Board, *, now: float, width: int, height: int) -> RenderableType:
    """The whole screen for a terminal of this many columns and lines.

    What does not fit is left out from the bottom up: notes, failures, then leaders, then running trials.
    """
    header = _header(board, now, width)
    parts: list[tuple[RenderableType, int]] = [(header, 2 if width >= _MEDIUM else 3)]
    left = max(3, height - 1) - parts[0][1]
    budgets = _budgets(board, now, width)
    if budgets.row_count + 1 <= left:
        parts.append((Padding(budgets, (1, 0, 0, 0)), budgets.row_count + 1))
        left -= budgets.row_count + 1
    if not board.running and not board.trials and left >= 2:
        parts.append((Padding(Text("making environments …", style=_LABEL), (1, 0, 0, 0)), 2))
        left -= 2
    for table, lines in (
        _running(board, width, left),
        _leaders(board, width, left - min(len(board.running), 8) - 3),
        _failures(board, width),
        _notes(board, width),
    ):
        if table is not None and lines + 1 <= left:
            parts.append((Padding(table, (1, 0, 0, 0)), lines + 1))
            left -= lines + 1
    return Padding(Group(*(part for part, _ in parts)), (0, 1 if width >= _TINY else 0))


def _header(board: Board, now: float, width: int) -> RenderableType:
    elapsed = format_seconds(max(0.0, now - board.started_at)) if board.started_at else ""
    seconds_left = board.seconds_left(now)
    left = (
        "finishing" if seconds_left == 0 else f"{format_seconds(seconds_left)} left" if seconds_left else ""
    )
    details = " · ".join(
        part for part in (board.environment, board.backend, board.method, board.device) if part
    )
    if width < _MEDIUM:
        lines = [
            Text(board.study_name, style=_TITLE, no_wrap=True, overflow="ellipsis"),
            Text(details, style=_LABEL, no_wrap=True, overflow="ellipsis"),
        ]
        if elapsed:
            lines.append(Text(f"{elapsed}{', ' + left if left else ''}", no_wrap=True, overflow="ellipsis"))
        return Group(*lines)
    header = Table.grid(expand=True, padding=(0, 2))
    header.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    header.add_column(justify="right", no_wrap=True, overflow="ellipsis")
    header.add_row(
        Text.assemble(("puffer-sweep  ", _ACCENT), (board.study_name, _TITLE)),
        Text(clock_text(now), style=_LABEL),
    )
    times = Text.assemble(
        (elapsed, ""), (" elapsed" if elapsed else "", _LABEL), ("   " + left if left else "", "")
    )
    header.add_row(Text(details + (f" · {board.hardware}" if board.hardware else ""), style=_LABEL), times)
    return header


def _budgets(board: Board, now: float, width: int) -> Table:
    grid = Table.grid(padding=(0, 2 if width >= _NARROW else 1))
    bar_width = min(44, width - 64) if width >= _MEDIUM else min(20, width - 26)
    grid.add_column(style=_LABEL, no_wrap=True, min_width=4)
    if bar_width > 0:
        grid.add_column(no_wrap=True, min_width=bar_width)
    grid.add_column(no_wrap=True, overflow="ellipsis", max_width=max(5, width - max(0, bar_width) - 10))
    counts = Text(no_wrap=True, overflow="ellipsis")
    if width >= _NARROW:
        for state, word, style in _COUNT_WORDS:
            number = board.count(state)
            if number:
                counts.append(f"  {number} {word}", style=style)
    done = f"{board.num_done}" + (f" of {board.max_runs}" if board.max_runs is not None else "")
    if width < _TINY:
        done = done.replace(" of ", "/")
    share = board.num_done / board.max_runs if board.max_runs else 0.0
    runs_bar = [bar(share, bar_width) if board.max_runs else Text()] if bar_width > 0 else []
    grid.add_row("runs", *runs_bar, Text.assemble(done, counts))
    if board.deadline is not None and board.started_at:
        total = max(1e-9, board.deadline - board.started_at)
        spent = min(max(0.0, now - board.started_at), total)
        words = (
            f"{format_seconds(spent)} of {format_seconds(total)}"
            if width >= _NARROW
            else format_seconds(spent)
        )
        grid.add_row("time", *([bar(spent / total, bar_width)] if bar_width > 0 else []), words)
    return grid


def bar(share: float, width: int, style: str = _BLUE) -> Text:
    """A thin bar, done in colour and the rest dim; nothing where there is no room."""
    width = max(0, width)
    done = round(min(max(share, 0.0), 1.0) * width)
    return Text.assemble(("━" * done, style), ("━" * (width - done), "color(238)"))


def _running(board: Board, width: int, room: int) -> tuple[Table | None, int]:
    rows = sorted(board.running.values(), key=lambda row: row.number)
    if not rows or room < 3:
        return None, 0
    shown = rows[: max(1, min(len(rows), room - 2))]
    table = _table(width)
    table.add_column("running" if width >= _TINY else "run", justify="right", style=_TITLE)
    if width >= _NARROW:
        table.add_column("progress", no_wrap=True)
        table.add_column("steps", justify="right", no_wrap=True)
        table.add_column("steps/s", justify="right", no_wrap=True)
    table.add_column(board.metric.rpartition("/")[2], justify="right", style=_ACCENT)
    if width >= _MEDIUM:
        table.add_column("time", justify="right", no_wrap=True)
        table.add_column("learning curve")
    for row in shown:
        table.add_row(*_running_cells(row, width))
    hidden = len(rows) - len(shown)
    if hidden:
        table.add_row(Text(f"+{hidden}", style=_LABEL))
    return table, table.row_count + 1


def _running_cells(row: RunningTrial, width: int) -> list[RenderableType]:
    cells: list[RenderableType] = [str(row.number)]
    if width >= _NARROW:
        progress_width = 3 if width < _LITTLE else 8 if width < _MEDIUM else 14
        cells += [
            Text.assemble(bar(row.share, progress_width), (f" {100 * row.share:3.0f} %", _LABEL)),
            format_count(row.agent_steps),
            format_count(row.steps_per_second) if row.steps_per_second else "–",
        ]
    cells.append(format_number(row.score))
    if width >= _MEDIUM:
        cells += [
            format_seconds(row.cost_seconds),
            Text(sparkline(list(row.scores), min(48, width - 76)), style=_BLUE, no_wrap=True),
        ]
    return cells


def _leaders(board: Board, width: int, room: int) -> tuple[Table | None, int]:
    leaders = board.leaders()[: max(0, room - 2)]
    if not leaders:
        return None, 0
    table = _table(width)
    table.add_column("best", justify="right", style=_TITLE)
    table.add_column(board.metric.rpartition("/")[2], justify="right")
    if width >= _NARROW:
        table.add_column("time", justify="right", no_wrap=True)
        table.add_column("what it changed", overflow="ellipsis", ratio=1)
        table.expand = True
    for rank, trial in enumerate(leaders):
        style = _ACCENT if rank == 0 and trial.state is TrialState.COMPLETE else ""
        cells: list[RenderableType] = [
            Text(str(trial.number), style=style),
            Text(format_number(trial.score), style=style),
        ]
        if width >= _NARROW:
            cells += [format_seconds(trial.cost_seconds), _changes(board, trial)]
        table.add_row(*cells)
    return table, len(leaders) + 1


def _changes(board: Board, trial: Trial) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    if trial.state is not TrialState.COMPLETE:
        text.append(f"{trial.state.value} after {format_count(trial.agent_steps)} steps  ", style="color(97)")
    changed = board.changed_values(trial)
    if not changed:
        text.append("the config as written", style=_LABEL)
    for name, value in changed.items():
        text.append(f"{name.rpartition('.')[2]} ", style=_LABEL)
        text.append(f"{format_value(value)}  ")
    return text


def _failures(board: Board, width: int) -> tuple[Table | None, int]:
    failed = board.failures()
    if not failed:
        return None, 0
    table = _table(width)
    table.add_column("failed" if width >= _TINY else "bad", justify="right", style="color(167)")
    table.add_column("", overflow="ellipsis", ratio=1)
    table.expand = True
    for trial in failed:
        reason = (
            trial.failure_message.strip().splitlines()[0]
            if trial.failure_message.strip()
            else "no reason given"
        )
        table.add_row(str(trial.number), Text(reason, no_wrap=True, overflow="ellipsis"))
    return table, len(failed) + 1


def _notes(board: Board, width: int) -> tuple[Table | None, int]:
    if not board.notes or width < _NARROW:
        return None, 0
    table = Table.grid(expand=True)
    table.add_column(no_wrap=True, overflow="ellipsis", style=_LABEL)
    for note in board.notes:
        table.add_row(note)
    return table, len(board.notes)


def _table(width: int) -> Table:
    return Table(
        box=None,
        padding=(0, 2 if width >= _TINY else 1, 0, 0),
        header_style=_LABEL,
        pad_edge=False,
        show_edge=False,
    )


class LiveScreen:
    """Draws a board on the terminal's alternate screen, a few times a second, until it is closed.

    Args:
        console: the terminal.
        picture: gives what to show, called from the drawing thread.
    """

    def __init__(self, console: Console, picture: Callable[[int, int], RenderableType]) -> None:
        self._console = console
        self._picture = picture
        self._live = Live(
            get_renderable=self._draw,
            console=console,
            screen=True,
            refresh_per_second=REFRESHES_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def _draw(self) -> RenderableType:
        width, height = self._console.size
        return self._picture(width, height)

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the terminal back as it was."""
        self._live.stop()
