"""One training run outside a sweep, in a folder like a trial's."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from sweeper.errors import SweepError
from sweeper.folder import CurveFile, newest_checkpoint, write_folder
from sweeper.provenance import command_text
from sweeper.records import CurvePoint, Observation
from sweeper.score import final_score
from trainer.config import dump_config
from trainer.errors import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from trainer.config import Config
    from trainer.records import Directive, Progress, TrainResult


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended.

    Attributes:
        result: the trainer's.
        score: mean of the last tenth of the curve; None when no episode ended.
        folder: with config.ini, curve.jsonl and checkpoints/.
    """

    result: TrainResult
    score: float | None
    folder: Path


def train_in_folder(
    config: Config,
    folder: Path,
    on_progress: Callable[[Progress], None],
    *,
    resume: bool = False,
    jsonl: Path | None = None,
    tensorboard: Path | None = None,
) -> RunEnd:
    """Trains as a config says and keeps config, curve and checkpoints in a folder.

    Ctrl-C asks for a checkpoint and an end after the current epoch; a second one raises KeyboardInterrupt.

    Args:
        config: resolved or not.
        folder: of the run.
        on_progress: called once an epoch.
        resume: go on from the folder's newest checkpoint.
        jsonl: a file for every epoch's metrics as JSON lines, besides the folder's own curve.
        tensorboard: a folder for the same as TensorBoard's events.

    Raises:
        SweepError: there is nothing to resume.
        PufferError: see `trainer.train` and `sweeper.trial.make_logs`.
    """
    from sweeper.trial import checkpoint_steps, make_logs, train_alone
    from trainer.records import Directive

    resume_from = newest_checkpoint(folder) if resume else None
    if resume and resume_from is None:
        raise SweepError(
            "There is no checkpoint to go on from.",
            place=Place(file=str(folder)),
            remedy="Name the folder of an earlier run with -o, or leave --resume out.",
        )
    from_steps = checkpoint_steps(resume_from) if resume_from is not None else 0
    notebook = _Notebook(config, folder, from_steps)
    with ExitStack() as open_files, _stop_on_interrupt() as asked, notebook:
        logs = make_logs(jsonl, tensorboard, from_steps)
        for log in logs:
            open_files.callback(log.close)

        def receive(progress: Progress) -> Directive:
            notebook.add(progress)
            for log in logs:
                log.write(progress)
            on_progress(progress)
            return Directive.PAUSE if asked.is_set() else Directive.CONTINUE

        result = train_alone(config, receive, folder=folder, resume_from=resume_from)
    score = final_score("last", notebook.curve, config.train.total_timesteps)
    return RunEnd(result, score, folder)


class _Notebook:
    """The run's folder: nothing is written before the first epoch, so that a mistake leaves nothing behind."""

    def __init__(self, config: Config, folder: Path, from_steps: int) -> None:
        self.curve: list[Observation] = []
        self._config = config
        self._folder = folder
        self._from_steps = from_steps
        self._file: CurveFile | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, progress: Progress) -> None:
        """Keeps an epoch."""
        if self._file is None:
            write_folder(self._folder, dump_config(self._config), command_text())
            self._file = CurveFile(self._folder, self._from_steps)
            for kept in self._file.kept:
                self._remember(kept)
        point = CurvePoint(
            progress.agent_steps, progress.uptime_seconds, progress.score, dict(progress.metrics)
        )
        self._file.add(point)
        self._remember(point)

    def _remember(self, point: CurvePoint) -> None:
        if point.score is not None:
            self.curve.append(Observation(point.agent_steps, point.cost_seconds, point.score))


@contextmanager
def _stop_on_interrupt() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second one does what it always does."""
    asked = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def handle(*_: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    is_main = threading.current_thread() is threading.main_thread()
    if is_main:
        signal.signal(signal.SIGINT, handle)
    try:
        yield asked
    finally:
        if is_main:
            signal.signal(signal.SIGINT, before)
