"""How many trials run side by side, and what each of them gets: pure arithmetic over what the machine has."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LONE_TRIAL_THREADS = 2
"""A trial that has the machine to itself gains from two threads; from more it rarely does at PPO's sizes."""


@dataclass(frozen=True, slots=True)
class SlotPlan:
    """The slots of one machine.

    Attributes:
        gpus: per slot the GPU's index; None on a CPU.
        num_threads: CPU threads per trial.
    """

    gpus: tuple[int | None, ...]
    num_threads: int

    @property
    def num_slots(self) -> int:
        """How many trials run side by side."""
        return len(self.gpus)


def plan_slots(
    *,
    workers: int | None,
    gpus: Sequence[int],
    trials_per_gpu: int | Mapping[int, int],
    num_cores: int,
    env_workers: int = 0,
    num_threads: int | None = None,
) -> SlotPlan:
    """Divide a machine.

    Args:
        workers: trials side by side; None for as many as fit.
        gpus: indices of the GPUs to use; empty to train on the CPU.
        trials_per_gpu: trials that share one GPU; by GPU where that was measured, and then the cores count too.
        num_cores: cores that this process may really use.
        env_workers: environment processes of each trial, which take their cores too.
        num_threads: threads per trial as the config says; None to divide.
    """
    if gpus:
        measured = not isinstance(trials_per_gpu, int)
        per_gpu = dict.fromkeys(gpus, trials_per_gpu) if isinstance(trials_per_gpu, int) else trials_per_gpu
        rounds = range(max(per_gpu.values()))
        places: list[int | None] = [gpu for number in rounds for gpu in gpus if number < per_gpu[gpu]]
        if measured:
            places = places[: max(len(gpus), num_cores // ((num_threads or 1) + env_workers))]
        count = len(places) if workers is None else workers
        chosen = tuple(places[i % len(places)] for i in range(count))
    else:
        per_trial = (num_threads or 1) + env_workers
        count = max(1, num_cores // per_trial) if workers is None else workers
        chosen = (None,) * count
    if num_threads is None:
        share = num_cores // count - env_workers
        most = LONE_TRIAL_THREADS if count == 1 else max(1, share)
        num_threads = max(1, min(share, most))
    return SlotPlan(chosen, num_threads)


def usable_cores() -> int:
    """Cores that affinity and cgroups really give this process; at least one."""
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    quota = cgroup_cores(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))
    return max(1, math.floor(min(cores, quota) + 1e-6))


def cgroup_cores(root: Path, own: Path) -> float:
    """Cores that control groups allow, the tightest on the way up; infinite where nothing is limited."""
    try:
        lines = own.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return math.inf
    least = math.inf
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            least = min(least, _tightest(root, path, _version_2_cores))
        elif "cpu" in controllers.split(","):
            for mount in (root / controllers, root / "cpu"):
                least = min(least, _tightest(mount, path, _version_1_cores))
    return least


def _tightest(root: Path, path: str, read: object) -> float:
    folder = root / path.lstrip("/")
    least = math.inf
    for place in (folder, *folder.parents):
        if callable(read):
            least = min(least, read(place))
        if place == root:
            break
    return least


def _version_2_cores(folder: Path) -> float:
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return math.inf
    return math.inf if quota == "max" else int(quota) / int(period)


def _version_1_cores(folder: Path) -> float:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        period = int((folder / "cpu.cfs_period_us").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return math.inf
    return math.inf if quota <= 0 else quota / period
