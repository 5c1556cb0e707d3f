"""`puffer-sweep eval`: the scores of an agent over whole episodes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sweeper.cli.options import complete_study, json_option, open_study, storage_option
from sweeper.folder import CONFIG_FILE, newest_checkpoint
from sweeper.video import no_checkpoint

if TYPE_CHECKING:
    from trainer.config import Config
    from trainer.records import Evaluation

_FILMED = 3


@click.command("eval")
@click.argument("what", metavar="[STUDY_OR_CHECKPOINT]", required=False, shell_complete=complete_study)
@storage_option
@click.option(
    "--trial", "number", type=click.IntRange(0), metavar="N", help="This trial of the study, not the best."
)
@click.option(
    "--episodes", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="How many."
)
@click.option("--seed", type=int, default=None, metavar="N", help="Seed of the episodes.")
@click.option("--greedy", is_flag=True, help="Take the likeliest actions instead of sampling them.")
@click.option(
    "--video",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Film the first three of them, too, as MP4 (extra video).",
)
@json_option
def command(
    what: str | None,
    storage: str,
    number: int | None,
    episodes: int,
    seed: int | None,
    video: Path | None,
    *,
    greedy: bool,
    as_json: bool,
) -> None:
    r"""Evaluate an agent over whole episodes.

    The argument is a study (its best trial is taken), the folder of a run, or a checkpoint; the latest study by
    default.

    \b
    Examples:
      puffer-sweep eval breakout --greedy --video breakout.mp4
      puffer-sweep eval experiments/best-breakout-0001 --episodes 100
    """
    from sweeper.cli.train import prepare_threads
    from sweeper.formatting import format_number

    checkpoint = find_checkpoint(what, storage, number)
    config = find_config(checkpoint).override({"train.device": "auto"})
    prepare_threads(config)

    from sweeper.trial import evaluate_alone, record_alone

    result = evaluate_alone(config, checkpoint, episodes=episodes, seed=seed, greedy=greedy)
    if video is not None:
        seeded = {} if seed is None else {"seed": seed}
        record_alone(config, checkpoint, video, episodes=min(_FILMED, episodes), greedy=greedy, **seeded)
    if as_json:
        record = evaluation_record(result, checkpoint)
        click.echo(json.dumps(record if video is None else {**record, "video": str(video)}, indent=2))
    else:
        click.echo(
            f"{config.sweep.metric} {format_number(result.mean)} over {count_episodes(episodes)}", nl=False
        )
        low, high = (format_number(bound) for bound in result.interval)
        spread = f" (95 % interval {low} to {high}, deviation {format_number(result.deviation)})"
        click.echo(spread if episodes > 1 else "")
        if result.truncated_episodes:
            click.echo(f"cut off before their end: {count_episodes(result.truncated_episodes)}")
        click.echo(f"checkpoint {checkpoint}")
        if video is not None:
            click.echo(f"video {video}")


def find_checkpoint(what: str | None, storage: str, number: int | None) -> Path:
    """The checkpoint that a study, a folder or a file means.

    Raises:
        SweepError: there is none.
    """
    path = Path(what) if what is not None else None
    if path is not None and path.is_file():
        return path
    if path is not None and path.is_dir():
        folder = path
    else:
        from sweeper.export import choose_trial

        study = open_study(storage, what)
        folder = study.trial_folder(choose_trial(study, number).number)
    checkpoint = newest_checkpoint(folder)
    if checkpoint is None:
        raise no_checkpoint(folder)
    return checkpoint


def find_config(checkpoint: Path) -> Config:
    """The config of the run that a checkpoint belongs to: from the run's folder, or from the checkpoint itself.

    Raises:
        PufferError: neither can be read.
    """
    from trainer.config import load_config_file

    folder = checkpoint.resolve().parent.parent
    if (folder / CONFIG_FILE).is_file():
        return load_config_file(folder / CONFIG_FILE, fill_in_default=False)
    from sweeper.trial import config_of_checkpoint

    return config_of_checkpoint(checkpoint)


def count_episodes(number: int) -> str:
    """As in `1 episode`, `20 episodes`."""
    return f"{number} episode" if number == 1 else f"{number} episodes"


def evaluation_record(result: Evaluation, checkpoint: Path) -> dict[str, Any]:
    """An evaluation as JSON shows it."""
    return {
        "mean": result.mean,
        "deviation": result.deviation,
        "interval": list(result.interval),
        "scores": list(result.scores),
        "lengths": list(result.lengths),
        "truncated_episodes": result.truncated_episodes,
        "checkpoint": str(checkpoint),
    }
