"""`puffer-sweep export`: the best config, or another trial's, as a complete INI."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sweeper.cli.options import open_study, storage_option, study_argument


@click.command("export")
@study_argument
@storage_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File to write; with --pareto a folder. [default: standard output]",
)
@click.option(
    "--trial", "number", type=click.IntRange(0), metavar="N", help="This trial instead of the best."
)
@click.option(
    "--confirmed", is_flag=True, help="The leader by mean over fresh seeds; see puffer-sweep confirm."
)
@click.option("--pareto", is_flag=True, help="One file for each trial of the front of score over cost.")
@click.option(
    "--like",
    "template",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Put the values into a copy of FILE, with its comments and order kept.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON for machines.")
def command(
    study: str | None,
    storage: str,
    output: Path | None,
    number: int | None,
    template: Path | None,
    *,
    confirmed: bool,
    pareto: bool,
    as_json: bool,
) -> None:
    r"""Write the best config of a study as a complete INI that trains the same agent again.

    STUDY is a study's name, the latest by default.

    \b
    Examples:
      puffer-sweep export breakout -o best.ini
      puffer-sweep export breakout --trial 7 --like mine.ini -o mine-better.ini
      puffer-sweep export breakout --pareto -o front/
    """
    from sweeper.export import as_json as to_json
    from sweeper.export import (
        choose_trial,
        confirmed_leader,
        export_trial,
        merge_into,
        pareto_trials,
        write_file,
    )

    if pareto and (number is not None or template is not None or confirmed):
        raise click.UsageError("--pareto goes with neither --trial nor --confirmed nor --like.")
    if confirmed and number is not None:
        raise click.UsageError("--trial and --confirmed exclude each other.")
    if template is not None and as_json:
        raise click.UsageError("--like and --json exclude each other.")
    stored = open_study(storage, study)
    if pareto:
        exports = [export_trial(stored, trial) for trial in pareto_trials(stored)]
        if as_json:
            text = json.dumps([exported.record() for exported in exports], indent=2, default=str)
            _write(output, text + "\n", what="")
            return
        if output is None:
            raise click.UsageError("--pareto writes several files: name a folder with -o.")
        for exported in exports:
            path = output / f"trial-{exported.trial.number:04d}.ini"
            write_file(path, exported.text)
            click.echo(str(path))
        return
    chosen = confirmed_leader(stored) if confirmed else choose_trial(stored, number)
    exported = export_trial(stored, chosen)
    if as_json:
        _write(output, to_json(exported) + "\n", what="")
        return
    text = exported.text if template is None else merge_into(exported, template)
    _write(output, text, what=f"trial {exported.trial.number} of {stored.name}")


def _write(output: Path | None, text: str, *, what: str) -> None:
    from sweeper.export import write_file

    if output is None:
        click.echo(text, nl=False)
        return
    write_file(output, text)
    click.echo(f"{output}: {what}" if what else str(output))
