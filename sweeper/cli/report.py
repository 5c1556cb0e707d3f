"""`puffer-sweep report`: one self-contained HTML page."""

from __future__ import annotations

import time
from pathlib import Path

import click

from sweeper.cli.options import open_study, storage_option, study_argument

_LONGEST_WAIT_SECONDS = 5.0


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
@click.option(
    "--png",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write the figures as PNG files, too.",
)
@click.option(
    "--watch", is_flag=True, help="Write it anew while the sweep runs; the page loads itself again."
)
@click.option(
    "--interval",
    type=click.FloatRange(1),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="With --watch.",
)
@click.option("--open", "open_it", is_flag=True, help="Open it in the browser.")
def command(
    study: str | None,
    storage: str,
    output: Path | None,
    png: Path | None,
    interval: float,
    *,
    watch: bool,
    open_it: bool,
) -> None:
    r"""Write the report of a study: one HTML file that needs no network.

    STUDY is a study's name, the latest by default.

    \b
    Examples:
      puffer-sweep report breakout -o breakout.html
      puffer-sweep report --watch --open
    """
    from sweeper.results import REPORT_FILE, write_report

    stored = open_study(storage, study)
    path = output or stored.folder / REPORT_FILE
    refresh = max(1, round(interval)) if watch else None
    while True:
        running = (lock := stored.lock_info()) is not None and lock.alive
        write_report(stored, path, refresh_seconds=refresh if running else None)
        if open_it:
            click.launch(str(path))
            open_it = False
        if not (watch and running):
            break
        wait_until = time.monotonic() + interval
        while time.monotonic() < wait_until and (lock := stored.lock_info()) is not None and lock.alive:
            time.sleep(min(_LONGEST_WAIT_SECONDS, max(0.0, wait_until - time.monotonic())))
    click.echo(str(path))
    if png is not None:
        from sweeper.report.from_store import view_of
        from sweeper.report.images import write_images

        for image in write_images(view_of(stored), png):
            click.echo(str(image))
