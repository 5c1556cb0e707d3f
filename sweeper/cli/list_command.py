"""`puffer-sweep list`: all studies of a database."""

from __future__ import annotations

import json

import click

from sweeper.cli.options import json_option, open_for_reading, storage_option


@click.command("list")
@storage_option
@json_option
def command(storage: str, *, as_json: bool) -> None:
    r"""Show all studies, the latest first.

    \b
    Example:
      puffer-sweep list
    """
    from sweeper.formatting import format_number, format_seconds, format_time
    from sweeper.view.study_record import info_record

    infos = open_for_reading(storage).studies()
    if as_json:
        click.echo(json.dumps([info_record(info) for info in infos], indent=2))
        return
    if not infos:
        click.echo("There is no study yet. Make one: puffer-sweep start CONFIG")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim", pad_edge=False)
    for title, justify in (
        ("study", "left"),
        ("environment", "left"),
        ("trials", "right"),
        ("best", "right"),
        ("training", "right"),
        ("last change", "left"),
        ("", "left"),
    ):
        table.add_column(title, justify="right" if justify == "right" else "left", overflow="fold")
    for info in infos:
        budget = f" of {info.max_runs}" if info.max_runs is not None else ""
        running = info.lock is not None and info.lock.alive
        table.add_row(
            Text(info.name, style="bold"),
            Text(info.environment),
            f"{sum(info.counts.values())}{budget}",
            format_number(info.best_score),
            format_seconds(info.cost_seconds),
            format_time(info.changed_at),
            Text("running", style="green") if running else "",
        )
    Console(highlight=False).print(table)
