"""How busy this machine is, in one line: processor, memory, and the GPU where there is one."""

from __future__ import annotations

import shutil
import subprocess
import time

import psutil

from sweeper.formatting import format_bytes

_INTERVAL_SECONDS = 2.0
_GPU_TIMEOUT_SECONDS = 2.0


class Hardware:
    """Reads the machine's load at most every two seconds."""

    def __init__(self) -> None:
        self._read_at = -_INTERVAL_SECONDS
        self._line = ""
        self._gpu_program = shutil.which("nvidia-smi")
        psutil.cpu_percent(interval=None)  # the first call only starts the measurement

    def line(self) -> str:
        """Such as `cpu 87 %, memory 5.2 of 16 GB, gpu 64 %`."""
        if time.monotonic() - self._read_at >= _INTERVAL_SECONDS:
            self._read_at = time.monotonic()
            memory = psutil.virtual_memory()
            used, total = memory.total - memory.available, memory.total
            self._line = (
                f"cpu {psutil.cpu_percent(interval=None):.0f} %, "
                f"memory {format_bytes(used).removesuffix(' GB')} of {format_bytes(total)}"
            ) + self._gpu()
        return self._line

    def _gpu(self) -> str:
        if self._gpu_program is None:
            return ""
        query = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        try:
            answer = subprocess.run(  # noqa: S603 - the program was looked up, the arguments are fixed
                [self._gpu_program, *query],
                capture_output=True,
                text=True,
                timeout=_GPU_TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return ""
        loads = [load.strip() for load in answer.stdout.splitlines() if load.strip().isdigit()]
        return f", gpu {', '.join(f'{load} %' for load in loads)}" if answer.returncode == 0 and loads else ""
