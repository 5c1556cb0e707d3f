"""`puffer-sweep compare`: several studies side by side."""

from __future__ import annotations

from pathlib import Path

import click

from sweeper.cli.options import complete_study, open_for_reading, storage_option


@click.command("compare")
@click.argument("studies", nargs=-1, required=True, metavar="STUDY STUDY...", shell_complete=complete_study)
@storage_option
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("compare.html"),
    show_default=True,
    metavar="FILE",
    help="Where to write the page.",
)
@click.option("--open", "open_it", is_flag=True, help="Open it in the browser.")
def command(studies: tuple[str, ...], storage: str, output: Path, *, open_it: bool) -> None:
    r"""Put studies side by side: score over cost, best values, as a table and a page.

    \b
    Example:
      puffer-sweep compare breakout-tpe breakout-protein -o both.html
    """
    if len(set(studies)) < 2:
        raise click.UsageError("Name at least two studies.")
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from sweeper.export import write_file
    from sweeper.report.compare import compared_rows
    from sweeper.report.from_store import view_of
    from sweeper.report.page import render_comparison

    store = open_for_reading(storage)
    views = [view_of(store.open(name)) for name in dict.fromkeys(studies)]
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="bold", pad_edge=False)
    table.add_column("")
    for view in views:
        table.add_column(view.name, overflow="fold")
    for row in compared_rows(views):
        style = "color(208)" if row.differs else ""
        table.add_row(Text(row.name, style="dim"), *(Text(cell, style=style) for cell in row.cells))
    Console(highlight=False).print(table)
    write_file(output, render_comparison(views))
    click.echo(f"\n{output}")
    if open_it:
        click.launch(str(output))
