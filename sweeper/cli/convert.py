"""`puffer-sweep convert`: a config of another dialect in this project's own."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("convert")
@click.argument("old", metavar="OLD.ini", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="NEW.ini",
    help="File to write. [default: standard output]",
)
@click.option(
    "--default",
    "defaults",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What OLD.ini was meant to be merged over (its own default.ini); may be given several times.",
)
@click.option("--partial", is_flag=True, help="Write what has a counterpart and list the rest in comments.")
@click.option("--force", is_flag=True, help="Replace NEW.ini if it exists.")
def command(
    old: Path, output: Path | None, defaults: tuple[Path, ...], *, partial: bool, force: bool
) -> None:
    r"""Translate a config of PufferLib 2.0, 2.5, 3.0 or 4.0 into this project's dialect.

    Every translation is listed. A setting without counterpart is an error that names all of them.

    \b
    Examples:
      puffer-sweep convert old/breakout.ini -o breakout.ini
      puffer-sweep convert old/breakout.ini --default old/default.ini -o breakout.ini
      puffer-sweep convert pufferlib4/breakout.ini --partial -o breakout.ini
    """
    from trainer.config.convert import convert_file
    from trainer.errors import ConfigError, Place

    if output is not None and output.exists() and not force:
        raise ConfigError(
            "the file exists already",
            place=Place(file=str(output)),
            remedy="Choose another with -o, or replace it with --force.",
        )
    conversion = convert_file(old, defaults, partial=partial)
    for line in conversion.notes:
        click.echo(line, err=True)
    for line in conversion.left_out:
        click.echo(f"Left out: {line}", err=True)
    if output is None:
        click.echo(conversion.text, nl=False)
        return
    from sweeper.export import write_file

    write_file(output, conversion.text)
    click.echo(f"{output}: {old} in this project's dialect (from that of {conversion.dialect})", err=True)
