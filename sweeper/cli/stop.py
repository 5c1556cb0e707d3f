"""`puffer-sweep stop`: ends a running sweep from another terminal."""

from __future__ import annotations

import click

from sweeper.cli.options import open_study, storage_option, study_argument


@click.command("stop")
@study_argument
@storage_option
def command(study: str | None, storage: str) -> None:
    r"""End a running sweep cleanly: running trials finish their epoch and leave a checkpoint.

    STUDY is a study's name, the latest by default. The command that started the sweep continues it.

    \b
    Example:
      puffer-sweep stop breakout
    """
    from sweeper.store import RequestKind

    stored = open_study(storage, study)
    lock = stored.lock_info()
    if lock is None or not lock.alive:
        click.echo(f"No sweep runs on {stored.name}.")
        return
    stored.request(RequestKind.STOP)
    click.echo(f"Asked the sweep on {stored.name} (process {lock.pid} on {lock.host}) to stop.")
