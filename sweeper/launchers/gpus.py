"""Which GPUs there are, found without importing torch: the sweep itself never touches CUDA."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

_TIMEOUT_SECONDS = 20.0


def usable_gpus() -> tuple[int, ...]:
    """Indices of the GPUs that workers may use, within CUDA_VISIBLE_DEVICES; empty if torch cannot use any."""
    if not torch_knows_cuda():
        return ()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(range(len(visible_devices(visible))))
    return tuple(range(_count()))


def visible_devices(text: str) -> tuple[str, ...]:
    """The entries of a CUDA_VISIBLE_DEVICES; as CUDA does, the first invalid one ends the list."""
    entries = []
    for entry in (part.strip() for part in text.split(",")):
        if not re.fullmatch(r"\d+|(GPU|MIG)-[0-9a-zA-Z/-]+", entry):
            break
        entries.append(entry)
    return tuple(entries)


def device_name(index: int) -> str:
    """What CUDA_VISIBLE_DEVICES must say so that a worker sees only the GPU of this index."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return str(index) if visible is None else visible_devices(visible)[index]


def torch_knows_cuda() -> bool:
    """Whether the installed torch was built for CUDA, read from its version file without importing it."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    try:
        text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        return False
    return re.search(r"^cuda\s*(:[^=]*)?=\s*['\"]", text, re.MULTILINE) is not None


def _count() -> int:
    program = shutil.which("nvidia-smi")
    if program is not None:
        try:
            result = subprocess.run(  # noqa: S603 - fixed program and arguments
                [program, "--list-gpus"],
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return _count_by_driver()
        if result.returncode == 0:
            return sum(line.startswith("GPU ") for line in result.stdout.splitlines())
    return _count_by_driver()


def _count_by_driver() -> int:
    folder = Path("/proc/driver/nvidia/gpus")
    return len(list(folder.iterdir())) if folder.is_dir() else 0
