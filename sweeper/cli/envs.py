"""`puffer-sweep envs`: the environments that can be made here."""

from __future__ import annotations

import json

import click

from sweeper.cli.options import json_option

_MOST_NAMES = 150
"""Of one package, where no pattern was given."""


@click.command("envs")
@click.argument("pattern", required=False, default="")
@json_option
def command(pattern: str, *, as_json: bool) -> None:
    r"""List environments: those with a config of their own and all that the installed packages know.

    PATTERN keeps names (or packages) that contain it, in any case. An environment of your own needs no
    listing: its env_name is my_module:make_env.

    \b
    Examples:
      puffer-sweep envs
      puffer-sweep envs cart
    """
    from sweeper.environments import list_environments

    found = [e for e in list_environments() if pattern.lower() in f"{e.package}/{e.name}".lower()]
    if as_json:
        rows = [{"package": e.package, "name": e.name, "config": e.config, "extra": e.extra} for e in found]
        click.echo(json.dumps(rows, indent=2))
        return
    if not found:
        raise click.UsageError(f"No environment contains {pattern!r}. See puffer-sweep envs.")
    from rich.columns import Columns
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    groups: dict[tuple[str, str], list[str]] = {}
    for environment in found:
        groups.setdefault((environment.package, environment.extra), []).append(
            f"{environment.name}*" if environment.config else environment.name
        )
    for (package, extra), names in groups.items():
        console.print(f"{package}", style="bold", end="")
        console.print(
            f"  needs pip install 'puffer-sweep[{extra}]'" if extra else f"  {len(names)}", style="dim"
        )
        if pattern or len(names) <= _MOST_NAMES:
            console.print(Columns(names, padding=(0, 2)))
        else:
            shown = [name for name in names if name.endswith("*")]
            if shown:
                console.print(Columns(shown, padding=(0, 2)))
            console.print(f"puffer-sweep envs {package} lists them all.", style="dim")
        console.print()
    console.print("* has a config: puffer-sweep start NAME", style="dim")
