"""A trial's folder: everything that is needed to understand and to repeat the trial.

config.ini      complete and resolved: `puffer-sweep train studies/NAME/trial-0007/config.ini` runs it again
command         the command line that started the sweep
versions.json   whose folder it is; packages, machine, commit
changes.diff    how the code differed from that commit, if it did
log.txt         what the trial printed
video.mp4       a few episodes of its agent, if it was filmed
curve.jsonl     one line an epoch, written by the worker: nothing of a curve is lost with the sweep
checkpoints/    the trainer's
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from typing import IO, TYPE_CHECKING, Any

from sweeper.provenance import code_folder, git_commit, git_diff, machine_facts, versions
from sweeper.records import CurvePoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CONFIG_FILE = "config.ini"
COMMAND_FILE = "command"
VERSIONS_FILE = "versions.json"
DIFF_FILE = "changes.diff"
LOG_FILE = "log.txt"
VIDEO_FILE = "video.mp4"
CURVE_FILE = "curve.jsonl"

_CHECKPOINTS = "checkpoints"
_LOG_TAIL_BYTES = 8192


def write_folder(folder: Path, config_text: str, command: str, owner: str | None = None) -> None:
    """Make a trial's folder with everything that is known before it starts.

    Args:
        folder: the trial's.
        config_text: its INI.
        command: that started the sweep.
        owner: the trial's uuid. What another trial has left under the same number (of a study that was deleted, or
            that a database which a backup has replaced knew of) is removed. None where trials do not go on.
    """
    if owner is not None and folder_owner(folder) not in (None, owner):
        _forget(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / CONFIG_FILE, config_text)
    write_text(folder / COMMAND_FILE, command + "\n")
    commit = git_commit(code_folder())
    facts = {"trial": owner, "versions": versions(), "machine": machine_facts(), "commit": commit}
    write_text(folder / VERSIONS_FILE, json.dumps(facts, indent=2) + "\n")
    if commit is not None and commit.endswith("+"):
        write_text(folder / DIFF_FILE, git_diff(code_folder()))


def folder_owner(folder: Path) -> str | None:
    """The uuid of the trial whose folder this is; None if it does not say."""
    try:
        content = json.loads((folder / VERSIONS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content.get("trial") if isinstance(content, dict) else None


def _forget(folder: Path) -> None:
    """Remove what a trial leaves, the notes of whose it was last: cut short, it is done again."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder / _CHECKPOINTS)
    for name in (CURVE_FILE, LOG_FILE, VIDEO_FILE, DIFF_FILE, VERSIONS_FILE):
        (folder / name).unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all. Not forced to the disk: all of it can be made again."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint of a trial, told by its name alone; None if there is none."""
    found = sorted((folder / _CHECKPOINTS).glob("epoch-*.pt"))
    return found[-1] if found else None


def log_tail(folder: Path, num_lines: int = 30) -> str:
    """The last lines of a trial's log; empty if there is none."""
    try:
        with (folder / LOG_FILE).open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _LOG_TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-num_lines:])


class CurveFile:
    """The worker's own record of a curve.

    Args:
        folder: the trial's.
        from_steps: what lies beyond is dropped: the run goes on from a checkpoint of these steps (0: anew).
    """

    def __init__(self, folder: Path, from_steps: int) -> None:
        self.path = folder / CURVE_FILE
        self.kept = [point for point in read_curve_file(folder) if point.agent_steps <= from_steps]
        folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(_line(point) for point in self.kept)
        write_text(self.path, lines)
        self._file: IO[str] = self.path.open("a", encoding="utf-8")

    def add(self, point: CurvePoint) -> None:
        """Append an epoch; survives the process, though not a power cut."""
        self._file.write(_line(point))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_curve_file(folder: Path) -> list[CurvePoint]:
    """The epochs that a worker has noted, strictly increasing; a line that a power cut has torn ends it."""
    try:
        lines = (folder / CURVE_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    points: list[CurvePoint] = []
    for line in lines:
        try:
            point = _point(json.loads(line))
        except (ValueError, TypeError, KeyError):
            break
        if points and point.agent_steps <= points[-1].agent_steps:
            break
        points.append(point)
    return points


def _line(point: CurvePoint) -> str:
    content = {
        "agent_steps": point.agent_steps,
        "cost_seconds": point.cost_seconds,
        "score": point.score,
        "metrics": dict(point.metrics),
    }
    return json.dumps(content) + "\n"


def _point(content: Mapping[str, Any]) -> CurvePoint:
    return CurvePoint(
        int(content["agent_steps"]),
        float(content["cost_seconds"]),
        content["score"],
        dict(content["metrics"]),
    )


def folder_bytes(folders: Sequence[Path]) -> int:
    """Bytes that folders take with everything in them; files that vanish meanwhile count nothing."""
    total = 0
    for folder in folders:
        for path in folder.rglob("*"):
            try:
                total += path.stat().st_size if path.is_file() else 0
            except OSError:
                continue
    return total
