"""The command line: `puffer-sweep COMMAND …`, one file a command, each imported only when it is called."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from sweeper.cli.group import CommandGroup
from trainer.errors import PufferError

if TYPE_CHECKING:
    from collections.abc import Sequence

FAILURE = 1
INTERRUPTED = 130


@click.group(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    invoke_without_command=False,
)
@click.version_option(package_name="puffer-sweep", prog_name="puffer-sweep")
def cli() -> None:
    """Hyperparameter sweeps for reinforcement learning: one INI file in, a study out.

    Begin with: puffer-sweep start config/atari.ini
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits: 0 done, 1 a mistake a person can act on, 2 wrong usage, 130 Ctrl-C.

    Anything that is not a `PufferError` or wrong usage is a bug and shows its traceback.
    """
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Like `main`, but returns the exit code."""
    try:
        code = cli.main(
            args=None if arguments is None else list(arguments),
            prog_name="puffer-sweep",
            standalone_mode=False,
        )
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    except PufferError as error:
        click.echo(f"{click.style('Error:', fg='red', bold=True)} {error.paragraph()}", err=True)
        return FAILURE
    except BrokenPipeError:
        # Whoever read our output (head, less) has had enough. Python would complain again at exit.
        sys.stderr.close()
        return FAILURE
    return code if isinstance(code, int) else 0
