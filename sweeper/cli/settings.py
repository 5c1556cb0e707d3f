"""`--section.key value` beside a command's own options, for commands that take a CONFIG.

Any setting of the INI is a flag. The command's own options are known to click; everything else that starts with
two hyphens is a setting, with the word behind it for a value, which may be negative or a list in brackets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from trainer.errors import PufferError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trainer.config import Config, Override

_META_KEY = "sweeper.settings"


class SettingsCommand(click.Command):
    """A command with a CONFIG whose settings are flags; `CONFIG --help` lists them with their values."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Sets settings aside and leaves the rest to click."""
        own, settings = split_settings(args, self._own_options(ctx))
        ctx.meta[_META_KEY] = settings
        positional = [word for word in own if not word.startswith("-")]
        ctx.meta["sweeper.config"] = positional[0] if positional else None
        return super().parse_args(ctx, own)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Usage with the settings in it."""
        return [*super().collect_usage_pieces(ctx), "[--section.key VALUE]..."]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """All settings of the config that was named, by section, behind the command's own help."""
        super().format_epilog(ctx, formatter)
        name = ctx.meta.get("sweeper.config")
        if name is None:
            with formatter.section("Settings"):
                formatter.write_text(
                    f"Every setting of the INI is a flag; puffer-sweep {self.name} CONFIG --help lists them."
                )
            return
        config = load(name, parse(ctx))
        for title, rows in setting_rows(config):
            with formatter.section(title):
                formatter.write_dl(rows, col_max=44)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Flags of settings behind the command's own options, and values where a setting has few."""
        given: list[str] = ctx.meta.get(_META_KEY, [])
        if given and "=" not in given[-1] and not incomplete.startswith("-"):
            return [CompletionItem(word) for word in complete_value(given[-1], incomplete)]
        found = super().shell_complete(ctx, incomplete)
        if incomplete.startswith("--"):
            found += [
                CompletionItem(flag) for flag in complete_settings(ctx.meta.get("sweeper.config"), incomplete)
            ]
        return found

    def _own_options(self, ctx: click.Context) -> dict[str, bool]:
        """Option string → whether a value follows it."""
        return {
            name: not (parameter.is_flag or parameter.count)
            for parameter in self.get_params(ctx)
            if isinstance(parameter, click.Option)
            for name in (*parameter.opts, *parameter.secondary_opts)
        }


def split_settings(words: Sequence[str], own_options: dict[str, bool]) -> tuple[list[str], list[str]]:
    """Splits a command line into click's part and settings as `--name=value` or bare `--name`."""
    own: list[str] = []
    settings: list[str] = []
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        name, equals, _ = word.partition("=")
        if word == "--":
            own += [word, *waiting]
            break
        if name in own_options:
            own.append(word)
            if own_options[name] and not equals and waiting:
                own.append(waiting.pop(0))
        elif word.startswith("--"):
            settings.append(word if equals else _with_value(word, waiting))
        else:
            own.append(word)
    return own, settings


def _with_value(option: str, waiting: list[str]) -> str:
    """The option with the word (or the bracketed list) that follows it; alone if none does."""
    if not waiting or waiting[0].startswith("--"):
        return option
    value = waiting.pop(0)
    while value.startswith(("[", "(")) and not _closed(value) and waiting and not waiting[0].startswith("--"):
        value = f"{value} {waiting.pop(0)}"
    return f"{option}={value}"


def _closed(text: str) -> bool:
    return text.count("[") + text.count("(") <= text.count("]") + text.count(")")


def parse(ctx: click.Context) -> tuple[Override, ...]:
    """The settings given to the command that runs in this context."""
    from trainer.config import parse_overrides

    return parse_overrides(ctx.meta.get(_META_KEY, ()))


def load(name: str, overrides: tuple[Override, ...]) -> Config:
    """The config a CONFIG argument means, with the command line's settings."""
    from trainer.config import load_config

    return load_config(name, overrides=overrides)


def setting_rows(config: Config) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Section → rows of (flag with its value, sentence), in the reference's order."""
    from trainer.config import schema

    entries = schema.entries()
    sections: dict[str, list[tuple[str, str]]] = {}
    for name, value in config.values_by_name().items():
        section = name.partition(".")[0] if name in entries else name.rpartition(".")[0]
        flag = f"--{name.removeprefix('base.').replace('_', '-')} {_shown(value)}"
        entry = entries.get(name)
        if entry is not None:
            sentence = (
                f"{entry.sentence} {entry.kind}"
                if entry.kind not in {"text", "True or False"}
                else entry.sentence
            )
        else:
            sentence = (
                schema.parameter_keys().get(name.rpartition(".")[2], "")
                if section.startswith("sweep.")
                else ""
            )
        sections.setdefault(section, []).append((flag, sentence))
    for section, rows in sections.items():
        yield f"[{section}]", rows


def _shown(value: Any) -> str:
    text = str(list(value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 28 else f"{text[:27]}…"


def complete_value(flag: str, incomplete: str) -> list[str]:
    """Values of a setting that has a fixed choice of them, for the shell."""
    from trainer.config import schema
    from trainer.config.names import normalise_name

    entry = schema.entries().get(normalise_name(flag.removeprefix("--")))
    return [] if entry is None else [choice for choice in entry.choices if choice.startswith(incomplete)]


def complete_settings(config_name: str | None, incomplete: str) -> list[str]:
    """Flags that begin with what was typed, for the shell."""
    from trainer.config import schema

    names = list(schema.entries())
    if config_name is not None:
        try:
            names = list(load(config_name, ()).values_by_name())
        except PufferError:  # an unfinished name while somebody types
            names = list(schema.entries())
    flags = [f"--{name.removeprefix('base.')}" for name in names]
    if "-" in incomplete.removeprefix("--"):
        flags = [f"--{flag.removeprefix('--').replace('_', '-')}" for flag in flags]
    return [flag for flag in flags if flag.startswith(incomplete)]
