"""`puffer-sweep confirm`: the leaders again with fresh seeds."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from sweeper.cli.options import json_option, open_study, storage_option, study_argument

if TYPE_CHECKING:
    from sweeper.repeats import Repeat


@click.command("confirm")
@study_argument
@storage_option
@click.option(
    "--top", type=click.IntRange(1), default=5, show_default=True, metavar="K", help="How many leaders."
)
@click.option(
    "--seeds", type=click.IntRange(1), default=5, show_default=True, metavar="S", help="Runs for each."
)
@json_option
def command(study: str | None, storage: str, top: int, seeds: int, *, as_json: bool) -> None:
    r"""Train the best trials again with fresh seeds and rank them by mean, with a bootstrap interval.

    STUDY is a study's name, the latest by default. What is done already is not done again.

    \b
    Example:
      puffer-sweep confirm breakout --top 5 --seeds 5
    """
    from sweeper.clock import SystemClock
    from sweeper.confirm import confirm_study
    from sweeper.results import write_results
    from sweeper.view.board import clock_text

    stored = open_study(storage, study)
    clock = SystemClock()

    def say(text: str) -> None:
        if not as_json:
            click.echo(f"{clock_text(clock.now())}  {text}")

    repeats = confirm_study(stored, storage, clock, top=top, seeds=seeds, on_note=say)
    results = write_results(stored)
    if as_json:
        click.echo(json.dumps([asdict(repeat) for repeat in repeats], indent=2))
        return
    click.echo()
    for line in ranking_lines(repeats):
        click.echo(line)
    click.echo(f"\nreport  {results.report}")


def ranking_lines(repeats: tuple[Repeat, ...]) -> list[str]:
    """The ranking as aligned lines, and what it is worth."""
    from sweeper.formatting import format_number
    from sweeper.repeats import verdict

    lines = []
    for rank, repeat in enumerate(repeats, 1):
        low, high = (format_number(bound) for bound in repeat.interval)
        number = len(repeat.scores)
        runs = "1 seed" if number == 1 else f"{number} seeds"
        lines.append(
            f"{rank:3}. trial {repeat.trial_number:<5} {format_number(repeat.mean):>9}  {low} to {high}, {runs}"
        )
    if len(repeats) > 1:
        lines += ["", verdict(repeats[0], repeats[1])]
    return lines
