"""The benchmark's code runs from end to end, at sizes that measure nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import gpu
from benchmarks.gpu_goals import GOALS, judge, table
from benchmarks.gpu_sections import SECTIONS, Section

ROOT = Path(__file__).parents[3]


def test_all_sections_together_take_less_than_eight_minutes() -> None:
    assert sum(section.seconds for section in SECTIONS) <= 475


def test_a_section_that_takes_too_long_keeps_its_figures(tmp_path: Path, monkeypatch) -> None:
    """It is ended with whatever it has started."""
    script = tmp_path / "python"
    waits = f"sleep 600 & echo $! > {tmp_path}/pid; wait"
    script.write_text(f"""#!/bin/sh\necho 'figure: ["steps", 3]'\necho noise\n{waits}\n""")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    section = Section("hanging", 1.0, lambda bench: iter(()))
    found = gpu.run_section(section, SimpleNamespace(device="cpu", tiny=True), 1.0)
    assert found == {"failed": "not through after 1 seconds", "steps": 3}
    deadline = time.monotonic() + 30
    child = Path("/proc") / (tmp_path / "pid").read_text().strip() / "status"
    while child.exists() and "zombie" not in child.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not child.exists() or "zombie" in child.read_text()


def test_a_section_that_dies_is_told_from_one_that_ends(tmp_path: Path, monkeypatch) -> None:
    script = tmp_path / "python"
    script.write_text("""#!/bin/sh\necho 'figure: ["steps", 3]'\nexit 7\n""")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    section = Section("dying", 1.0, lambda bench: iter(()))
    found = gpu.run_section(section, SimpleNamespace(device="cpu", tiny=True), 60.0)
    assert found == {"failed": "its process ended with status 7", "steps": 3}


def test_goals_are_held_against_what_there_is() -> None:
    sections = {
        "learning": {"breakout, MLP 128, 8 environments": {"steps_per_second": 12e6, "capture_seconds": 5.0}},
        "advantage": {
            "chosen": "a kernel",
            "scan, 64 x 8, microseconds": 30.0,
            "kernel, 64 x 8, microseconds": 10.0,
        },
        "side_by_side": {"four processes, ratio": 2.0, "four threads, ratio": 2.6},
        "offload": {"cpu_offload = False": {}, "section_seconds": 3.0},
    }
    rows = {row["figure"]: row for row in judge(sections)}
    assert len(rows) == len(GOALS)
    assert {name: row["measured"] for name, row in rows.items() if row["measured"] is not None} == {
        "breakout with learning, MLP 128, steps/s": 12e6,
        "capturing rollout and update, seconds at most": 5.0,
        "advantage: scan's time over the kernel's, worst size": 3.0,
        "four trials side by side against one": 2.6,
    }
    assert not rows["capturing rollout and update, seconds at most"]["met"]
    assert rows["four trials side by side against one"]["met"]
    assert "| four trials side by side against one | 2.6 | at least 2.5 | yes |" in table(judge(sections))


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
    assert result.returncode == 0, result.stderr + result.stdout
    told = json.loads((tmp_path / "gpu.json").read_text())
    sections = told["sections"]
    assert list(sections) == [section.name for section in SECTIONS]
    assert {name: found["failed"] for name, found in sections.items() if "failed" in found} == {}
    # Where there is no device, nothing can be said of its memory, and there is no kernel.
    unmeasured = [row["figure"] for row in told["goals"] if row["measured"] is None]
    assert all("memory" in name or "kernel" in name for name in unmeasured)
    assert sections["sweep"]["exit_status"] == 0, sections["sweep"]["tail"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("game", gpu.SCORES)
def test_a_long_run_goes_on_from_its_checkpoint(tmp_path: Path, game: str) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--tiny", "--long", game]
    command += ["--folder", str(tmp_path), "--output", str(tmp_path / "long.json")]
    told = []
    for minutes in ("0", "9"):
        subprocess.run([*command, "--minutes", minutes], cwd=ROOT, capture_output=True, check=True)
        told.append(json.loads((tmp_path / "long.json").read_text()))
    first, second = told
    assert (first["status"], first["resumed_from"]) == ("paused", None)
    assert second["status"] == "completed"
    assert second["resumed_from"]
    assert second["agent_steps"] > first["agent_steps"]
    assert not second["reached"]
