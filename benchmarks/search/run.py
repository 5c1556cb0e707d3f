"""How much score does a method buy per unit of compute? Any method of the project, on a virtual clock.

    python -m benchmarks.search.run --methods thaw,tpe,random --problems all --seeds 0-9 --workers 1
    python -m benchmarks.search.run --methods thaw --table curves.npz

The budget is the cost of 30 full runs, whatever the number of workers; the first configuration is the
middle of the space; pausing and resuming is free; a crash costs what it has cost so far. Regret is that of
the configuration the method recommends, at full length and without noise (1 worst, 0 best); AUC is its mean
over the budget. Every method is
driven through the same protocol as in a sweep: snapshots of trials in, decisions out.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks.search.problems import POINTS, SHAPES, Curve, Problem, make_problem
from sweeper.methods import make_method
from sweeper.methods.base import ComposedMethod, Method
from sweeper.methods.freeze_thaw import ThawMethod, ThawSampler
from sweeper.methods.registry import make_goal
from sweeper.pruners.base import JudgingPruner
from sweeper.records import Observation, Resume, Trial, TrialState, Verdict
from sweeper.space import SearchSpace
from trainer.config import Config
from trainer.errors import FailureKind

if TYPE_CHECKING:
    from sweeper.thaw.settings import Settings

BUDGET = 30
GRID = 60
STEPS_PER_POINT = 1000
TOTAL = POINTS * STEPS_PER_POINT


def problem_settings(problem: Problem, method: str, pruner: str) -> dict[str, object]:
    """The settings of a sweep over a problem: its unit cube as keys of the environment."""
    values: dict[str, object] = {
        "sweep.method": method, "sweep.pruner": pruner, "train.total_timesteps": TOTAL,
    }  # fmt: skip
    for name in problem.names:
        values[f"env.{name}"] = 0.5
        for key, value in (("distribution", "uniform"), ("min", 0.0), ("max", 1.0), ("mean", 0.5)):
            values[f"sweep.env.{name}.{key}"] = value
    return values


class Study:
    """One search on one problem: trials, a clock, slots."""

    def __init__(
        self,
        problem: Problem,
        method: str,
        pruner: str,
        seed: int,
        workers: int,
        settings: Settings | None = None,
    ) -> None:
        self.problem = problem
        config = Config().override(problem_settings(problem, method, pruner))
        self.space = SearchSpace.from_config(config)
        self.method: Method = make_method(config, self.space, seed)
        if settings is not None:
            first = self.space.first_points()
            if settings.only_new:
                sampler, no_pruner = ThawSampler(settings), JudgingPruner()
                self.method = ComposedMethod(
                    sampler, no_pruner, self.space, make_goal(config), seed, total_steps=TOTAL, first=first
                )
            else:
                self.method = ThawMethod(
                    self.space, make_goal(config), seed, total_steps=TOTAL, first=first, settings=settings
                )
        self.workers = workers
        self.rng = np.random.default_rng([seed, 77])
        self.budget = BUDGET * problem.full_cost
        self.trials: dict[str, Trial] = {}
        self.curves: dict[str, Curve] = {}
        self.spent = 0.0
        self.suggest_seconds = 0.0
        self.regret: list[tuple[float, float]] = []

    def run(self) -> None:
        """Spends the budget; workers are ahead of each other as their costs say."""
        busy: list[tuple[float, int, str, int]] = []
        clock, order = 0.0, 0
        while self.spent < self.budget:
            while len(busy) < self.workers:
                started = time.perf_counter()
                decision = self.method.next(tuple(self.trials.values()))
                self.suggest_seconds += time.perf_counter() - started
                if decision is None:
                    break
                if isinstance(decision, Resume):
                    trial = self.trials[decision.uuid]
                else:
                    number = len(self.trials)
                    trial = Trial(
                        number, f"t{number}", TrialState.RUNNING, decision.values, total_agent_steps=TOTAL
                    )
                    self.curves[trial.uuid] = self.problem.run(self.space.encode(decision.values), self.rng)
                until = TOTAL if decision.pause_at_steps is None else min(decision.pause_at_steps, TOTAL)
                end, cost = self._advance(trial, -(-until // STEPS_PER_POINT))
                order += 1
                heapq.heappush(busy, (clock + cost, order, trial.uuid, end))
                self.trials[trial.uuid] = replace(trial, state=TrialState.RUNNING)
            if not busy:
                break
            clock, _, uuid, end = heapq.heappop(busy)
            self._finish(uuid, end)

    def _advance(self, trial: Trial, until: int) -> tuple[int, float]:
        """How far the run comes, and what that costs; verdicts are asked point by point."""
        curve = self.curves[trial.uuid]
        begun = trial.agent_steps // STEPS_PER_POINT
        spent = float(curve.cost[begun - 1]) if begun else 0.0
        bad = np.flatnonzero(np.isnan(curve.score[begun:until]))
        end = begun + int(bad[0]) + 1 if len(bad) else until
        return end, float(curve.cost[end - 1]) - spent

    def _finish(self, uuid: str, end: int) -> None:
        trial, curve = self.trials[uuid], self.curves[uuid]
        for point in range(trial.agent_steps // STEPS_PER_POINT, end):
            before = trial.cost_seconds
            steps, cost, score = (
                (point + 1) * STEPS_PER_POINT,
                float(curve.cost[point]),
                float(curve.score[point]),
            )
            self.spent += cost - before
            trial = replace(trial, agent_steps=steps, cost_seconds=cost)
            if np.isnan(score):
                trial = replace(trial, state=TrialState.FAILED, failure_kind=FailureKind.NOT_FINITE)
                break
            points = (*trial.curve, Observation(steps, cost, score))
            level = float(np.mean([p.score for p in points[-5:]]))
            trial = replace(trial, curve=points, score=level)
            if self.method.judge(trial, tuple(self.trials.values())) is Verdict.STOP:
                trial = replace(trial, state=TrialState.PRUNED)
                break
        else:
            trial = replace(trial, state=TrialState.COMPLETE if end == POINTS else TrialState.PAUSED)
        self.trials[uuid] = trial
        best = self.method.best(tuple(self.trials.values()))
        regret = 1.0 if best is None else 1 - self.problem.truth(self.space.encode(best.values))
        self.regret.append((self.spent, regret))

    def trajectory(self) -> list[float]:
        """Regret at GRID even shares of the budget."""
        values, current, i = [], 1.0, 0
        for share in np.arange(1, GRID + 1) / GRID:
            while i < len(self.regret) and self.regret[i][0] <= share * self.budget:
                current = self.regret[i][1]
                i += 1
            values.append(current)
        return values


def main() -> None:
    """Runs methods, problems and seeds; prints and appends a JSON line each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", default="thaw", help="name or name+pruner, by commas")
    parser.add_argument("--problems", default="all")
    parser.add_argument(
        "--table", action="append", default=[], help="an .npz of real curves (see problems.py)"
    )
    parser.add_argument("--seeds", default="0-2")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", default="search.jsonl")
    arguments = parser.parse_args()
    problems = (
        list(SHAPES) if arguments.problems == "all" else [p for p in arguments.problems.split(",") if p]
    )
    problems = (
        arguments.table if arguments.table and arguments.problems == "all" else problems + arguments.table
    )
    first, last = (arguments.seeds.split("-") * 2)[:2]
    for seed in range(int(first), int(last) + 1):
        for name in problems:
            problem = make_problem(name)
            for method in arguments.methods.split(","):
                sampler, _, pruner = method.partition("+")
                study = Study(problem, sampler, pruner or "promotion", seed, arguments.workers)
                study.run()
                inc = study.trajectory()
                states = [trial.state for trial in study.trials.values()]
                result = {
                    "method": method, "problem": problem.name, "seed": seed, "workers": arguments.workers,
                    "auc": round(float(np.mean(inc)), 5), "inc": [round(v, 4) for v in inc], "trials": len(states),
                    "complete": states.count(TrialState.COMPLETE), "failed": states.count(TrialState.FAILED),
                    "suggest_seconds": round(study.suggest_seconds, 2),
                }  # fmt: skip
                with Path(arguments.out).open("a") as file:
                    file.write(json.dumps(result) + "\n")
                print(
                    f"{method:20s} {problem.name:12s} seed {seed} auc {result['auc']:.3f} end {inc[-1]:.3f} "
                    f"trials {len(states)} complete {result['complete']} failed {result['failed']} "
                    f"{study.suggest_seconds:.1f} s in suggestions",
                    flush=True,
                )


if __name__ == "__main__":
    main()
