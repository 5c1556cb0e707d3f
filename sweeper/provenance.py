"""Where a result came from: versions, the code's commit, the machine. Nothing here imports torch."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

from trainer.machine import processor_name

PACKAGES = (
    "puffer-sweep",
    "torch",
    "numpy",
    "optuna",
    "gymnasium",
    "ale-py",
    "envpool",
    "procgen2",
    "pufferlib",
    "sqlalchemy",
    "ray",
)
"""Distributions whose versions can change a result."""

_GIT_TIMEOUT_SECONDS = 10.0
_LONGEST_DIFF_BYTES = 4_000_000


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python and of every installed package that can change a result."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def own_version() -> str:
    """The version of puffer-sweep."""
    return versions().get("puffer-sweep", "unknown")


@functools.cache
def git_commit(folder: Path) -> str | None:
    """The commit of the repository that `folder` lies in, with `+` behind it if files differ; None without one."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return commit.strip() + ("+" if changed else "")


@functools.cache
def git_diff(folder: Path) -> str:
    """What differs from the commit in tracked files; empty where nothing does or where there is no repository."""
    diff = _git(folder, "diff", "HEAD") or ""
    if len(diff) > _LONGEST_DIFF_BYTES:
        return diff[:_LONGEST_DIFF_BYTES] + "\n… cut off: the difference is larger than 4 MB.\n"
    return diff


def code_folder() -> Path:
    """The folder that holds the running code, whose repository (if it is one) is meant by "the commit"."""
    return Path(__file__).resolve().parent


def machine_facts() -> dict[str, str | int]:
    """Host, processor and system, as a person wants to read them."""
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "processor": processor_name(),
        "cores": os.cpu_count() or 1,
    }


def command_text(command: tuple[str, ...] | None = None) -> str:
    """A command line that can be pasted into a shell."""
    return shlex.join(command or sys.argv)


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(  # noqa: S603 - fixed program and arguments, no shell
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - the user's own git
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_GIT_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout if result.returncode == 0 else None
