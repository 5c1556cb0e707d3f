"""`puffer-sweep train`: one run of one config."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sweeper.cli.options import config_argument, json_option, plain_option
from sweeper.cli.settings import SettingsCommand, load, parse
from sweeper.formatting import plain_name
from trainer.errors import ConfigError, Place, PufferError

if TYPE_CHECKING:
    from trainer.config import Config


@click.command("train", cls=SettingsCommand)
@config_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for config, curve and checkpoints. [default: a new one in train.data_dir]",
)
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint in the folder that -o names.")
@click.option(
    "--jsonl",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write every epoch's metrics to this file, one JSON object a line.",
)
@click.option(
    "--tensorboard",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Also write them as TensorBoard's events (extra tensorboard).",
)
@plain_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    config: str,
    output: Path | None,
    jsonl: Path | None,
    tensorboard: Path | None,
    *,
    resume: bool,
    plain: bool,
    as_json: bool,
) -> None:
    r"""Train one agent as CONFIG says; `[sweep]` is read for its metric alone.

    Ctrl-C once ends the run with a checkpoint after the current epoch, twice at once.

    \b
    Examples:
      puffer-sweep train best.ini
      puffer-sweep train CartPole-v1 --train.total-timesteps 2e5 --train.seed 7
      puffer-sweep train ocean/breakout --tensorboard runs/breakout
    """
    loaded = load(config, parse(ctx))
    if resume and output is None:
        raise click.UsageError("--resume needs the folder of the run: -o DIR.")
    folder = output if output is not None else new_folder(loaded, config)
    prepare_threads(loaded)

    from sweeper.single_run import train_in_folder
    from sweeper.view.run_view import JsonRunView, LineRunView, ScreenRunView

    view: JsonRunView | LineRunView | ScreenRunView
    if as_json:
        view = JsonRunView(sys.stdout)
    else:
        from rich.console import Console

        console = Console(highlight=False)
        view = (
            ScreenRunView(loaded, console)
            if console.is_terminal and not plain
            else LineRunView(loaded, sys.stdout)
        )
    try:
        with view:
            ended = train_in_folder(
                loaded, folder, view.on_progress, resume=resume, jsonl=jsonl, tensorboard=tensorboard
            )
    except PufferError:
        if output is None:
            remove_if_empty(folder)
        raise
    view.show_end(ended)


def remove_if_empty(folder: Path) -> None:
    """Removes a run's folder, and the one it is in, if a run that never began has left them empty."""
    for path in (folder, folder.parent):
        if not path.is_dir() or any(path.iterdir()):
            return
        path.rmdir()


def new_folder(config: Config, name: str) -> Path:
    """A folder for a run that is not there yet: `experiments/best-breakout-0001`."""
    data_dir = Path(config.train.data_dir)
    stem = plain_name(Path(name).stem if name.endswith(".ini") else name)
    environment = plain_name(config.base.env_name or "")
    label = stem if not environment or environment.lower() in stem.lower() else f"{stem}-{environment}"
    for number in range(1, 100_000):
        folder = data_dir / f"{label}-{number:04d}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise ConfigError(
                f"The folder for runs cannot be made: {error.strerror or error}.",
                place=Place(section="train", key="data_dir"),
                value=config.train.data_dir,
                remedy="Choose another with --train.data-dir DIR.",
            ) from error
        return folder
    raise ConfigError(
        "There are too many runs of this name.", value=str(data_dir / label), remedy="Remove some."
    )


def prepare_threads(config: Config) -> None:
    """What must be in the environment before torch is imported: threads that sleep while they wait."""
    if "torch" in sys.modules:
        return
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    threads = config.get("train.num_threads")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if isinstance(threads, int):
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, str(threads))
