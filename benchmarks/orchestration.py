"""What the sweep itself costs.

Usage: python benchmarks/orchestration.py [--only loop,growth,status,idle] [-o FILE.json]
       python benchmarks/orchestration.py --table FILE.json

loop    a simulated launcher on a virtual clock and a real SQLite database: seconds of the loop per trial with 50
        reports of 20 metrics, events per second that one process bears
growth  the same over 2,000 trials: whether a trial late in a study costs more, in time or in memory, than an early one
status  what `status` and `list` need on a study of 5,000 trials, and the whole command from the shell
idle    real workers, real (short) training: how long a slot stands between the end of a trial and the start of the next

With --only, what the file holds of other parts stays, if it was measured at the same commit. --table prints a file for
the README.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from optuna.distributions import FloatDistribution

from sweeper.clock import SystemClock, VirtualClock
from sweeper.launchers.cores import SlotPlan
from sweeper.launchers.local import LocalLauncher
from sweeper.launchers.simulated import Epoch, SimulatedLauncher
from sweeper.listener import Silence
from sweeper.loop import Sweep
from sweeper.provenance import code_folder, git_commit, machine_facts, versions
from sweeper.records import Finished, Observation, Started, TrialState
from sweeper.store import open_store
from sweeper.store.ledger import Ledger
from trainer.config import load_config_file, parse_overrides

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sweeper.records import Assignment, Event, Trial

ROOT = Path(__file__).parents[1]
NUM_REPORTS = 50


def rising(assignment: Assignment) -> Iterator[Epoch]:
    """Fifty epochs of a second with twenty metrics each."""
    total = assignment.config.train.total_timesteps
    for number in range(1, NUM_REPORTS + 1):
        metrics = {f"losses/metric_{i}": number / (i + 1) for i in range(20)}
        yield Epoch(
            total * number // NUM_REPORTS, 1.0, float(number + assignment.number % 7), metrics=metrics
        )


def measure_loop(folder: Path, num_trials: int, num_slots: int, method: str) -> dict[str, float]:
    """Seconds and events of a whole sweep that trains nothing."""
    config = load_config_file(
        ROOT / "config" / "classic.ini",
        overrides=parse_overrides(
            ["--sweep.max-runs", str(num_trials), "--sweep.method", method, "--sweep.pruner", "median"]
        ),
    )
    clock = VirtualClock()
    launcher = SimulatedLauncher(num_slots, clock, rising)
    began, cpu = time.perf_counter(), time.process_time()
    Sweep(config, folder / f"{method}.db", "measured", launcher=launcher, clock=clock).run()
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    trials = open_store(folder / f"{method}.db").open("measured").trials()
    events = sum(len(trial.curve) for trial in trials) + 2 * len(trials)
    return {
        "num_trials": num_trials,
        "num_slots": num_slots,
        "seconds_per_trial": seconds / num_trials,
        "cpu_seconds_per_trial": cpu_seconds / num_trials,
        "events_per_second": events / seconds,
        "events_per_cpu_second": events / cpu_seconds,
    }


class Milestones(Silence):
    """Process time and memory whenever another quarter of the trials has ended."""

    def __init__(self, num_trials: int) -> None:
        self._quarter = num_trials // 4
        self._ended = 0
        self._cpu, self._wall = time.process_time(), time.perf_counter()
        self.quarters: list[dict[str, float]] = []

    def on_finished(self, trial: Trial) -> None:
        del trial
        self._ended += 1
        if self._ended % self._quarter == 0:
            cpu, wall = time.process_time(), time.perf_counter()
            self.quarters.append(
                {
                    "cpu_seconds_per_trial": (cpu - self._cpu) / self._quarter,
                    "seconds_per_trial": (wall - self._wall) / self._quarter,
                    "memory_mb": psutil.Process().memory_info().rss / 2**20,
                }
            )
            self._cpu, self._wall = cpu, wall


def measure_growth(folder: Path, num_trials: int) -> dict[str, object]:
    """Time and memory per quarter of a long sweep."""
    config = load_config_file(
        ROOT / "config" / "classic.ini",
        overrides=parse_overrides(
            ["--sweep.max-runs", str(num_trials), "--sweep.method", "random", "--sweep.pruner", "none"]
        ),
    )
    clock, listener = VirtualClock(), Milestones(num_trials)
    launcher = SimulatedLauncher(8, clock, rising)
    Sweep(config, folder / "growth.db", "measured", launcher=launcher, clock=clock, listener=listener).run()
    return {"num_trials": num_trials, "quarters": listener.quarters}


class StoppedLauncher(LocalLauncher):
    """Notes when trials end and begin; each slot's worker is known by its pid."""

    def __init__(self, num_slots: int) -> None:
        super().__init__(SlotPlan((None,) * num_slots, 1))
        self.idle_seconds: list[float] = []
        self.deciding_seconds: list[float] = []
        self._workers: dict[str, int] = {}
        self._ended_at: dict[int, float] = {}

    def launch(self, assignment: Assignment) -> None:
        super().launch(assignment)
        if self._ended_at:
            self.deciding_seconds.append(time.perf_counter() - min(self._ended_at.values()))

    def events(self, timeout_seconds: float) -> list[Event]:
        events = super().events(timeout_seconds)
        now = time.perf_counter()
        for event in events:
            if isinstance(event, Finished):
                self._ended_at[self._workers[event.uuid]] = now
            elif isinstance(event, Started):
                self._workers[event.uuid] = event.pid
                if (ended_at := self._ended_at.pop(event.pid, None)) is not None:
                    self.idle_seconds.append(now - ended_at)
        return events


def measure_idle(folder: Path, num_trials: int, method: str) -> dict[str, object]:
    """Milliseconds between the end of a trial and the start of the next in the same slot."""
    settings = ["--sweep.max-runs", str(num_trials), "--sweep.method", method, "--sweep.pruner", "none"]
    settings += ["--train.device", "cpu", "--train.total-timesteps", "20480"]
    config = load_config_file(ROOT / "config" / "ocean" / "bandit.ini", overrides=parse_overrides(settings))
    launcher = StoppedLauncher(2)
    Sweep(config, folder / f"idle-{method}.db", "measured", launcher=launcher).run()
    gaps = sorted(1000.0 * seconds for seconds in launcher.idle_seconds)
    return {
        "num_trials": num_trials,
        "num_slots": 2,
        "gaps": len(gaps),
        "median_ms": statistics.median(gaps),
        "p95_ms": gaps[int(0.95 * (len(gaps) - 1))],
        "most_ms": gaps[-1],
        "median_until_launched_ms": 1000.0 * statistics.median(launcher.deciding_seconds),
    }


def measure_status(folder: Path, num_trials: int) -> dict[str, float]:
    """Seconds to look at a study of many trials of 50 observations."""
    path = folder / "studied.db"
    config = load_config_file(ROOT / "config" / "classic.ini")
    launcher = SimulatedLauncher(1, VirtualClock(), rising)
    Sweep(config.override({"sweep.max_runs": 1}), path, "measured", launcher=launcher).run()
    study = open_store(path).open("measured")
    ledger = Ledger(study, SystemClock())
    curve = tuple(Observation(i * 1000, float(i), float(i)) for i in range(1, NUM_REPORTS + 1))
    for _ in range(num_trials - 1):
        trial = ledger.add(
            {"train.gamma": 0.99},
            distributions={"train.gamma": FloatDistribution(0.8, 0.9999)},
            describe=lambda number: {"seed": number},
            total_agent_steps=50_000,
        )
        ledger.change(trial.uuid, TrialState.COMPLETE, score=1.0, curve=curve, agent_steps=50_000)
    ledger.close()
    began = time.perf_counter()
    store = open_store(path, must_exist=True)
    store.open("measured").info()
    info_seconds = time.perf_counter() - began
    began = time.perf_counter()
    loaded = len(store.open("measured").trials())
    all_seconds = time.perf_counter() - began
    began = time.perf_counter()
    words = [sys.executable, "-m", "sweeper.cli", "status", "measured", "--plain", "--storage", str(path)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return {
        "num_trials": loaded,
        "info_seconds": info_seconds,
        "all_trials_seconds": all_seconds,
        "command_seconds": time.perf_counter() - began,
        "database_mb": path.stat().st_size / 2**20,
    }


PARTS = ("loop", "growth", "status", "idle")


def table(result: dict[str, Any]) -> str:
    """A file's figures for the README."""
    machine = result["machine"]
    lines = [
        f"{machine['cores']} cores ({machine['processor']}), commit {str(result['commit'])[:7]}.",
        "",
        "| | measured | aim |",
        "|---|---|---|",
    ]
    for key, name in (("loop_random", "random"), ("loop_tpe", "TPE, asking included")):
        if found := result.get(key):
            cpu = found["cpu_seconds_per_trial"]
            lines.append(
                f"| the loop per trial with {NUM_REPORTS} reports of 20 metrics, {name}, {found['num_slots']} slots | "
                f"{1000 * cpu:.0f} ms ({cpu / 30:.1%} of a trial of 30 s) | ≤ 200 ms, ≤ 1 % |"
            )
            lines.append(
                f"| kept events per second of the one writer, {name} | {found['events_per_second']:.0f} | |"
            )
    if growth := result.get("growth"):
        quarters = growth["quarters"]
        cpu = ", ".join(f"{1000 * quarter['cpu_seconds_per_trial']:.0f}" for quarter in quarters)
        memory = ", ".join(f"{quarter['memory_mb']:.0f}" for quarter in quarters)
        lines.append(
            f"| CPU time per trial, by quarters of {growth['num_trials']} trials | {cpu} ms | flat |"
        )
        lines.append(f"| memory after each quarter | {memory} MB | flat |")
    for key, name in (("idle_tpe", "TPE"), ("idle_thaw", "Thaw")):
        if found := result.get(key):
            lines.append(
                f"| a slot between two trials, {name}, {found['num_slots']} slots: median, 95th percentile | "
                f"{found['median_ms']:.0f}, {found['p95_ms']:.0f} ms | ≤ 60 ms |"
            )
    if status := result.get("status"):
        trials = status["num_trials"]
        lines.append(
            f"| counts and best of a study of {trials} trials | {status['info_seconds']:.2f} s | < 1 s |"
        )
        lines.append(
            f"| `puffer-sweep status` on it, start of Python included | {status['command_seconds']:.2f} s | < 1 s |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--table", type=Path, metavar="FILE")
    parser.add_argument("--only", default=",".join(PARTS), help="parts to measure, comma-separated")
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--growth-trials", type=int, default=2000)
    parser.add_argument("--status-trials", type=int, default=5000)
    parser.add_argument("--idle-trials", type=int, default=40)
    asked = parser.parse_args()
    if asked.table is not None:
        print(table(json.loads(asked.table.read_text(encoding="utf-8"))))
        return
    parts = asked.only.split(",")
    result: dict[str, object] = {
        "machine": machine_facts(),
        "python": platform.python_version(),
        "versions": versions(),
        "commit": git_commit(code_folder()),
        "load_average": os.getloadavg()[0],
    }
    if asked.output is not None and asked.output.exists():
        before = json.loads(asked.output.read_text(encoding="utf-8"))
        if before["commit"] != result["commit"]:
            parser.error(f"{asked.output} was measured at commit {before['commit']}")
        result = {**before, **result}
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        if "loop" in parts:
            result["loop_random"] = measure_loop(folder, asked.trials, 64, "random")
            result["loop_tpe"] = measure_loop(folder, asked.trials, 8, "tpe")
        if "growth" in parts:
            result["growth"] = measure_growth(folder, asked.growth_trials)
        if "status" in parts:
            result["status"] = measure_status(folder, asked.status_trials)
        if "idle" in parts:
            result["idle_tpe"] = measure_idle(folder, asked.idle_trials, "tpe")
            result["idle_thaw"] = measure_idle(folder, asked.idle_trials, "thaw")
    text = json.dumps(result, indent=2)
    print(text)
    if asked.output is not None:
        asked.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
