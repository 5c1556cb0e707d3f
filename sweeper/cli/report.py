"""`puffer-sweep report`: one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from sweeper.cli.options import open_study, storage_option, study_argument


@click.command("report")
@study_argument
@storage_option
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to write it. [default: report.html in the study's folder]",
)
@click.option("--open", "open_it", is_flag=True, help="Open it in the browser.")
def command(study: str | None, storage: str, output: Path | None, *, open_it: bool) -> None:
    r"""Write the report of a study: one HTML file that needs no network.

    STUDY is a study's name, the latest by default.

    \b
    Example:
      puffer-sweep report breakout -o breakout.html
    """
    from sweeper.results import REPORT_FILE, write_report

    stored = open_study(storage, study)
    path = write_report(stored, output or stored.folder / REPORT_FILE)
    click.echo(str(path))
    if open_it:
        click.launch(str(path))
