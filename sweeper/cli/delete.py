"""`puffer-sweep delete`: removes a study."""

from __future__ import annotations

import shutil

import click

from sweeper.cli.options import complete_study, open_for_reading, storage_option


@click.command("delete")
@click.argument("study", shell_complete=complete_study)
@storage_option
@click.option("--folders", is_flag=True, help="Remove its folder as well: report, configs, checkpoints.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(study: str, storage: str, *, folders: bool, yes: bool) -> None:
    r"""Remove a study with all its trials and curves; a sweep that runs on it ends.

    \b
    Example:
      puffer-sweep delete breakout --folders
    """
    from sweeper.store import RequestKind

    store = open_for_reading(storage)
    stored = store.open(study)
    info = stored.info()
    what = f"{study} with {sum(info.counts.values())} trials" + (f" and {stored.folder}" if folders else "")
    if not yes:
        click.confirm(f"Delete {what}?", abort=True)
    if info.lock is not None and info.lock.alive:
        stored.request(RequestKind.DELETE, {"folders": folders})
        click.echo(
            f"Asked the sweep that runs on {study} (process {info.lock.pid} on {info.lock.host}) to delete it."
        )
        return
    store.delete(study)
    if folders and stored.folder.is_dir():
        shutil.rmtree(stored.folder)
    click.echo(f"Deleted {what}.")
