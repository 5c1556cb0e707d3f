"""`puffer-sweep start`: runs a sweep, or continues it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sweeper.cli.options import (
    artifacts_option,
    config_argument,
    json_option,
    plain_option,
    storage_option,
)
from sweeper.cli.settings import SettingsCommand, load, parse

if TYPE_CHECKING:
    from rich.console import Console

    from sweeper.loop import SweepOutcome
    from sweeper.results import Results
    from sweeper.view.board import Board
    from sweeper.view.listeners import Listener
    from trainer.config import Config, Override


@click.command("start", cls=SettingsCommand)
@config_argument
@storage_option
@artifacts_option
@click.option("--study", metavar="NAME", help="Name of the study. [default: from CONFIG and its environment]")
@click.option(
    "--join",
    is_flag=True,
    help="Where a sweep runs on the study already, give it this process's slots as well.",
)
@click.option("--ray-address", metavar="ADDRESS", help="Run trials on this Ray cluster: auto, or HOST:PORT.")
@plain_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    config: str,
    storage: str,
    artifacts: Path | None,
    study: str | None,
    ray_address: str | None,
    *,
    join: bool,
    plain: bool,
    as_json: bool,
) -> None:
    r"""Run a sweep, or continue it.

    CONFIG is an INI file or an environment's name. The same command continues a study that is there already.
    Ctrl-C once ends it cleanly, twice at once. A setting given as a flag is pinned: it leaves the search.

    \b
    Examples:
      puffer-sweep start config/atari.ini
      puffer-sweep start config/classic.ini --env-name CartPole-v1 --sweep.max-runs 40
      puffer-sweep start mine.ini --study night --train.total-timesteps 1e7
      puffer-sweep start mine.ini --study night --train.total-timesteps 1e7 --sweep.gpus 1 --join
    """
    from sweeper.loop import Sweep
    from sweeper.results import write_results
    from sweeper.store import open_store

    loaded = load(config, (*parse(ctx), *on_ray(ray_address)))
    name = study if study is not None else name_study(config, loaded)
    if join and join_running(loaded, storage, name, as_json=as_json):
        return
    listener = make_listener(loaded, name, plain=plain, as_json=as_json)
    sweep = Sweep(
        loaded,
        storage,
        name,
        artifacts,
        listener=listener,
        command=("puffer-sweep", *sys.argv[1:]),
    )
    with listener:
        outcome = sweep.run()
    if outcome.reason == "deleted":
        if not as_json:
            click.echo(f"Study {outcome.study_name} was deleted from another terminal.")
        return
    if sweep.was_told_twice:
        if not as_json:
            click.echo("Interrupted at once, so there is no report; the same command continues.")
        return
    stored = open_store(storage).open(outcome.study_name)
    results = write_results(stored)
    if not as_json:
        show_outcome(outcome, results, storage)


def on_ray(address: str | None) -> tuple[Override, ...]:
    """What `--ray-address` means in an INI."""
    from trainer.config import parse_overrides

    if address is None:
        return ()
    return parse_overrides(["--sweep.launcher", "ray", "--sweep.ray-address", address])


def join_running(config: Config, storage: str, name: str, *, as_json: bool) -> bool:
    """Join the sweep that runs on a study, until one of both ends; False if none runs."""
    import json

    from sweeper.clock import SystemClock
    from sweeper.joining import join_sweep
    from sweeper.view.board import clock_text

    clock = SystemClock()

    def say(text: str) -> None:
        line = {"event": "note", "text": text}
        click.echo(json.dumps(line) if as_json else f"{clock_text(clock.now())}  {text}")

    return join_sweep(config, storage, name, say)


def name_study(name: str, config: Config) -> str:
    """The study's name where none is given: from the config file's name and the environment.

    `start breakout` and `start config/atari.ini` name the same study when they mean the same file.
    """
    from sweeper.store.names import default_study_name
    from trainer.config import files

    path = Path(name)
    if path.suffix.lower() != ".ini" and not path.is_file():
        path, _ = files.find_config(name)
    environment = config.base.env_name
    says_nothing = path.name == files.DEFAULT_FILE or path.stem.lower() == (environment or "").lower()
    return default_study_name(None if says_nothing else path.stem, environment)


def make_listener(config: Config, name: str, *, plain: bool, as_json: bool) -> Listener:
    """A screen on a terminal, lines elsewhere, JSON where asked."""
    from rich.console import Console

    from sweeper.view.listeners import JsonListener, LineListener, ScreenListener

    board = make_board(config, name)
    if as_json:
        return JsonListener(board, sys.stdout)
    console = Console()
    if plain or not console.is_terminal:
        return LineListener(board, sys.stdout)
    return ScreenListener(board, console)


def make_board(config: Config, name: str) -> Board:
    """A board that knows what the config says."""
    from sweeper.space import SearchSpace
    from sweeper.view.board import Board

    return Board(
        study_name=name,
        environment=str(config.get("base.env_name")),
        method=str(config.get("sweep.method")),
        device=str(config.get("train.device")),
        metric=str(config.get("sweep.metric")),
        goal=str(config.get("sweep.goal")),
        defaults=SearchSpace.from_config(config).written,
    )


_REASONS = {
    "runs": "All runs are done",
    "hours": "The time is up",
    "cost": "The budget of training time is spent",
    "exhausted": "Every configuration of the space has been tried",
    "stopped": "Stopped from another terminal",
    "interrupted": "Interrupted; the same command continues",
}


def show_outcome(outcome: SweepOutcome, results: Results, storage: str) -> None:
    """The last lines: the best trial, where everything lies, what comes next."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from sweeper.formatting import format_number, format_seconds

    console = Console(highlight=False)
    counts = ", ".join(f"{count} {state.value}" for state, count in outcome.counts.items() if count)
    console.print()
    console.print(f"{_REASONS[outcome.reason]} after {format_seconds(outcome.elapsed_seconds)}: {counts}.")
    if outcome.best is None:
        from sweeper.export import how_far

        led = outcome.furthest
        console.print(
            "No trial is complete yet" + (f"; {how_far(led)} has come furthest." if led is not None else "."),
            soft_wrap=True,
        )
    else:
        score, seconds = format_number(outcome.best.score), format_seconds(outcome.best.cost_seconds)
        console.print(
            Text.assemble(
                "Best: ",
                (f"trial {outcome.best.number}", "bold color(208)"),
                f" with score {score}, trained in {seconds}.",
            )
        )
        _print_values(console, outcome)
    if outcome.repeats:
        from sweeper.cli.confirm import ranking_lines

        console.print("\n".join(["", "With fresh seeds:", *ranking_lines(outcome.repeats)]), soft_wrap=True)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    grid.add_row("study", f"{outcome.study_name} in {storage}")
    grid.add_row("folder", str(outcome.artifacts_folder))
    grid.add_row("report", str(results.report))
    if results.best is not None:
        grid.add_row("config", str(results.best))
    console.print()
    console.print(grid)
    console.print()
    console.print("Next:", style="dim")
    where = "" if storage == "studies/studies.db" else f" --storage {storage}"
    console.print(f"  puffer-sweep dashboard {outcome.study_name}{where}", soft_wrap=True)
    if results.best is not None:
        console.print(f"  puffer-sweep export {outcome.study_name}{where} -o best.ini", soft_wrap=True)
        console.print("  puffer-sweep train best.ini", soft_wrap=True)
    elif outcome.furthest is not None:
        console.print(
            f"  puffer-sweep export {outcome.study_name}{where} --trial {outcome.furthest.number} -o best.ini",
            soft_wrap=True,
        )


def _print_values(console: Console, outcome: SweepOutcome) -> None:
    from rich.table import Table

    from sweeper.formatting import format_value

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column()
    for name, value in outcome.best.values.items() if outcome.best else ():
        grid.add_row(f"  {name}", format_value(value))
    console.print(grid)
