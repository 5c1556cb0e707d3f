"""`puffer-sweep retry`: failed trials run again."""

from __future__ import annotations

import click

from sweeper.cli.options import open_study, storage_option, study_argument
from sweeper.errors import SweepError
from sweeper.records import TrialState


@click.command("retry")
@study_argument
@storage_option
@click.option(
    "--trial",
    "numbers",
    type=click.IntRange(0),
    multiple=True,
    metavar="N",
    help="Only this one; may be repeated.",
)
def command(study: str | None, storage: str, numbers: tuple[int, ...]) -> None:
    r"""Put failed trials back into the queue: all of them, or those that --trial names.

    STUDY is a study's name, the latest by default.

    \b
    Examples:
      puffer-sweep retry breakout
      puffer-sweep retry breakout --trial 7 --trial 9
    """
    from sweeper.at_once import ask
    from sweeper.store import RequestKind

    stored = open_study(storage, study)
    failed = [
        trial.number
        for trial in stored.trials()
        if trial.state is TrialState.FAILED and "retried_as" not in trial.attributes
    ]
    wrong = [number for number in numbers if number not in failed]
    if wrong:
        stored.trial(wrong[0])
        raise SweepError(
            f"Trial {wrong[0]} of {stored.name} has not failed.", rule="Only failed trials run again."
        )
    chosen = list(numbers) or failed
    if not chosen:
        click.echo(f"No trial of {stored.name} has failed.")
        return
    words = "1 trial" if len(chosen) == 1 else f"{len(chosen)} trials"
    click.echo(f"{stored.name}: {words} again. {ask(stored, RequestKind.RETRY, {'trials': chosen})}")
