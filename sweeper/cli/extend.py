"""`puffer-sweep extend`: a larger budget for a study."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sweeper.cli.options import open_study, storage_option, study_argument

if TYPE_CHECKING:
    from sweeper.store import StoredStudy


@click.command("extend")
@study_argument
@storage_option
@click.option(
    "--runs", type=click.IntRange(1), required=True, metavar="N", help="So many more configurations."
)
def command(study: str | None, storage: str, runs: int) -> None:
    r"""Give a study a larger budget, while its sweep runs or before it continues.

    STUDY is a study's name, the latest by default.

    \b
    Example:
      puffer-sweep extend breakout --runs 50
    """
    from sweeper.store import RequestKind

    stored = open_study(storage, study)
    stored.request(RequestKind.EXTEND, {"runs": runs})
    click.echo(f"{stored.name}: {runs} more runs. {when(stored)}")


def when(study: StoredStudy) -> str:
    """Who will carry a request out."""
    lock = study.lock_info()
    if lock is not None and lock.alive:
        return f"The sweep that runs on it (process {lock.pid} on {lock.host}) takes them up."
    return "Run the command that started the sweep again to have them done."
