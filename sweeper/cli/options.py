"""Options and arguments that several commands share, and their completion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from sweeper.store import Store, StoredStudy

Function = TypeVar("Function", bound=Callable[..., Any])

DEFAULT_STORAGE = "studies/studies.db"


def storage_option(function: Function) -> Function:
    """`--storage`."""
    return click.option(
        "--storage",
        default=DEFAULT_STORAGE,
        envvar="PUFFER_SWEEP_STORAGE",
        show_default=True,
        metavar="URL",
        help="Database of studies: a path to a SQLite file, or an SQLAlchemy URL.",
    )(function)


def artifacts_option(function: Function) -> Function:
    """`--artifacts`."""
    return click.option(
        "--artifacts",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Where study folders lie. [default: beside the database]",
    )(function)


def plain_option(function: Function) -> Function:
    """`--plain`."""
    return click.option("--plain", is_flag=True, help="Plain lines with times instead of a live screen.")(
        function
    )


def json_option(function: Function) -> Function:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="JSON for machines.")(function)


def study_argument(function: Function) -> Function:
    """`[STUDY]`, the latest by default."""
    return click.argument("study", required=False, shell_complete=complete_study)(function)


def config_argument(function: Function) -> Function:
    """`CONFIG`: a path or an environment's name."""
    return click.argument("config", metavar="CONFIG", shell_complete=complete_config)(function)


def open_for_reading(storage: str) -> Store:
    """The store, which must be there.

    Raises:
        StorageError: there is no such database.
    """
    from sweeper.store import open_store

    return open_store(storage, must_exist=True)


def open_study(storage: str, name: str | None) -> StoredStudy:
    """A study by name, or the latest.

    Raises:
        StorageError: there is no such database.
        StudyNotFoundError: no such study, or none at all.
    """
    store = open_for_reading(storage)
    return store.open(name if name is not None else store.latest())


def complete_study(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Names of studies for the shell."""
    from trainer.errors import PufferError

    try:
        store = open_for_reading(context.params.get("storage") or DEFAULT_STORAGE)
        return [info.name for info in store.studies() if info.name.startswith(incomplete)]
    except PufferError:  # the shell asks while somebody types: no database yet is no reason to complain
        return []


def complete_config(_: click.Context, __: click.Parameter, incomplete: str) -> list[Any]:
    """INI files below the working directory and names of environments, for the shell."""
    from click.shell_completion import CompletionItem

    from trainer.config import files

    folder = Path(incomplete).parent if "/" in incomplete else Path()
    paths = sorted(
        [str(path) for path in folder.glob("*.ini")]
        + [f"{path}/" for path in folder.iterdir() if path.is_dir()]
        if folder.is_dir()
        else []
    )
    folders = (Path("config"), files.shipped_folder())
    names = sorted(
        {n for folder in folders for listing in files.list_configs(folder) for n in listing.env_names}
    )
    return [CompletionItem(word) for word in [*paths, *names] if word.startswith(incomplete)]
