"""How many trials one GPU can hold, told by the first of them: `trials_per_gpu = auto`.

The memory of a GPU is looked at before anything runs on it and while the first trials do. What it has taken at most,
the driver's own part of each process included, is what each further trial will need, and some more.
"""

from __future__ import annotations

import math
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeper.launchers.gpus import device_name
from sweeper.records import Finished, Reported

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sweeper.launchers.cores import SlotPlan
    from sweeper.records import Event

REPORTS_TO_MEASURE = 10
"""After so many epochs a trial's memory has seen its rollouts, its updates and the allocator's reserves."""

MOST_TRIALS_PER_GPU = 8
"""Beyond that trials only wait for each other, whatever their memory."""

HEADROOM = 1.2
"""A trial with larger settings takes more than the first one."""

RESERVE_SHARE = 0.05
"""Of a GPU's memory, left alone."""

_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """A look at a GPU.

    Attributes:
        used_bytes: by everybody.
        total_bytes: of the device.
    """

    used_bytes: int
    total_bytes: int


class Sharing:
    """Watches the first trials and says how many shall share each GPU.

    Args:
        gpus: indices of the GPUs, each with one trial to begin with.
        plan: the slots for so many trials per GPU, by index; the cores of the machine limit them as well.
        probe: a GPU's memory; None where it cannot be told, and then everything stays as it is.
    """

    def __init__(
        self,
        gpus: Sequence[int],
        plan: Callable[[dict[int, int]], SlotPlan],
        probe: Callable[[int], DeviceMemory | None] | None = None,
    ) -> None:
        self._plan = plan
        self._probe = probe or probe_memory
        self._before = {gpu: self._probe(gpu) for gpu in gpus}
        self._most = dict.fromkeys(gpus, 0)
        self._reports = 0

    def look(self, events: Sequence[Event]) -> SlotPlan | None:
        """Take in what has just happened; the slots from now on, once they are known."""
        reported = sum(isinstance(event, Reported) for event in events)
        ended = any(isinstance(event, Finished) for event in events)
        if not reported and not ended:
            return None
        self._reports += reported
        for gpu in self._most:
            now = self._probe(gpu)
            if now is not None:
                self._most[gpu] = max(self._most[gpu], now.used_bytes)
        if self._reports < REPORTS_TO_MEASURE * len(self._most) and not (ended and self._reports):
            return None
        taken = max(
            (self._most[gpu] - before.used_bytes for gpu, before in self._before.items() if before), default=0
        )
        return self._plan({gpu: self._fitting(gpu, taken) for gpu in self._most})

    def _fitting(self, gpu: int, taken: int) -> int:
        before = self._before[gpu]
        if before is None or taken <= 0:
            return 1
        room = before.total_bytes * (1.0 - RESERVE_SHARE) - before.used_bytes
        return max(1, min(MOST_TRIALS_PER_GPU, math.floor(room / (taken * HEADROOM))))


def probe_memory(gpu: int) -> DeviceMemory | None:
    """A GPU's memory as `nvidia-smi` tells it; None where there is none to ask. The sweep itself never starts CUDA."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    words = [
        "--query-gpu=memory.used,memory.total",
        "--format=csv,noheader,nounits",
        f"--id={device_name(gpu)}",
    ]
    try:
        result = subprocess.run(  # noqa: S603 - fixed program and arguments
            [program, *words], capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return read_memory(result.stdout) if result.returncode == 0 else None


def read_memory(text: str) -> DeviceMemory | None:
    """`nvidia-smi`'s line of two numbers in MiB; None if it is something else (`[N/A]` on some devices)."""
    try:
        used, total = (int(part) for part in text.strip().splitlines()[0].split(","))
    except (ValueError, IndexError):
        return None
    return DeviceMemory(used * 2**20, total * 2**20)
