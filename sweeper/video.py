"""Films of a study's trials: on request, and of the best one so far while a sweep runs.

A film is made by a process of its own (`python -m sweeper.video …`) with one thread, low priority and no GPU, so that
the trials beside it notice little.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.errors import SweepError
from sweeper.folder import CONFIG_FILE, VIDEO_FILE, newest_checkpoint
from sweeper.launchers.process_tree import TOKEN_VARIABLE, die_with_parent
from trainer.errors import Place, PufferError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sweeper.records import Trial

LONGEST_SECONDS = 900.0
"""A film that takes longer to make is given up."""

_PATIENCE_SECONDS = 0.2
_LOW_PRIORITY = 10
"""A tenth of a busy core: enough to come to an end beside trials that take all there is."""


class Filming:
    """Films the best trial whenever there is a new one, one film at a time.

    Args:
        folder_of: a trial's folder by its number.
        on_note: told when a film cannot be made; the sweep goes on.
        token: what the sweep's processes are known by, so that none outlives it unnoticed.
    """

    def __init__(
        self, folder_of: Callable[[int], Path], on_note: Callable[[str], None], token: str = ""
    ) -> None:
        self._folder_of = folder_of
        self._on_note = on_note
        self._token = token
        self._process: subprocess.Popen[str] | None = None
        self._number = -1
        self._began_at = 0.0
        self._tried: set[int] = set()
        self._last_trouble = ""
        self._nice = _LOW_PRIORITY

    def look(self, best: Trial | None) -> None:
        """Take in what has become of a film under way, and begin the next one if there is one to make."""
        if self._process is not None:
            if self._process.poll() is not None:
                self._end(self._process)
            elif time.monotonic() - self._began_at > LONGEST_SECONDS:
                self.close()
                self._note(f"it took more than {LONGEST_SECONDS:g} s")
        if self._process is None and best is not None and best.number not in self._tried:
            self._tried.add(best.number)
            self._begin(best.number)

    def finish(self, best: Trial | None, interrupted: Callable[[], bool]) -> None:
        """Wait until the best trial is filmed; not if somebody is in a hurry."""
        if best is not None and self._number != best.number:
            self.close()  # of a trial that is no longer the best
        self._nice = 0  # nobody is disturbed any more
        self.look(best)
        if self._process is not None:
            self._on_note(f"Filming the best trial, {self._number} …")
        while self._process is not None and not interrupted():
            time.sleep(_PATIENCE_SECONDS)
            self.look(best)
        self.close()

    def close(self) -> None:
        """Give up what is under way."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _begin(self, number: int) -> None:
        folder = self._folder_of(number)
        checkpoint = newest_checkpoint(folder)
        if checkpoint is None or (folder / VIDEO_FILE).is_file():
            return
        self._number, self._began_at = number, time.monotonic()
        paths = (str(folder), str(checkpoint), str(folder / VIDEO_FILE))
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        self._process = subprocess.Popen(  # noqa: S603 - this Python, this module
            [sys.executable, "-m", "sweeper.video", *paths, str(self._nice)],
            env={**os.environ, **threads, "CUDA_VISIBLE_DEVICES": "", TOKEN_VARIABLE: self._token},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is the sweep's business
        )

    def _end(self, process: subprocess.Popen[str]) -> None:
        _, told = process.communicate()
        self._process = None
        if process.returncode != 0:
            last = told.strip().splitlines()[-1:] or [f"it ended with code {process.returncode}"]
            self._note(last[0])

    def _note(self, trouble: str) -> None:
        if trouble != self._last_trouble:  # a package that is not installed is missing for every trial
            self._on_note(f"Trial {self._number} could not be filmed: {trouble}")
        self._last_trouble = trouble


def film_folder(
    folder: Path, path: Path, *, checkpoint: Path | None = None, episodes: int | None = None
) -> tuple[float, ...]:
    """Films the agent of a trial's or a run's folder, in this process; the scores of the episodes.

    Raises:
        SweepError: there is no checkpoint.
        PufferError: see `trainer.record`.
    """
    from sweeper.trial import record_alone
    from trainer.config import load_config_file

    checkpoint = checkpoint or newest_checkpoint(folder)
    if checkpoint is None:
        raise no_checkpoint(folder)
    config = load_config_file(folder / CONFIG_FILE, fill_in_default=False)
    return record_alone(config, checkpoint, path, episodes=episodes).scores


def no_checkpoint(folder: Path) -> SweepError:
    """The error for a folder whose agent is gone."""
    return SweepError(
        "There is no checkpoint here.",
        place=Place(file=str(folder)),
        rule="A sweep keeps the checkpoints of its best trials ([sweep] keep_checkpoints).",
        remedy=f"Train it again: puffer-sweep train {folder / CONFIG_FILE}.",
    )


def main() -> int:
    """`python -m sweeper.video FOLDER CHECKPOINT FILE NICE`."""
    folder, checkpoint, path = (Path(argument) for argument in sys.argv[1:4])
    die_with_parent(os.getppid())
    os.nice(int(sys.argv[4]))
    try:
        film_folder(folder, path, checkpoint=checkpoint)
    except PufferError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
