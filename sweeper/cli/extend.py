"""`puffer-sweep extend`: a larger budget for a study."""

from __future__ import annotations

import click

from sweeper.cli.options import open_study, storage_option, study_argument


@click.command("extend")
@study_argument
@storage_option
@click.option(
    "--runs", type=click.IntRange(1), required=True, metavar="N", help="So many more configurations."
)
def command(study: str | None, storage: str, runs: int) -> None:
    r"""Give a study a larger budget: at once, also while its sweep runs.

    STUDY is a study's name, the latest by default.

    \b
    Example:
      puffer-sweep extend breakout --runs 50
    """
    from sweeper.at_once import ask
    from sweeper.store import RequestKind

    stored = open_study(storage, study)
    click.echo(f"{stored.name}: {runs} more runs. {ask(stored, RequestKind.EXTEND, {'runs': runs})}")
