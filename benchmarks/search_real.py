"""Search methods on real training: best score, confirmed by fresh seeds, over the computing time of a search.

    python -m benchmarks.search_real run --out real.jsonl
    python -m benchmarks.search_real report real.jsonl [--plot real.svg] [--json real.json]

Acrobot and Ocean breakout, eight settings of PPO over wide ranges, beginning with PufferLib's defaults. Every
method gets the same budget of CPU seconds of one process with one thread: training, checkpoints, environments and
the method's own thinking together. CPU seconds, not wall clock, so that other work on the machine changes little.
Methods are driven through the protocol of a sweep and runs through the code of its workers; a run that the budget's
end finds on its way counts as far as it has come.

After a search, every configuration that its method recommended on the way (looked at every twelfth of the budget) is
trained at full length with fresh seeds, outside the budget; their mean is the score that the search had reached.
Each line of the file is a finished search with its confirmation: a run that was killed goes on with the next missing
one. Seeds are the outer loop and methods the inner one, so that a part of the results is fair.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks.search_plot import draw
from sweeper.folder import newest_checkpoint
from sweeper.methods import make_method
from sweeper.provenance import code_folder, git_commit, machine_facts
from sweeper.records import (
    Assignment,
    Ending,
    Finished,
    Observation,
    Reported,
    Resume,
    Trial,
    TrialState,
    Verdict,
)
from sweeper.score import Thinner, final_score
from sweeper.seeds import trial_seed
from sweeper.space import SearchSpace
from sweeper.trial import Runner, survey
from trainer.config import load_config, resolve
from trainer.errors import InfeasibleConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sweeper.records import Event, Value
    from trainer.config import Config

METHODS = ("thaw+promotion", "tpe+median", "protein+cost_quantile", "random+none")
OURS, BASELINE = METHODS[0], METHODS[-1]
BUDGET_SECONDS = 240.0
NUM_LOOKS = 12
CONFIRM_SEED = 1_000_003
"""Far from the seeds of every search: confirmations are seeds of a sweep of their own."""

TOTAL_STEPS = 300_000
SETTINGS: Mapping[str, object] = {
    "vec.num_envs": 64, "policy.hidden_size": 128, "train.total_timesteps": TOTAL_STEPS, "train.device": "cpu",
    "train.num_threads": 1, "train.bptt_horizon": 64, "train.max_minibatch_size": 4096,
    "train.checkpoint_interval": 1_000_000, "train.learning_rate": 0.015, "train.gamma": 0.995,
    "train.gae_lambda": 0.9, "train.ent_coef": 0.001, "train.clip_coef": 0.2, "train.update_epochs": 1,
    "train.minibatch_size": 1024, "train.vf_coef": 2.0,
}  # fmt: skip
SPACE: Mapping[str, tuple[str, float, float]] = {
    "learning_rate": ("log_normal", 1e-5, 0.1),
    "gamma": ("logit_normal", 0.8, 0.9999),
    "gae_lambda": ("logit_normal", 0.6, 0.995),
    "ent_coef": ("log_normal", 1e-5, 0.2),
    "clip_coef": ("uniform", 0.02, 1.0),
    "update_epochs": ("int_uniform", 1, 8),
    "minibatch_size": ("uniform_pow2", 256, 4096),
    "vf_coef": ("uniform", 0.1, 5.0),
}


Confirmed = dict[tuple[str, str], list[float | None]]
"""Scores of confirmed configurations by problem and values. Every search confirms with the same fresh seeds, so
a configuration that several recommend (the one as written, above all) is trained only once."""


def make_config(problem: str, method: str) -> Config:
    """What a user would write, but for the environment's own tuned values."""
    sampler, _, pruner = method.partition("+")
    values = dict(SETTINGS)
    values |= {"sweep.method": sampler, "sweep.pruner": pruner, "sweep.sweep_only": list(SPACE)}
    for name, (distribution, low, high) in SPACE.items():
        key = f"sweep.train.{name}"
        values |= {f"{key}.distribution": distribution, f"{key}.min": low, f"{key}.max": high}
        values |= {f"{key}.mean": SETTINGS[f"train.{name}"]}
    return load_config(f"ocean/{problem}").override(values)


@dataclass(slots=True)
class Stint:
    """A worker's line to the search: one stretch of one run, costs in CPU seconds."""

    search: Search
    trial: Trial
    thinner: Thinner
    pause_at: int | None
    began: float
    whole: list[Observation]

    def send(self, event: Event) -> None:
        """Keep what the run reports."""
        if not isinstance(event, Reported):
            return
        spent = self.trial.cost_seconds + time.process_time() - self.began
        if event.score is not None:
            self.whole.append(Observation(event.agent_steps, spent, event.score))
        seen = self.thinner.add(event.agent_steps, spent, event.score)
        curve = self.trial.curve if seen is None else (*self.trial.curve, seen)
        self.trial = replace(self.trial, curve=curve, agent_steps=event.agent_steps)
        if seen is not None:
            self.trial = replace(self.trial, score=seen.score)

    def verdict(self, *, wait: bool) -> Verdict | None:
        """Stop when the budget is used up, pause at the rung, else as the method judges."""
        if self.search.spent() >= self.search.budget:
            return Verdict.STOP
        if self.pause_at is not None and self.trial.agent_steps >= self.pause_at and self.trial.curve:
            return Verdict.PAUSE
        if not wait:
            return None
        spent = self.trial.cost_seconds + time.process_time() - self.began
        now = replace(self.trial, cost_seconds=spent)
        return self.search.method.judge(now, tuple(self.search.trials.values()))

    def beat(self) -> None:
        """Nobody watches."""


class Search:
    """One search: a method, one worker, a budget of CPU seconds."""

    def __init__(self, problem: str, method: str, seed: int, budget: float, folder: Path) -> None:
        self.config = make_config(problem, method)
        self.space = SearchSpace.from_config(self.config)
        self.method = make_method(self.config, self.space, seed)
        self.seed, self.budget, self.folder = seed, budget, folder
        self.trials: dict[str, Trial] = {}
        self.thinners: dict[str, Thinner] = {}
        self.wholes: dict[str, list[Observation]] = {}
        self.recommended: list[tuple[float, Mapping[str, Value]]] = []
        self.facts = survey(self.config).environment
        self.runner = Runner()
        self.runner.warm_up()
        self._began = time.process_time()
        self._unpaid = 0.0

    def spent(self) -> float:
        """CPU seconds so far."""
        return time.process_time() - self._began - self._unpaid

    def run(self) -> None:
        """Spend the budget."""
        while self.spent() < self.budget:
            decision = self.method.next(tuple(self.trials.values()))
            if decision is None:
                return
            if isinstance(decision, Resume):
                trial = self.trials[decision.uuid]
            else:
                number = len(self.trials)
                trial = Trial(
                    number, f"t{number}", TrialState.RUNNING, decision.values, total_agent_steps=TOTAL_STEPS
                )
            self._train(trial, decision.pause_at_steps)
            self._note_recommendation()
        self.runner.close()

    def resolved(self, values: Mapping[str, Value], seed: int) -> Config:
        """The config of one run."""
        config = self.config.override({**values, "train.seed": seed, "vec.seed": seed}, origin="sweep")
        return resolve(config, self.facts, cuda_available=False).config

    def _train(self, trial: Trial, pause_at: int | None) -> None:
        try:
            config = self.resolved(trial.values, trial_seed(self.seed, trial.number))
        except InfeasibleConfigError:
            self.trials[trial.uuid] = replace(trial, state=TrialState.INFEASIBLE)
            return
        folder = self.folder / trial.uuid
        folder.mkdir(exist_ok=True)
        running = replace(trial, state=TrialState.RUNNING)
        self.trials[trial.uuid] = running
        thinner = self.thinners.setdefault(trial.uuid, Thinner(TOTAL_STEPS))
        whole = self.wholes.setdefault(trial.uuid, [])
        stint = Stint(self, running, thinner, pause_at, time.process_time(), whole)
        assignment = Assignment(
            trial.uuid,
            trial.number,
            config,
            folder,
            1,
            newest_checkpoint(folder),
            tuple(whole),
            pause_at,
        )
        finished = self.runner.run(assignment, stint)
        spent = trial.cost_seconds + time.process_time() - stint.began
        self.trials[trial.uuid] = ended(replace(stint.trial, cost_seconds=spent), finished, whole)
        if all(found.state is TrialState.FAILED for found in self.trials.values()) and len(self.trials) >= 5:
            raise RuntimeError(f"Every run fails. The last one said: {finished.failure_message}")

    def _note_recommendation(self) -> None:
        """What the method recommends now; asking costs the search nothing, since no sweep asks that often."""
        at, began = self.spent(), time.process_time()
        best = self.method.best(tuple(self.trials.values()))
        if best is not None and at <= self.budget * 1.02:
            self.recommended.append((at, best.values))
        self._unpaid += time.process_time() - began

    def looks(self) -> list[Mapping[str, Value] | None]:
        """The recommendation at NUM_LOOKS even shares of the budget."""
        looks: list[Mapping[str, Value] | None] = []
        for share in np.arange(1, NUM_LOOKS + 1) / NUM_LOOKS:
            limit = share * self.budget * (1.02 if share == 1 else 1.0)
            known = [values for at, values in self.recommended if at <= limit]
            looks.append(known[-1] if known else None)
        return looks


def ended(trial: Trial, finished: Finished, whole: list[Observation]) -> Trial:
    """The trial as its run has left it."""
    if finished.ending is Ending.FAILED:
        return replace(trial, state=TrialState.FAILED, failure_kind=finished.failure_kind, score=None)
    if finished.ending is Ending.COMPLETE:
        score = finished.score if finished.score is not None else final_score("last", whole, TOTAL_STEPS)
        return replace(trial, state=TrialState.COMPLETE, score=score)
    state = TrialState.PAUSED if finished.ending is Ending.PAUSED else TrialState.PRUNED
    return replace(trial, state=state)


class Silent:
    """A line on which nobody listens: runs to the end."""

    def send(self, event: Event) -> None:
        """Keep nothing."""

    def verdict(self, *, wait: bool) -> Verdict | None:
        """Go on."""
        return Verdict.CONTINUE if wait else None

    def beat(self) -> None:
        """Nobody watches."""


def confirm(search: Search, values: Mapping[str, Value], num_seeds: int) -> list[float | None]:
    """Scores of full runs with fresh seeds; None for a run that fails."""
    runner = Runner()
    scores: list[float | None] = []
    for number in range(num_seeds):
        place = search.folder / f"confirm-{len(list(search.folder.iterdir()))}"
        place.mkdir()
        chosen = search.resolved(values, trial_seed(CONFIRM_SEED, number))
        scores.append(runner.run(Assignment("c", number, chosen, place, 1), Silent()).score)
    runner.close()
    return scores


def run_one(
    problem: str, method: str, seed: int, budget: float, confirm_seeds: int, confirmed: Confirmed
) -> dict[str, Any]:
    """A search and its confirmation; what is confirmed already is not trained again."""
    with (
        tempfile.TemporaryDirectory(prefix="search-real-") as name,
        open(os.devnull, "w") as nowhere,  # noqa: PTH123 - a device, not a file
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        folder = Path(name)
        search = Search(problem, method, seed, budget, folder)
        search.run()
        spent = search.spent()
        looks = search.looks()
        for values in looks:
            key = (problem, json.dumps(values, sort_keys=True))
            if values is not None and len(confirmed.get(key, ())) != confirm_seeds:
                confirmed[key] = confirm(search, values, confirm_seeds)
    states = [trial.state for trial in search.trials.values()]
    return {
        "problem": problem, "method": method, "seed": seed, "budget": budget, "spent": round(spent, 1),
        "looks": [
            None if v is None else confirmed[problem, json.dumps(v, sort_keys=True)] for v in looks
        ],
        "configs": looks, "trials": len(states), "complete": states.count(TrialState.COMPLETE),
        "failed": states.count(TrialState.FAILED), "commit": git_commit(code_folder()),
    }  # fmt: skip


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of results; none where there is no file yet."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def command_run(arguments: argparse.Namespace) -> None:
    rows = read(arguments.out)
    done = {(row["problem"], row["method"], row["seed"]) for row in rows}
    confirmed: Confirmed = {
        (row["problem"], json.dumps(values, sort_keys=True)): scores
        for row in rows
        for values, scores in zip(row["configs"], row["looks"], strict=True)
        if values is not None
    }
    first, last = (int(part) for part in (arguments.seeds.split("-") * 2)[:2])
    for seed in range(first, last + 1):
        for problem in arguments.problems.split(","):
            for method in arguments.methods.split(","):
                if (problem, method, seed) in done:
                    continue
                row = run_one(
                    problem, method, seed, arguments.budget_seconds, arguments.confirm_seeds, confirmed
                )
                with arguments.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(
                    f"{problem:9s} {method:22s} seed {seed} trials {row['trials']} complete {row['complete']} "
                    f"failed {row['failed']} scores {[mean_of(look) for look in row['looks']]}",
                    flush=True,
                )


def mean_of(scores: Iterable[float | None] | None) -> float | None:
    """Mean of those runs that have a score."""
    known = [score for score in scores or () if score is not None]
    return round(float(np.mean(known)), 2) if known else None


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """For each problem: mean confirmed score over the budget by method, over the seeds that all methods have."""
    summary: dict[str, Any] = {}
    for problem in dict.fromkeys(row["problem"] for row in rows):
        mine = [row for row in rows if row["problem"] == problem]
        by_method = {m: {r["seed"]: r for r in mine if r["method"] == m} for m in METHODS}
        seeds = sorted(set.intersection(*(set(found) for found in by_method.values())))
        if not seeds:
            continue
        worst = min(
            (s for row in mine for look in row["looks"] for s in look or () if s is not None), default=0.0
        )
        curves = {
            method: [
                [worst if (score := mean_of(look)) is None else score for look in found[seed]["looks"]]
                for seed in seeds
            ]
            for method, found in by_method.items()
        }
        means = {method: np.mean(curve, axis=0) for method, curve in curves.items()}
        errors = {
            method: np.std(curve, axis=0, ddof=1) / len(seeds) ** 0.5
            if len(seeds) > 1
            else np.zeros(NUM_LOOKS)
            for method, curve in curves.items()
        }
        summary[problem] = {
            "seeds": seeds,
            "budget": mine[0]["budget"],
            "mean": {method: [round(float(v), 2) for v in mean] for method, mean in means.items()},
            "error": {method: [round(float(v), 2) for v in error] for method, error in errors.items()},
            "share_to_baseline": {m: share_to_reach(means[m], float(means[BASELINE][-1])) for m in METHODS},
        }
    return summary


def share_to_reach(curve: np.ndarray[Any, np.dtype[np.float64]], target: float) -> float | None:
    """The first look, as a share of the budget, at which a curve is at the target; None if it never is."""
    reached = np.flatnonzero(curve >= target)
    return None if not len(reached) else round((int(reached[0]) + 1) / NUM_LOOKS, 3)


def command_report(arguments: argparse.Namespace) -> None:
    summary = summarise(read(arguments.file))
    for problem, found in summary.items():
        print(f"\n{problem}: {len(found['seeds'])} seeds, {found['budget']:.0f} CPU seconds a search")
        for method in METHODS:
            share = found["share_to_baseline"][method]
            when = "never" if share is None else f"after {share:.0%} of the budget"
            looks = " ".join(f"{score:8.2f}" for score in found["mean"][method])
            end, error = found["mean"][method][-1], found["error"][method][-1]
            print(f"{method:22s} {looks}   end {end:.2f} ± {error:.2f}; at random's final score {when}")
    if arguments.plot:
        arguments.plot.write_text(draw(summary, METHODS))
    if arguments.json:
        facts = {"commit": git_commit(code_folder()), **machine_facts()}
        arguments.json.write_text(json.dumps({"facts": facts, "problems": summary}, indent=1) + "\n")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="search and confirm what is missing in the file")
    run.add_argument("--out", type=Path, default=Path("search_real.jsonl"))
    run.add_argument("--problems", default="acrobot,breakout")
    run.add_argument("--methods", default=",".join(METHODS))
    run.add_argument("--seeds", default="0-4")
    run.add_argument("--budget-seconds", type=float, default=BUDGET_SECONDS)
    run.add_argument("--confirm-seeds", type=int, default=3)
    run.set_defaults(command=command_run)
    report = commands.add_parser("report", help="what the file says")
    report.add_argument("file", type=Path)
    report.add_argument("--plot", type=Path, help="an .svg to write")
    report.add_argument("--json", type=Path)
    report.set_defaults(command=command_report)
    arguments = parser.parse_args()
    arguments.command(arguments)


if __name__ == "__main__":
    main()
