"""What parallel workers cost: whole sweeps on the simulated launcher, the same total compute for any number of workers.

    python -m benchmarks.search.parallel run --out parallel.jsonl [--problems valley8,liar6] [--seeds 0-4]
    python -m benchmarks.search.parallel report parallel.jsonl [--json FILE]
    python -m benchmarks.search.parallel crowd [--trials 1000] [--workers 64]

run     sweeps as `start` runs them (loop, database, pauses, thinking ahead) over pretended trials on a virtual clock; a
        trial's curve is a run of one of the project's problems or of a table (`--table FILE`). Compute is the seconds
        of all trials together, those under way included; regret is that of the configuration the method recommends.
report  AUC regret by problem, and what more workers lose against one over the same problems and seeds
crowd   how long a study of many trials on many workers takes the loop and the method, in real seconds
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks.search.problems import POINTS, Problem, make_problem
from benchmarks.search.run import BUDGET, GRID, problem_settings
from sweeper.clock import VirtualClock
from sweeper.launchers.simulated import Behaviour, Epoch, SimulatedLauncher
from sweeper.listener import EndReason, Silence
from sweeper.loop import Sweep
from sweeper.provenance import code_folder, git_commit, machine_facts
from trainer.config import Config
from trainer.errors import FailureKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sweeper.records import Assignment, Reported, Trial

PROBLEMS = "valley8,liar6,minefield10,cliffs4,broad20"
FULL_SECONDS = 10.0
"""Virtual seconds of a problem's median full run. A clock that stands still between events is looked at four times a
second all the same, so that long ones take longer to pretend."""


class Onlooker(Silence):
    """Notes what the method recommends whenever a trial pauses or ends, and what has been spent by then."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._trials: dict[str, Trial] = {}
        self._spent: dict[str, float] = {}
        self.sweep: Sweep | None = None
        self.regret: list[tuple[float, float]] = []

    def on_started(self, trial: Trial) -> None:
        """See `SweepListener.on_started`."""
        self._trials[trial.uuid] = trial

    def on_reported(self, trial: Trial, report: Reported) -> None:
        """See `SweepListener.on_reported`."""
        self._trials[trial.uuid] = trial
        self._spent[trial.uuid] = report.cost_seconds

    def on_finished(self, trial: Trial) -> None:
        """See `SweepListener.on_finished`."""
        self._trials[trial.uuid] = trial
        self._spent[trial.uuid] = trial.cost_seconds
        if self.sweep is None:
            raise RuntimeError("the onlooker has not been told whom to look at")
        best = self.sweep.method.best(tuple(self._trials.values()))
        value = 0.0 if best is None else self._problem.truth(self.sweep.space.encode(best.values))
        self.regret.append((sum(self._spent.values()), 1 - value))

    def trajectory(self, budget: float) -> list[float]:
        """Regret at GRID even shares of the budget."""
        values, current, i = [], 1.0, 0
        for share in np.arange(1, GRID + 1) / GRID:
            while i < len(self.regret) and self.regret[i][0] <= share * budget + 1e-6:
                current = self.regret[i][1]
                i += 1
            values.append(current)
        return values

    @property
    def num_trials(self) -> int:
        """Started so far."""
        return len(self._trials)


def pretend(problem: Problem, seed: int) -> Behaviour:
    """How trials behave: epoch after epoch along a run of the problem, the same one for the same trial."""

    def behave(assignment: Assignment) -> Iterator[Epoch]:
        point = np.array([assignment.config.get(f"env.{name}") for name in problem.names], dtype=float)
        curve = problem.run(point, np.random.default_rng([seed, 77, assignment.number]))
        total = assignment.config.train.total_timesteps
        scale = FULL_SECONDS / problem.full_cost
        before = 0.0
        for number in range(POINTS):
            score, cost = float(curve.score[number]), scale * float(curve.cost[number])
            failure = FailureKind.NOT_FINITE if np.isnan(score) else None
            yield Epoch(total * (number + 1) // POINTS, cost - before, None if failure else score, failure)
            before = cost

    return behave


def search(problem: Problem, method: str, pruner: str, seed: int, workers: int) -> dict[str, Any]:
    """One sweep."""
    budget = BUDGET * FULL_SECONDS
    config = Config().override(
        problem_settings(problem, method, pruner)
        | {"sweep.seed": seed, "sweep.max_cost_seconds": budget, "sweep.max_runs": 100_000}
    )
    clock, onlooker = VirtualClock(), Onlooker(problem)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="parallel-") as name:
        launcher = SimulatedLauncher(workers, clock, pretend(problem, seed))
        sweep = Sweep(
            config, Path(name) / "studies.db", "measured", launcher=launcher, clock=clock, listener=onlooker
        )
        onlooker.sweep = sweep
        if sweep.run().reason is EndReason.INTERRUPTED:
            raise SystemExit("Interrupted: this search is not noted.")
    inc = onlooker.trajectory(budget)
    return {
        "method": f"{method}+{pruner}", "problem": problem.name, "seed": seed, "workers": workers,
        "auc": round(float(np.mean(inc)), 5), "inc": inc, "trials": onlooker.num_trials,
        "virtual_seconds": round(clock.monotonic(), 1), "real_seconds": round(time.perf_counter() - began, 1),
    }  # fmt: skip


def command_run(arguments: argparse.Namespace) -> None:
    done = {(row["method"], row["problem"], row["seed"], row["workers"]) for row in read(arguments.out)}
    first, last = (int(part) for part in (arguments.seeds.split("-") * 2)[:2])
    for seed in range(first, last + 1):
        for name in [*arguments.problems.split(","), *arguments.table]:
            problem = make_problem(name)
            for method in arguments.methods.split(","):
                sampler, _, pruner = method.partition("+")
                for workers in arguments.workers:
                    if (method, problem.name, seed, workers) in done:
                        continue
                    row = search(problem, sampler, pruner or "promotion", seed, workers)
                    row |= {"method": method, "commit": git_commit(code_folder())}
                    with arguments.out.open("a") as file:
                        file.write(json.dumps(row) + "\n")
                    print(
                        f"{method:10s} {problem.name:12s} seed {seed} workers {workers:2d} auc {row['auc']:.3f} "
                        f"trials {row['trials']} in {row['virtual_seconds']:.0f} virtual seconds, "
                        f"{row['real_seconds']:.1f} real ones",
                        flush=True,
                    )


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of results; none where there is no file yet."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def command_report(arguments: argparse.Namespace) -> None:
    found: dict[str, dict[tuple[str, int], dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in read(arguments.file):
        found[row["method"]][row["problem"], row["seed"]][row["workers"]] = row["auc"]
    summary = []
    for method, searches in found.items():
        many = max(workers for by_workers in searches.values() for workers in by_workers)
        pairs = {key: by for key, by in searches.items() if 1 in by and many in by}
        names = list(dict.fromkeys(name for name, _ in pairs))
        print(f"{method}: AUC regret at equal total compute\n")
        print(f"| problem | seeds | 1 worker | {many} workers | change |\n|---|---|---|---|---|")
        for name in [*names, "all"]:
            both = np.array([(by[1], by[many]) for key, by in pairs.items() if name in ("all", key[0])])
            change = both[:, 1] - both[:, 0]
            error = float(change.std(ddof=1)) / len(change) ** 0.5 if len(change) > 1 else float("nan")
            one, more = both.mean(0)
            print(
                f"| {name} | {len(both)} | {one:.3f} | {more:.3f} | {change.mean():+.3f} ± {error:.3f} "
                f"({more / one - 1:+.0%}) |"
            )
            summary.append(
                {
                    "method": method, "problem": name, "seeds": len(both), "workers": many,
                    "auc_1": float(one), "auc_many": float(more), "change": float(change.mean()),
                    "error": error, "relative": float(more / one - 1),
                }
            )  # fmt: skip
    if arguments.json:
        facts = {"commit": git_commit(code_folder()), **machine_facts()}
        arguments.json.write_text(json.dumps({"facts": facts, "parallel": summary}, indent=1) + "\n")


def command_crowd(arguments: argparse.Namespace) -> None:
    problem = make_problem(arguments.problem)
    clock = VirtualClock()
    settings: dict[str, object] = {"sweep.max_runs": arguments.trials, "sweep.max_suggestion_cost": 1e9}
    config = Config().override(problem_settings(problem, arguments.method, arguments.pruner) | settings)
    with tempfile.TemporaryDirectory(prefix="crowd-") as name:
        launcher = SimulatedLauncher(arguments.workers, clock, pretend(problem, 0))
        sweep = Sweep(config, Path(name) / "studies.db", "crowd", launcher=launcher, clock=clock)
        began, cpu = time.perf_counter(), time.process_time()
        outcome = sweep.run()
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    print(
        f"{arguments.method}+{arguments.pruner}: {sum(outcome.counts.values())} trials of {problem.name} on "
        f"{arguments.workers} workers, {clock.monotonic():.0f} virtual seconds: {seconds:.1f} s, {cpu_seconds:.1f} "
        f"CPU seconds; {', '.join(f'{n} {state.value}' for state, n in outcome.counts.items() if n)}"
    )


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="run what is missing in the file")
    run.add_argument("--out", type=Path, default=Path("parallel.jsonl"))
    run.add_argument("--problems", default=PROBLEMS)
    run.add_argument("--table", action="append", default=[], help="an .npz of real curves (see problems.py)")
    run.add_argument("--methods", default="thaw", help="name or name+pruner, by commas")
    run.add_argument("--seeds", default="0-4")
    run.add_argument("--workers", type=int, nargs="+", default=[1, 4])
    run.set_defaults(command=command_run)
    report = commands.add_parser("report", help="what the file says")
    report.add_argument("file", type=Path)
    report.add_argument("--json", type=Path)
    report.set_defaults(command=command_report)
    crowd = commands.add_parser("crowd", help="many trials on many workers")
    crowd.add_argument("--trials", type=int, default=1000)
    crowd.add_argument("--workers", type=int, default=64)
    crowd.add_argument("--problem", default="valley8")
    crowd.add_argument("--method", default="thaw")
    crowd.add_argument("--pruner", default="promotion")
    crowd.set_defaults(command=command_crowd)
    arguments = parser.parse_args()
    arguments.command(arguments)


if __name__ == "__main__":
    main()
