"""The list of commands, with a line for each, so that `puffer-sweep --help` imports none of them."""

from __future__ import annotations

import difflib
from importlib import import_module

import click

GROUPS: dict[str, dict[str, str]] = {
    "Sweep": {
        "start": "Run a sweep, or continue it.",
        "check": "Validate a config and show its search space; runs nothing.",
        "stop": "End a running sweep cleanly.",
        "extend": "Give a study a larger budget.",
        "retry": "Run failed trials again.",
        "delete": "Remove a study.",
    },
    "Results": {
        "list": "Show all studies.",
        "status": "Show how a study stands.",
        "report": "Write one self-contained HTML page.",
        "export": "Write the best config as a complete INI.",
        "confirm": "Train the leaders again with fresh seeds.",
        "compare": "Put several studies side by side.",
        "video": "Film the best trial's agent, or another's.",
        "dashboard": "Open optuna-dashboard on a study.",
    },
    "One run": {
        "train": "Train one config.",
        "eval": "Evaluate an agent.",
    },
    "Surroundings": {
        "envs": "List the environments that can be made here.",
        "doctor": "Say what this machine can do.",
        "convert": "Translate a config of another PufferLib version.",
    },
}

SUMMARIES = {name: summary for commands in GROUPS.values() for name, summary in commands.items()}


class CommandGroup(click.Group):
    """Imports `sweeper.cli.NAME` when NAME is called; lists commands by what they are for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        """All commands, in the order of the help text."""
        return list(SUMMARIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """The command of that name, imported now; None if there is none."""
        if cmd_name not in SUMMARIES:
            return None
        command = import_module(f"sweeper.cli.{module_name(cmd_name)}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"sweeper.cli.{module_name(cmd_name)}.command is no command")
        if command.help:  # docstrings are raw, so that a backslash in one is what it looks like
            command.help = command.help.replace("\\b\n", "\b\n")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with the nearest command's name in the complaint."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in SUMMARIES:
            near = difflib.get_close_matches(name, SUMMARIES, n=1, cutoff=0.6)
            hint = f" Did you mean {near[0]!r}?" if near else " See puffer-sweep --help."
            ctx.fail(f"There is no command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Commands under their headings."""
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()), col_max=14)


def module_name(command: str) -> str:
    """The module a command lives in; names that Python or the house has taken get a tail."""
    return f"{command}_command" if command in {"list", "eval", "compare"} else command
