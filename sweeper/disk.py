"""Room on the disk: a watch over what is free, and a quota for checkpoints."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from sweeper.records import TrialState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sweeper.records import Trial

LEAST_FREE_BYTES = 300 * 2**20
"""Below this much free space nothing new is started: the database and a few checkpoints must still fit."""

ENOUGH_FREE_BYTES = 600 * 2**20
"""From this much on things go on again."""

_ENDED = frozenset({TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED})


def free_bytes(folder: Path) -> int:
    """Free space of the file system that a folder lies on, or would lie on."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


class DiskWatch:
    """Tells when a disk is full and when there is room again.

    Args:
        folders: on the disks to watch: the study's and the database's.
        measure: free bytes of a folder.
    """

    def __init__(self, folders: Sequence[Path], measure: Callable[[Path], int] = free_bytes) -> None:
        self._folders = tuple(dict.fromkeys(folders))
        self._measure = measure

    def is_full(self) -> bool:
        """Whether so little is left that the sweep should wait."""
        return self._least()[0] < LEAST_FREE_BYTES

    def has_room(self) -> bool:
        """Whether there is enough to go on after a wait."""
        return self._least()[0] >= ENOUGH_FREE_BYTES

    def sentence(self) -> str:
        """What to tell a person."""
        left, folder = self._least()
        return f"The disk of {folder} is nearly full: {left / 2**20:.0f} MB are free."

    def _least(self) -> tuple[int, Path]:
        return min(((self._measure(folder), folder) for folder in self._folders), key=lambda pair: pair[0])


class CheckpointQuota:
    """Keeps the checkpoints of the best trials, of the last one, and of all that can still go on.

    Args:
        keep: how many of the best complete trials.
        goal: `maximize` or `minimize`.
        folder_of: a trial's folder by its number.
    """

    def __init__(self, keep: int, goal: str, folder_of: Callable[[int], Path]) -> None:
        self._keep = keep
        self._sign = -1.0 if goal == "minimize" else 1.0
        self._folder_of = folder_of
        self._kept: list[Trial] = []
        self._latest: Trial | None = None

    def seen(self, trials: Sequence[Trial]) -> None:
        """Trials of earlier sittings."""
        for trial in trials:
            if trial.state in _ENDED:
                self.finished(trial)

    def finished(self, trial: Trial) -> None:
        """A trial has ended: clear what is no longer among those to keep."""
        self._kept.append(trial)
        latest = trial if trial.state is TrialState.COMPLETE else self._latest
        complete = [t for t in self._kept if t.state is TrialState.COMPLETE and t.score is not None]
        ranked = sorted(complete, key=lambda t: (-self._sign * (t.score or 0.0), t.number))
        kept = ranked[: self._keep]
        if latest is not None and latest not in kept:
            kept.append(latest)
        for old in self._kept:
            if old not in kept:
                shutil.rmtree(self._checkpoints(old), ignore_errors=True)
        self._kept, self._latest = kept, latest

    def paused(self, trial: Trial) -> None:
        """A trial has paused: its newest checkpoint is enough to go on from."""
        for old in sorted(self._checkpoints(trial).glob("epoch-*.pt"))[:-1]:
            old.unlink(missing_ok=True)

    def _checkpoints(self, trial: Trial) -> Path:
        return self._folder_of(trial.number) / "checkpoints"
