"""Ending processes for good: a worker, its process group, and whatever it has let loose.

Every worker carries a token in its environment, which all its descendants inherit, also those that have left
its process group: that is how they are found, even by the next sweep after everything was killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

import psutil

TOKEN_VARIABLE = "PUFFER_SWEEP_WORKER"  # noqa: S105 - a name, not a secret
_PR_SET_PDEATHSIG = 1


def kill_tree(pid: int, token: str | None = None) -> None:
    """Kill a worker that leads its process group, with its group, its descendants and all that carry its token."""
    descendants: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        descendants = psutil.Process(pid).children(recursive=True)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for process in descendants:
        with contextlib.suppress(psutil.Error):
            process.kill()
    if token is not None:
        kill_bearers(token)


def kill_bearers(token: str, *, but: str | None = None) -> int:
    """Kill every process of this user whose environment carries a token that begins so; how many there were.

    Args:
        token: the beginning of a token.
        but: those whose token begins so are spared.
    """
    killed = 0
    spared = set() if but is None else set(bearers(but))
    for pid in bearers(token):
        if pid in spared:
            continue
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
            killed += 1
    return killed


def bearers(token: str) -> list[int]:
    """Processes, other than this one, whose environment carries a token that begins so. Linux only, else none."""
    wanted = f"{TOKEN_VARIABLE}={token}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        if (
            any(entry.startswith(wanted) for entry in environment.split(b"\0"))
            and int(folder.name) != os.getpid()
        ):
            found.append(int(folder.name))
    return found


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent ends. Linux only; elsewhere the closed pipe must do.

    Ends the process at once if the parent has already gone.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def prefer_as_victim() -> None:
    """Let the kernel, when memory runs out, end this process before the sweep. Linux only."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("600", encoding="ascii")


def tree_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants."""
    try:
        process = psutil.Process(pid)
        members = [process, *process.children(recursive=True)]
    except psutil.Error:
        return 0
    total = 0
    for member in members:
        with contextlib.suppress(psutil.Error):
            total += member.memory_info().rss
    return total


def kernel_kills() -> int:
    """How many processes the kernel has ended for lack of memory since it started; 0 where that is not told."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
