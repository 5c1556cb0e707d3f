"""A run's learning curve in files: JSON lines, and TensorBoard's events on request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from trainer.errors import MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.records import Progress


class JsonLinesLog:
    """One line an epoch, written out at once, so that a crash loses nothing.

    Args:
        path: appended to; a run that is resumed overwrites what lies beyond its checkpoint.
        from_epoch: epochs already done; later lines of an earlier attempt are dropped.
    """

    def __init__(self, path: Path, from_epoch: int = 0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [line for line in read_lines(path) if line["epoch"] <= from_epoch]
        self._file = path.open("w", encoding="utf-8")
        for line in kept:
            self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def write(self, progress: Progress) -> None:
        """Append an epoch."""
        line = {
            "epoch": progress.epoch,
            "agent_steps": progress.agent_steps,
            "uptime_seconds": progress.uptime_seconds,
            "steps_per_second": progress.steps_per_second,
            "score": progress.score,
            **progress.metrics,
        }
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a log; a last line that a crash cut short is left out."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


class TensorBoardLog:
    """Every metric as a scalar over agent steps.

    Args:
        folder: where TensorBoard looks.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("tensorboard", extra="tensorboard", purpose="TensorBoard logs") from error
        self._writer: Any = SummaryWriter(str(folder))

    def write(self, progress: Progress) -> None:
        """Append an epoch."""
        values = {**progress.metrics, "steps_per_second": progress.steps_per_second}
        if progress.score is not None:
            values["score"] = progress.score
        for name, value in values.items():
            self._writer.add_scalar(name, value, progress.agent_steps)

    def close(self) -> None:
        """Write out what is left."""
        self._writer.close()
