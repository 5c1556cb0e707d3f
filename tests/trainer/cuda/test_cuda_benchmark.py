"""The benchmark's code runs from end to end, at sizes that measure nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_section_runs_on_the_cpu(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--tiny"]
    result = subprocess.run(
        [*command, "--output", str(tmp_path / "gpu.json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    sections = json.loads((tmp_path / "gpu.json").read_text())["sections"]
    assert len(sections) == 11
    assert {name: found["failed"] for name, found in sections.items() if "failed" in found} == {}
    assert sections["sweep"]["exit_status"] == 0, sections["sweep"]["tail"]
