"""What this machine can do: each finding a topic, a grade and a sentence."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import sys
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import psutil

from sweeper.formatting import format_bytes

_EXTRAS = (
    ("atari", "ale_py", "ale-py", "Atari games"),
    ("dashboard", "optuna_dashboard", "optuna-dashboard", "the dashboard"),
    ("video", "av", "av", "videos"),
    ("envpool", "envpool", "envpool", "EnvPool's environments"),
    ("procgen", "procgen2", "procgen2", "Procgen games"),
    ("box2d", "Box2D", "box2d", "LunarLander and other Box2D environments"),
    ("mujoco", "mujoco", "mujoco", "MuJoCo environments"),
    ("minigrid", "minigrid", "minigrid", "MiniGrid"),
    ("ray", "ray", "ray", "clusters"),
    ("postgres", "psycopg", "psycopg", "studies in PostgreSQL"),
)
_FAR_SQLITE = (3, 35, 0)
_LITTLE_DISK_BYTES = 2e9


class Grade(StrEnum):
    """How a finding is meant: as it should be, optional and missing, or broken."""

    GOOD = "good"
    MISSING = "missing"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the diagnosis."""

    topic: str
    grade: Grade
    text: str
    remedy: str = ""


def diagnose() -> list[Finding]:
    """Looks at this machine; imports torch, makes no environment, writes only a temporary file."""
    return [
        _python(),
        _torch(),
        *_devices(),
        _processor(),
        _disk(),
        _sqlite(),
        _locking(),
        *_extras(),
        *_packages(),
    ]


def _python() -> Finding:
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Finding("python", Grade.GOOD, f"{text}, {sys.executable}")


def _torch() -> Finding:
    if find_spec("torch") is None:
        return Finding("torch", Grade.BAD, "not installed", "pip install torch")
    import torch

    return Finding("torch", Grade.GOOD, f"{torch.__version__}, {torch.get_num_threads()} threads")


def _devices() -> list[Finding]:
    if find_spec("torch") is None:
        return []
    import torch

    if not torch.cuda.is_available():
        has_driver = shutil.which("nvidia-smi") is not None
        remedy = "A driver is installed: this build of PyTorch may be for the CPU." if has_driver else ""
        return [
            Finding("cuda", Grade.MISSING, "no device that PyTorch can use; training runs on the CPU", remedy)
        ]
    findings = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        text = f"{properties.name}, {format_bytes(properties.total_memory)}"
        findings.append(Finding(f"cuda:{index}", Grade.GOOD, text))
    return findings


def _processor() -> Finding:
    memory = psutil.virtual_memory()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    free = f"{format_bytes(memory.available)} of {format_bytes(memory.total)}"
    text = f"{usable} cores for this process, {free} memory free"
    return Finding("processor", Grade.GOOD, text)


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    if free < _LITTLE_DISK_BYTES:
        return Finding(
            "disk", Grade.BAD, f"{format_bytes(free)} free here", "Checkpoints and studies need more."
        )
    return Finding("disk", Grade.GOOD, f"{format_bytes(free)} free here")


def _sqlite() -> Finding:
    known = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < _FAR_SQLITE:
        return Finding("sqlite", Grade.BAD, f"{known} is too old", "3.35 or newer is needed.")
    return Finding("sqlite", Grade.GOOD, known)


def _locking() -> Finding:
    """Whether SQLite can lock a file below the working directory (some network file systems cannot)."""
    folder = Path.cwd()
    if not os.access(folder, os.W_OK):
        return Finding("studies", Grade.BAD, f"{folder} cannot be written", "Start sweeps elsewhere.")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".puffer-sweep-") as inside:
        first = sqlite3.connect(Path(inside) / "probe.db", isolation_level=None, timeout=0.2)
        second = sqlite3.connect(Path(inside) / "probe.db", isolation_level=None, timeout=0.2)
        try:
            first.execute("CREATE TABLE probe (x)")
            first.execute("BEGIN IMMEDIATE")
            try:
                second.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return Finding("studies", Grade.GOOD, "SQLite can lock files here")
        except sqlite3.OperationalError as error:
            return Finding(
                "studies", Grade.BAD, f"SQLite cannot write here: {error}", "Use a local file system."
            )
        finally:
            second.close()
            first.close()
    return Finding(
        "studies", Grade.BAD, "SQLite cannot lock files here", "Use a local file system, or PostgreSQL."
    )


def _extras() -> list[Finding]:
    findings = []
    for extra, module, distribution, purpose in _EXTRAS:
        if find_spec(module) is None:
            text = f"not installed: no {purpose.removeprefix('the ')}"
            findings.append(Finding(extra, Grade.MISSING, text, f"pip install 'puffer-sweep[{extra}]'"))
        else:
            findings.append(Finding(extra, Grade.GOOD, f"{distribution} {_version(distribution)}"))
    return findings


def _packages() -> list[Finding]:
    names = ("puffer-sweep", "optuna", "gymnasium", "numpy", "sqlalchemy", "plotly")
    return [Finding("versions", Grade.GOOD, ", ".join(f"{name} {_version(name)}" for name in names))]


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "(version unknown)"
