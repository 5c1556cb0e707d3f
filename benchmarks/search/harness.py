"""Runs the core in a search_bench harness: `--harness DIR` or SEARCH_HARNESS names the folder.

python -m benchmarks.search.harness --harness DIR --problems all --seeds 0-9 --out results.jsonl
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from sweeper.provenance import code_folder, git_commit
from sweeper.thaw.core import Thaw
from sweeper.thaw.records import Begin, Run
from sweeper.thaw.settings import Settings
from sweeper.thaw.surrogate import Prior

if TYPE_CHECKING:
    from collections.abc import Sequence

WINDOW = 5


class HarnessMethod:
    """The core against the harness's ledger: one worker, runs pause and go on for free."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings
        self.reasons: dict[str, int] = {}

    def run(self, session: Any, out_of_budget: type[Exception]) -> None:
        """Spends the session's budget."""
        problem = session.problem
        core = Thaw(
            problem.unit(problem.default),
            lambda points: np.clip([problem.unit(problem.config(p)) for p in points], 0, 1),
            int(session.rng.integers(2**31)),
            self.settings,
        )
        trials: list[Any] = []
        runs: list[Run] = []
        try:
            while True:
                decision = core.decide(runs)
                self.reasons[decision.reason] = self.reasons.get(decision.reason, 0) + 1
                if isinstance(decision, Begin):
                    index = len(trials)
                    trials.append(session.new(problem.config(decision.point)))
                    runs.append(self.snapshot(trials[-1], core.settings.rungs, problem.G))
                else:
                    index = decision.index
                trials[index].advance(round(decision.until * problem.G))
                runs[index] = self.snapshot(trials[index], core.settings.rungs, problem.G)
                best = core.recommend(runs)
                session.rec = None if best is None else trials[best]
        except out_of_budget:
            pass

    @staticmethod
    def snapshot(trial: Any, rungs: tuple[float, ...], grid: int) -> Run:
        """A trial of the harness as the core sees it."""
        looks = [k for k in (round(share * grid) for share in rungs) if k <= trial.k - trial.crashed]
        if trial.k and not trial.crashed and trial.k not in looks:
            looks.append(trial.k)
        levels = [float(np.mean(trial.curve.score[max(0, k - WINDOW) : k])) for k in looks]
        problem = trial.sess.problem
        return Run(
            np.clip(problem.unit(trial.config), 0, 1),
            trial.k / grid,
            trial.spent,
            np.array(looks, dtype=float) / grid,
            np.array(levels),
            bool(trial.crashed),
            None,
            not trial.crashed and trial.k < grid,
        )


def parse_settings(items: Sequence[str]) -> Settings:
    """Settings from `name=JSON` and `prior.name=JSON`."""
    own: dict[str, Any] = {}
    prior: dict[str, Any] = {}
    for item in items:
        name, text = item.split("=", 1)
        value = json.loads(text)
        target = prior if name.startswith("prior.") else own
        target[name.removeprefix("prior.")] = tuple(value) if isinstance(value, list) else value
    return Settings(prior=Prior(**prior), **own)


def main() -> None:
    """Runs the problems and seeds that the file lacks, appending one JSON line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--harness", default=os.environ.get("SEARCH_HARNESS"), help="folder with bench.py")
    parser.add_argument("--problems", default="all")
    parser.add_argument("--seeds", default="0-9")
    parser.add_argument("--out", default="results.jsonl")
    parser.add_argument("--name", default="thaw")
    parser.add_argument("--set", nargs="*", default=[], help="settings as name=value or prior.name=value")
    arguments = parser.parse_args()
    if not arguments.harness:
        parser.error("name the harness folder with --harness or SEARCH_HARNESS")
    sys.path.insert(0, arguments.harness)
    bench: Any = importlib.import_module("bench")

    settings = parse_settings(arguments.set)
    problems = bench.PROBLEMS if arguments.problems == "all" else arguments.problems.split(",")
    first, last = (arguments.seeds.split("-") * 2)[:2]
    out = Path(arguments.out)
    lines = out.read_text().splitlines() if out.exists() else []
    done = {(row["method"], row["problem"], row["seed"]) for row in map(json.loads, lines)}
    for seed in range(int(first), int(last) + 1):
        for name in problems:
            if (arguments.name, name, seed) in done:
                continue
            session = bench.make_session(name, seed, 30)
            started = time.perf_counter()
            method = HarnessMethod(settings)
            method.run(session, bench.OutOfBudget)
            result = {
                "method": arguments.name, "problem": name, "seed": seed, "n_full": 30, "err": None,
                "wall": round(time.perf_counter() - started, 2), "spent": session.spent / session.budget,
                "commit": git_commit(code_folder()),
                **bench.summarize(session),
            }  # fmt: skip
            with out.open("a") as file:
                file.write(json.dumps(result) + "\n")
            print(
                f"{name:13s} seed {seed} auc {np.mean(result['inc']):.3f} end {result['inc'][-1]:.3f} "
                f"seen {result['seen'][-1]:.3f} wall {result['wall']:.1f} trials {result['n_trials']} "
                f"full {result['n_complete']} crash {result['n_crash']} {method.reasons}",
                flush=True,
            )


if __name__ == "__main__":
    main()
