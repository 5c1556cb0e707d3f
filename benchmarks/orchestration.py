"""What the sweep itself costs, without any training.

Usage: python benchmarks/orchestration.py [-o FILE.json]

A simulated launcher on a virtual clock, a real SQLite database: seconds of the loop per trial with 50 reports, events
per second that one process bears, and what `status` needs on a study of 5,000 trials.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from optuna.distributions import FloatDistribution

from sweeper.clock import SystemClock, VirtualClock
from sweeper.launchers.simulated import Epoch, SimulatedLauncher
from sweeper.loop import Sweep
from sweeper.provenance import code_folder, git_commit, machine_facts
from sweeper.records import Observation, TrialState
from sweeper.store import open_store
from sweeper.store.ledger import Ledger
from trainer.config import load_config_file, parse_overrides

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sweeper.records import Assignment

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
    return {
        "num_trials": loaded,
        "info_seconds": info_seconds,
        "all_trials_seconds": time.perf_counter() - began,
        "database_mb": path.stat().st_size / 2**20,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--status-trials", type=int, default=5000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        result = {
            "machine": machine_facts(),
            "python": platform.python_version(),
            "commit": git_commit(code_folder()),
            "load_average": os.getloadavg()[0],
            "loop_random": measure_loop(folder, asked.trials, 64, "random"),
            "loop_tpe": measure_loop(folder, asked.trials, 8, "tpe"),
            "status": measure_status(folder, asked.status_trials),
        }
    text = json.dumps(result, indent=2)
    print(text)
    if asked.output is not None:
        asked.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
