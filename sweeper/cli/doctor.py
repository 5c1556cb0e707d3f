"""`puffer-sweep doctor`: what this machine can do."""

from __future__ import annotations

import json

import click

from sweeper.cli.options import json_option


@click.command("doctor")
@json_option
def command(*, as_json: bool) -> None:
    r"""Say what this machine can do: devices, environments, SQLite, versions, optional packages.

    Exits with 1 if something that every sweep needs is missing.

    \b
    Example:
      puffer-sweep doctor
    """
    from sweeper.diagnosis import Grade, diagnose

    findings = diagnose()
    if as_json:
        rows = [
            {"topic": f.topic, "grade": f.grade.value, "text": f.text, "remedy": f.remedy} for f in findings
        ]
        click.echo(json.dumps(rows, indent=2))
    else:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        marks = {Grade.GOOD: ("✓", "green"), Grade.MISSING: ("–", "dim"), Grade.BAD: ("✗", "red")}
        grid = Table.grid(padding=(0, 2))
        grid.add_column(width=1)
        grid.add_column(style="bold", no_wrap=True)
        grid.add_column(overflow="fold")
        for finding in findings:
            mark, style = marks[finding.grade]
            text = Text(finding.text, style="dim" if finding.grade is Grade.MISSING else "")
            if finding.remedy:
                text.append(f"  {finding.remedy}", style="dim")
            grid.add_row(Text(mark, style=style), finding.topic, text)
        Console(highlight=False).print(grid)
    if any(finding.grade is Grade.BAD for finding in findings):
        raise click.exceptions.Exit(1)
