"""A run's learning curve in files: JSON lines, and TensorBoard's events on request.

A log is checked when it is made and opened at the first epoch, so that a run which never begins leaves nothing behind.
"""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any, Protocol

from trainer.errors import MissingExtraError, Place, PufferError

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.records import Progress


class RunLog(Protocol):
    """Takes a run down, epoch by epoch."""

    def write(self, progress: Progress) -> None:
        """Append an epoch."""

    def close(self) -> None:
        """Write out what is left."""


class JsonLinesLog:
    """One line an epoch, written out at once, so that a crash loses nothing.

    Args:
        path: of the file; its folder is made.
        from_steps: agent steps of the checkpoint that the run goes on from. Lines beyond it are an earlier attempt's
            and are dropped; 0 begins the file anew.

    Raises:
        PufferError: there is a file that is no such log, or it cannot be read.
    """

    def __init__(self, path: Path, from_steps: int = 0) -> None:
        self._path = path
        self._kept = [line for line in read_lines(path) if line["agent_steps"] <= from_steps]
        self._file: IO[str] | None = None

    def write(self, progress: Progress) -> None:
        """Append an epoch.

        Raises:
            PufferError: the file cannot be written.
        """
        line = {
            "epoch": progress.epoch,
            "agent_steps": progress.agent_steps,
            "uptime_seconds": progress.uptime_seconds,
            "steps_per_second": progress.steps_per_second,
            "score": progress.score,
            **progress.metrics,
        }
        try:
            if self._file is None:
                self._file = self._begin()
            self._file.write(json.dumps(line, allow_nan=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise _unusable(self._path, "cannot be written", error) from error

    def _begin(self) -> IO[str]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_name(self._path.name + ".partial")
        partial.write_text("".join(json.dumps(line) + "\n" for line in self._kept), encoding="utf-8")
        partial.replace(self._path)
        return self._path.open("a", encoding="utf-8")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a log, none if there is no file; a last line that a crash cut short is left out.

    Raises:
        PufferError: the file is no such log, or it cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        content = [json.loads(line) for line in lines if line.endswith("\n")]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unusable(path, "cannot be read", error) from error
    except ValueError as error:
        raise _foreign(path) from error
    if not all(isinstance(line, dict) and isinstance(line.get("agent_steps"), int) for line in content):
        raise _foreign(path)
    # A file that begins within its first line is only half ours if that line begins as ours do.
    if lines and not content and not lines[0].startswith("{"):
        raise _foreign(path)
    return content


def _unusable(path: Path, what: str, error: OSError) -> PufferError:
    return PufferError(
        f"The log {what}: {error.strerror or error}.",
        place=Place(file=str(path)),
        remedy="Choose another place for it.",
    )


def _foreign(path: Path) -> PufferError:
    return PufferError(
        "This file is no log of a run, and is left as it is.",
        place=Place(file=str(path)),
        remedy="Choose another place for the log.",
    )


class TensorBoardLog:
    """Every metric as a scalar over agent steps.

    Args:
        folder: where TensorBoard looks.
        from_steps: agent steps of the checkpoint that the run goes on from; TensorBoard hides what an earlier attempt
            wrote beyond it.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """

    def __init__(self, folder: Path, from_steps: int = 0) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("tensorboard", extra="tensorboard", purpose="TensorBoard logs") from error
        self._make_writer = SummaryWriter
        self._folder = folder
        self._from_steps = from_steps
        self._writer: Any = None

    def write(self, progress: Progress) -> None:
        """Append an epoch.

        Raises:
            PufferError: the folder cannot be written to.
        """
        values = {**progress.metrics, "steps_per_second": progress.steps_per_second}
        if progress.score is not None:
            values["score"] = progress.score
        try:
            if self._writer is None:
                self._writer = self._begin()
            for name, value in values.items():
                self._writer.add_scalar(name, value, progress.agent_steps)
        except OSError as error:
            raise _unusable(self._folder, "cannot be written", error) from error

    def _begin(self) -> Any:
        self._folder.mkdir(parents=True, exist_ok=True)
        purge_step = self._from_steps + 1 if self._from_steps else None
        return self._make_writer(str(self._folder), purge_step=purge_step)

    def close(self) -> None:
        """Write out what is left."""
        if self._writer is not None:
            self._writer.close()
