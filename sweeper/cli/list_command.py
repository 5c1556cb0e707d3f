"""`puffer-sweep list`: all studies of a database."""

from __future__ import annotations

import json

import click

from sweeper.cli.options import json_option, open_for_reading, storage_option

_COLUMNS = {"study": 0, "environment": 56, "trials": 30, "best": 20, "training": 72, "last change": 44}
"""Each column and the narrowest terminal in which it is shown."""

_NUMBERS = ("trials", "best", "training")
_WIDE, _MEDIUM = 96, 60
_PIPE_WIDTH = 1000


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

    console = Console(highlight=False)
    if not console.is_terminal:  # in a pipe or a file nothing need fit
        console = Console(highlight=False, width=_PIPE_WIDTH)
    width = console.width
    columns = [name for name, least in _COLUMNS.items() if width >= least]
    table = Table(
        box=None,
        padding=(0, 3 if width >= _WIDE else 2 if width >= _MEDIUM else 1, 0, 0),
        header_style="dim",
        pad_edge=False,
    )
    for name in columns:
        is_name = name in ("study", "environment")
        table.add_column(
            name, justify="right" if name in _NUMBERS else "left", overflow="ellipsis", no_wrap=not is_name
        )
    for info in infos:
        budget = f" of {info.max_runs}" if info.max_runs is not None else ""
        running = info.lock is not None and info.lock.alive
        cells = {
            "study": Text(info.name, style="bold"),
            "environment": Text(info.environment),
            "trials": Text(f"{sum(info.counts.values())}{budget}"),
            "best": Text(format_number(info.best_score)),
            "training": Text(format_seconds(info.cost_seconds)),
            "last change": Text("running", style="green") if running else Text(format_time(info.changed_at)),
        }
        table.add_row(*(cells[name] for name in columns))
    console.print(table)
