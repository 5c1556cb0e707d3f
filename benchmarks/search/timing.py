"""How long methods think.

python -m benchmarks.search.timing [--only decision,study] [--json FILE]

decision  Thaw's fit and its choice after it, by the number of observations (looks at runs) of 20 dimensions
study     a proposal in a study of 100,000 finished trials of 20 parameters, Thaw and tpe; what the others say to it
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from sweeper.errors import SearchError
from sweeper.methods import make_method
from sweeper.methods.registry import SAMPLERS
from sweeper.provenance import code_folder, git_commit, machine_facts
from sweeper.records import Observation, Trial, TrialState
from sweeper.space import SearchSpace
from sweeper.thaw.belief import Belief
from sweeper.thaw.core import Thaw
from sweeper.thaw.records import Run
from sweeper.thaw.settings import Settings
from trainer.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterator

DIMENSIONS = 20
SIZES = (100, 1_000, 5_000)
REPEATS = 7
NUM_TRIALS = 100_000
TOTAL_STEPS = 100_000


def make_runs(num_looks: int, dimensions: int) -> list[Run]:
    """Runs of a smooth problem, two looks each on average."""
    rng = np.random.default_rng(0)
    rungs = np.array(Settings().rungs)
    runs: list[Run] = []
    looks = 0
    while looks < num_looks:
        point = rng.random(dimensions)
        reached = rungs[: 1 + int(rng.geometric(0.5)) % len(rungs)]
        levels = np.exp(-((point[:5] - 0.4) ** 2).sum()) * reached**0.2 + 0.03 * rng.normal(size=len(reached))
        runs.append(Run(point, float(reached[-1]), float(reached[-1]), reached, levels))
        looks += len(reached)
    return runs


def time_decisions() -> list[dict[str, float]]:
    """Seconds of a fit and of a whole decision, medians."""
    found = []
    for num_looks in SIZES:
        runs = make_runs(num_looks, DIMENSIONS)
        fits, decisions = [], []
        for salt in range(REPEATS):
            core = Thaw(np.full(DIMENSIONS, 0.5), lambda points: points, salt)
            began = time.perf_counter()
            Belief(runs, core.settings)
            fits.append(time.perf_counter() - began)
            began = time.perf_counter()
            core.decide(runs, salt)
            decisions.append(time.perf_counter() - began)
        fit, decision = float(np.median(fits)), float(np.median(decisions))
        print(
            f"{num_looks:6d} observations, {DIMENSIONS} dimensions: fit {fit:.3f} s, decision {decision:.3f} s"
        )
        found.append({"observations": num_looks, "fit_seconds": fit, "decision_seconds": decision})
    return found


def make_config(method: str) -> Config:
    """Twenty numbers to search."""
    values: dict[str, object] = {
        "sweep.method": method, "sweep.pruner": "promotion" if method == "thaw" else "none",
        "train.total_timesteps": TOTAL_STEPS,
    }  # fmt: skip
    for i in range(DIMENSIONS):
        values[f"env.x{i}"] = 0.5
        for key, value in (("distribution", "uniform"), ("min", 0.0), ("max", 1.0), ("mean", 0.5)):
            values[f"sweep.env.x{i}.{key}"] = value
    return Config().override(values)


def make_trials() -> Iterator[Trial]:
    """Finished trials of two looks each."""
    rng = np.random.default_rng(0)
    for number, point in enumerate(rng.random((NUM_TRIALS, DIMENSIONS))):
        score = float(np.exp(-((point[:5] - 0.4) ** 2).sum()))
        curve = (
            Observation(TOTAL_STEPS // 2, 50.0, 0.8 * score),
            Observation(TOTAL_STEPS, 100.0, score),
        )
        values = {f"env.x{i}": float(x) for i, x in enumerate(point)}
        yield Trial(
            number, f"t{number}", TrialState.COMPLETE, values, curve, score, 100.0, TOTAL_STEPS, TOTAL_STEPS
        )


def time_proposals() -> list[dict[str, object]]:
    """Seconds of a proposal in a large study by method, or what the method says instead."""
    trials = tuple(make_trials())
    found: list[dict[str, object]] = []
    for name in ("thaw", *SAMPLERS):
        if name in ("grid", "bruteforce"):
            continue
        config = make_config(name)
        method = make_method(config, SearchSpace.from_config(config), 0)
        began = time.perf_counter()
        try:
            method.next(trials)
        except SearchError as error:
            print(f"{name:15s} {error.what}")
            found.append({"method": name, "refuses": error.what})
            continue
        seconds = time.perf_counter() - began
        print(f"{name:15s} {seconds:.2f} s")
        found.append({"method": name, "seconds": seconds})
    return found


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="decision,study", help="parts to measure, by commas")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    parts = arguments.only.split(",")
    facts = {"commit": git_commit(code_folder()), **machine_facts()}
    result: dict[str, object] = {"facts": facts}
    if "decision" in parts:
        result["decision"] = time_decisions()
    if "study" in parts:
        print(f"a proposal after {NUM_TRIALS} trials of {DIMENSIONS} parameters:")
        result["study"] = time_proposals()
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
