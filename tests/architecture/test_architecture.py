"""The house rules that a machine can check (the import contracts are import-linter's, in pyproject.toml)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("trainer", "sweeper")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "tools", "stuff"}

TOP_LEVEL = {
    "pyproject.toml", "setup.py", "constraints.txt", "MANIFEST.in", "Makefile", "README.md", "LICENSE", "CHANGELOG.md",
    "sweeper", "trainer", "config", "studies", "tests", "docs", "benchmarks",
}  # fmt: skip

# A file holds one thing; what is longer than this holds two.
MAX_LINES = 450


def test_no_module_is_a_drawer() -> None:
    drawers = [path for path in SOURCES if FORBIDDEN_NAMES & {path.stem, path.parent.name}]
    assert drawers == []


def test_the_top_level_is_the_house_s() -> None:
    """A stray file there may even be read: a config is looked for by its name in the working directory first."""
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=False, cwd=ROOT)
    # Unpacked from an archive, nothing is tracked; what else lies there is its owner's business.
    first = {line.split("/")[0] for line in tracked.stdout.splitlines()}
    assert {name for name in first if not name.startswith(".")} - TOP_LEVEL == set()


def test_files_hold_one_thing() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT)) for path in SOURCES if not path.read_text().startswith(('"""', 'r"""'))
    ]
    assert silent == []


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_is_cheap_and_changes_nothing(package: str) -> None:
    probe = f"""
import json, logging, signal, sys, warnings
handled = [s for s in signal.valid_signals() if s not in (signal.SIGKILL, signal.SIGSTOP)]
before = [signal.getsignal(s) for s in handled], list(warnings.filters), list(logging.root.handlers), sys.excepthook
import {package}, {package}.errors, {package}.records
after = [signal.getsignal(s) for s in handled], list(warnings.filters), list(logging.root.handlers), sys.excepthook
heavy = sorted({{"torch", "optuna", "gymnasium", "plotly", "ale_py", "sklearn", "ray"}} & set(sys.modules))
print(json.dumps({{"same": before == after, "heavy": heavy}}))
"""
    answer = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert json.loads(answer.stdout) == {"same": True, "heavy": []}


def test_the_command_line_starts_without_heavy_packages() -> None:
    probe = """
import json, sys
import sweeper.cli
print(json.dumps(sorted({"torch", "optuna", "gymnasium", "plotly", "ale_py", "sklearn", "ray"} & set(sys.modules))))
"""
    answer = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert json.loads(answer.stdout) == []


def test_the_project_speaks_of_itself_alone() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    words = ["/wo" + "rk/", "../sha" + "red", "cla" + "ude", "/opt/py" + "pi"]
    found = [
        (name, word)
        for name in tracked
        if (path := ROOT / name).is_file() and path.suffix not in {".png", ".mp4", ".npz"}
        for word in words
        if word in path.read_text(errors="replace").lower()
    ]
    assert found == []
