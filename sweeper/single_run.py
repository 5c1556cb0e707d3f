"""One training run outside a sweep, in a folder like a trial's."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    config: Config, folder: Path, on_progress: Callable[[Progress], None], *, resume: bool = False
) -> RunEnd:
    """Trains as a config says and keeps config, curve and checkpoints in a folder.

    Ctrl-C asks for a checkpoint and an end after the current epoch; a second one raises KeyboardInterrupt.

    Raises:
        SweepError: there is nothing to resume.
        PufferError: see `trainer.train`.
    """
    from sweeper.trial import checkpoint_steps, train_alone
    from trainer.records import Directive

    resume_from = newest_checkpoint(folder) if resume else None
    if resume and resume_from is None:
        raise SweepError(
            "There is no checkpoint to go on from.",
            place=Place(file=str(folder)),
            remedy="Name the folder of an earlier run with -o, or leave --resume out.",
        )
    write_folder(folder, dump_config(config), command_text())
    curve_file = CurveFile(folder, checkpoint_steps(resume_from) if resume_from is not None else 0)
    curve = [
        Observation(p.agent_steps, p.cost_seconds, p.score) for p in curve_file.kept if p.score is not None
    ]

    with _stop_on_interrupt() as asked:

        def receive(progress: Progress) -> Directive:
            point = CurvePoint(
                progress.agent_steps, progress.uptime_seconds, progress.score, dict(progress.metrics)
            )
            curve_file.add(point)
            if progress.score is not None:
                curve.append(Observation(progress.agent_steps, progress.uptime_seconds, progress.score))
            on_progress(progress)
            return Directive.PAUSE if asked.is_set() else Directive.CONTINUE

        try:
            result = train_alone(config, receive, folder=folder, resume_from=resume_from)
        finally:
            curve_file.close()
    return RunEnd(result, final_score("last", curve, config.train.total_timesteps), folder)


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
