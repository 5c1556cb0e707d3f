"""`puffer-sweep video`: a film of a trial's agent."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sweeper.cli.options import json_option, open_study, storage_option, study_argument


@click.command("video")
@study_argument
@storage_option
@click.option(
    "--trial", "number", type=click.IntRange(0), metavar="N", help="This trial instead of the best."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to write it. [default: video.mp4 in the trial's folder, where report and dashboard find it]",
)
@click.option(
    "--episodes", type=click.IntRange(1), default=3, show_default=True, metavar="N", help="How many."
)
@click.option("--open", "open_it", is_flag=True, help="Play it.")
@json_option
def command(
    study: str | None,
    storage: str,
    number: int | None,
    output: Path | None,
    episodes: int,
    *,
    open_it: bool,
    as_json: bool,
) -> None:
    r"""Film the agent of the best trial, or of another one: a few episodes with their score, as MP4.

    STUDY is a study's name, the latest by default. A sweep films its best trial by itself with [sweep] video = True.

    \b
    Examples:
      puffer-sweep video breakout
      puffer-sweep video breakout --trial 7 -o seven.mp4
    """
    from sweeper.export import choose_trial
    from sweeper.folder import CONFIG_FILE, VIDEO_FILE
    from sweeper.formatting import format_number
    from sweeper.results import refresh_dashboard
    from sweeper.video import film_folder
    from trainer.config import load_config_file

    stored = open_study(storage, study)
    trial = choose_trial(stored, number)
    folder = stored.trial_folder(trial.number)
    if (folder / CONFIG_FILE).is_file():
        from sweeper.cli.train import prepare_threads

        prepare_threads(load_config_file(folder / CONFIG_FILE, fill_in_default=False))
    path = output or folder / VIDEO_FILE
    scores = film_folder(folder, path, episodes=episodes)
    if output is None:
        refresh_dashboard(stored)
    if as_json:
        click.echo(json.dumps({"trial": trial.number, "video": str(path), "scores": list(scores)}))
    else:
        shown = ", ".join(format_number(score) for score in scores) or "cut before the first episode's end"
        click.echo(f"{path}: trial {trial.number}, scores {shown}")
    if open_it:
        click.launch(str(path))
