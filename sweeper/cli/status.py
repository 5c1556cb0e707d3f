"""`puffer-sweep status`: how a study stands, once or continuously."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING

import click

from sweeper.cli.options import json_option, open_study, plain_option, storage_option, study_argument

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sweeper.store import StoredStudy
    from sweeper.store.records import StudyInfo
    from sweeper.view.board import Board

_INTERVAL_SECONDS = 2.0


@click.command("status")
@study_argument
@storage_option
@click.option("--watch", is_flag=True, help="Keep looking until the sweep ends or Ctrl-C.")
@plain_option
@json_option
def command(study: str | None, storage: str, *, watch: bool, plain: bool, as_json: bool) -> None:
    r"""Show how a study stands, also while a sweep runs elsewhere.

    STUDY is a study's name, the latest by default.

    \b
    Examples:
      puffer-sweep status
      puffer-sweep status breakout --watch
    """
    from rich.console import Console

    from sweeper.view.hardware import Hardware
    from sweeper.view.screen import LiveScreen, draw

    stored = open_study(storage, study)
    if as_json:
        _print_json(stored)
        while watch and _is_running(stored):
            time.sleep(_INTERVAL_SECONDS)
            _print_json(stored)
        return
    console = Console(highlight=False)
    if watch and console.is_terminal and not plain:
        board = board_of(stored)
        hardware = Hardware()

        def picture(width: int, height: int) -> RenderableType:
            board.hardware = hardware.line() if _is_here(stored) else ""
            return draw(board, now=time.time(), width=width, height=height)

        with LiveScreen(console, picture):
            while _is_running(stored):
                time.sleep(_INTERVAL_SECONDS)
                board = board_of(stored)
    elif watch:
        while _is_running(stored):
            click.echo(f"{time.strftime('%H:%M:%S')}  {_line(stored.info())}")
            time.sleep(_INTERVAL_SECONDS * 5)
    console.print(draw(board_of(stored), now=time.time(), width=console.width, height=200))
    if not _is_running(stored):
        console.print("\n No sweep runs on this study now.", style="dim")


def board_of(study: StoredStudy) -> Board:
    """A study as a board, read from the store."""
    from sweeper.export import study_config
    from sweeper.space import SearchSpace
    from sweeper.view.board import Board

    config = study_config(study)
    lock = study.lock_info()
    holder = lock if lock is not None and lock.alive else None
    deadline = study.attributes().get("deadline") if holder is not None else None
    trials = study.trials(ended_curves=False)
    board = Board(
        study_name=study.name,
        environment=study.spec.environment,
        method=str(config.get("sweep.method")),
        metric=study.spec.metric,
        goal=study.spec.goal,
        max_runs=study.max_runs,
        deadline=float(deadline) if deadline is not None else None,
        started_at=holder.started_at if holder is not None else 0.0,
        defaults=SearchSpace.from_config(config).written,
    )
    board.add(trials)
    ends = (trial.attributes.get("finished_at") for trial in board.trials.values())
    board.ended_here = [end for end in ends if isinstance(end, float) and end >= board.started_at]
    for trial in trials:
        row = board.running.get(trial.uuid)
        if row is not None:
            row.steps_per_second = trial.steps_per_second or 0.0
    return board


def _line(info: StudyInfo) -> str:
    """A study in a line: its trials by state, and the best of them."""
    from sweeper.formatting import format_number

    counts = ", ".join(f"{count} {state.value}" for state, count in info.counts.items()) or "no trials yet"
    budget = f"; {info.max_runs} runs in all" if info.max_runs is not None else ""
    best = (
        f"; best {format_number(info.best_score)} (trial {info.best_number})"
        if info.best_number is not None
        else ""
    )
    return f"{counts}{budget}{best}"


def _print_json(study: StoredStudy) -> None:
    from sweeper.view.listeners import trial_record
    from sweeper.view.study_record import info_record

    best = study.best()
    record = info_record(study.info())
    record["best"] = None if best is None else trial_record(best)
    record["trials"] = [trial_record(trial) for trial in study.trials(ended_curves=False)]
    click.echo(json.dumps(record))


def _is_here(study: StoredStudy) -> bool:
    """Whether the sweep runs on this machine, so that its load is this machine's."""
    lock = study.lock_info()
    return lock is not None and lock.host == socket.gethostname()


def _is_running(study: StoredStudy) -> bool:
    lock = study.lock_info()
    return lock is not None and lock.alive
