"""`puffer-sweep status`: how a study stands, once or continuously."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click

from sweeper.cli.options import json_option, open_study, plain_option, storage_option, study_argument

if TYPE_CHECKING:
    from sweeper.store import StoredStudy
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
        screen = LiveScreen(console, lambda w, h: draw(board, now=time.time(), width=w, height=h))
        with screen:
            while _is_running(stored):
                time.sleep(_INTERVAL_SECONDS)
                board = board_of(stored)
    elif watch:
        while _is_running(stored):
            info = stored.info()
            counts = ", ".join(f"{count} {state.value}" for state, count in info.counts.items())
            click.echo(f"{time.strftime('%H:%M:%S')}  {counts or 'no trials yet'}")
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
    trials = study.trials(ended_curves=False)
    board = Board(
        study_name=study.name,
        environment=study.spec.environment,
        method=str(config.get("sweep.method")),
        metric=study.spec.metric,
        goal=study.spec.goals[0],
        max_runs=study.max_runs,
        started_at=lock.started_at if lock is not None and lock.alive else 0.0,
        defaults=SearchSpace.from_config(config).written,
    )
    board.add(trials)
    board.device = next((str(d) for t in reversed(trials) if (d := t.attributes.get("device"))), "")
    for trial in trials:
        row = board.running.get(trial.uuid)
        speed = trial.attributes.get("steps_per_second")
        if row is not None and isinstance(speed, int | float):
            row.steps_per_second = float(speed)
        elif row is not None and trial.cost_seconds > 0:
            row.steps_per_second = trial.agent_steps / trial.cost_seconds
    return board


def _print_json(study: StoredStudy) -> None:
    from sweeper.view.listeners import trial_record
    from sweeper.view.study_record import info_record

    best = study.best()
    record = info_record(study.info())
    record["best"] = None if best is None else trial_record(best)
    record["trials"] = [trial_record(trial) for trial in study.trials(ended_curves=False)]
    click.echo(json.dumps(record))


def _is_running(study: StoredStudy) -> bool:
    lock = study.lock_info()
    return lock is not None and lock.alive
