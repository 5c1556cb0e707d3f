"""`puffer-sweep dashboard`: optuna-dashboard on a study."""

from __future__ import annotations

import click

from sweeper.cli.options import open_for_reading, storage_option, study_argument


@click.command("dashboard")
@study_argument
@storage_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; loopback only.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes a free one."
)
@click.option("--write", is_flag=True, help="Allow notes, renaming and deleting in the browser.")
@click.option("--no-browser", is_flag=True, help="Do not open the browser.")
def command(study: str | None, storage: str, host: str, port: int, *, write: bool, no_browser: bool) -> None:
    r"""Serve optuna-dashboard on the studies of a database, read-only unless --write.

    The browser opens on STUDY, the latest by default. Ctrl-C ends it.

    \b
    Example:
      puffer-sweep dashboard breakout
    """
    from sweeper.dashboard import make_server

    store = open_for_reading(storage)
    stored = store.open(study if study is not None else store.latest())
    server = make_server(
        stored.storage, host=host, port=port, writable=write, artifacts_folder=stored.spec.artifacts_folder
    )
    address = f"http://{host}:{server.server_port}/dashboard/studies/{stored.study_id}"
    click.echo(f"{address}  ({'writable' if write else 'read-only'}; Ctrl-C ends it)")
    if not no_browser:
        click.launch(address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        click.echo()
    finally:
        server.server_close()
