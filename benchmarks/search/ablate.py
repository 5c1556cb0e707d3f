"""What each choice of the project's own method is worth: Thaw with one of them switched off at a time.

    python -m benchmarks.search.ablate run --out ablations.jsonl [--problems valley8,liar6] [--seeds 0-4]
    python -m benchmarks.search.ablate run --out ablations.jsonl --harness DIR      (problems of a search_bench)
    python -m benchmarks.search.ablate report ablations.jsonl [--json FILE]

Differences are paired: the same problems and seeds with and without. The file is appended to and goes on where it
was stopped; seeds are the outer loop.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks.search.harness import HarnessMethod
from benchmarks.search.problems import SHAPES, make_problem
from benchmarks.search.run import Study
from sweeper.provenance import code_folder, git_commit, machine_facts
from sweeper.thaw.settings import Settings
from sweeper.thaw.surrogate import Prior

if TYPE_CHECKING:
    from collections.abc import Mapping

WHOLE = "thaw"
PLAIN = Settings()
FIXED = 1e-3
"""Width of a prior that lets its hyperparameter learn nothing."""

VARIANTS: Mapping[str, Settings] = {
    WHOLE: PLAIN,
    "no model of crashes": replace(PLAIN, crash_model=False),
    "no model of costs": replace(PLAIN, cost_model=False),
    "trust in short runs not learnt": replace(PLAIN, prior=replace(PLAIN.prior, drift_sd=FIXED)),
    "full trust in short runs": replace(PLAIN, prior=replace(PLAIN.prior, drift=0.01, drift_sd=FIXED)),
    "differences as large in short runs": replace(
        PLAIN, prior=replace(PLAIN.prior, growth=0.01, growth_sd=FIXED)
    ),
    "noise believed before anything learns": replace(PLAIN, flat_rule=False),
    "duds forgotten": replace(PLAIN, dud_model=False),
    "no length scales learnt": replace(PLAIN, prior=Prior(length_scale_sd=FIXED)),
    "no heavy tails": replace(PLAIN, robust_rounds=0),
    "heavy tails on both sides": replace(PLAIN, lucky_outliers=True),
    "no repeats of leaders": replace(PLAIN, repeats=0),
    "no share for leaders": replace(PLAIN, verify=0.0),
    "no run uncut": replace(PLAIN, uncut=0.0),
    "global proposals only": replace(PLAIN, global_share=1.0),
    "local proposals only": replace(PLAIN, global_share=0.0),
    "no refinement of proposals": replace(PLAIN, rounds=0),
    "scores not compressed": replace(PLAIN, compression=100.0),
    "looks that move no rival": replace(PLAIN, correlated=False),
    "expected improvement x correlation": replace(PLAIN, knowledge_gradient=False),
    "recommends without caution": replace(PLAIN, risk=0.0),
    "full-length runs only": replace(PLAIN, only_new=True),
}


def measure(problem: str, seed: int, settings: Settings, harness: Any) -> float:
    """AUC regret of one search."""
    if harness is not None:
        session = harness.make_session(problem, seed, 30)
        HarnessMethod(settings).run(session, harness.OutOfBudget)
        return float(np.mean(harness.summarize(session)["inc"]))
    study = Study(make_problem(problem), "thaw", "promotion", seed, workers=1, settings=settings)
    study.run()
    return float(np.mean(study.trajectory()))


def command_run(arguments: argparse.Namespace) -> None:
    harness: Any = None
    if arguments.harness:
        sys.path.insert(0, arguments.harness)
        harness = importlib.import_module("bench")
    every = list(SHAPES) if harness is None else list(harness.PROBLEMS)
    problems = every if arguments.problems == "all" else arguments.problems.split(",")
    chosen = list(VARIANTS) if arguments.variants == "all" else [WHOLE, *arguments.variants.split(",")]
    done = {(row["variant"], row["problem"], row["seed"]) for row in read(arguments.out)}
    first, last = (int(part) for part in (arguments.seeds.split("-") * 2)[:2])
    for seed in range(first, last + 1):
        for problem in problems:
            for variant in chosen:
                if (variant, problem, seed) in done:
                    continue
                auc = measure(problem, seed, VARIANTS[variant], harness)
                with arguments.out.open("a") as file:
                    row = {"variant": variant, "problem": problem, "seed": seed, "auc": round(auc, 5)}
                    file.write(json.dumps(row) + "\n")
                print(f"{problem:13s} seed {seed} {variant:36s} {auc:.3f}", flush=True)


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of results; none where there is no file yet."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def command_report(arguments: argparse.Namespace) -> None:
    found: dict[str, dict[tuple[str, int], float]] = defaultdict(dict)
    for row in read(arguments.file):
        found[row["variant"]][row["problem"], row["seed"]] = row["auc"]
    whole = found[WHOLE]
    summary = []
    print("| switched off | worse by (AUC, paired) | runs | by problem |\n|---|---|---|---|")
    for variant, results in found.items():
        pairs = [(key, value - whole[key]) for key, value in results.items() if key in whole]
        if variant == WHOLE or not pairs:
            continue
        differences = np.array([difference for _, difference in pairs])
        error = differences.std(ddof=1) / len(pairs) ** 0.5 if len(pairs) > 1 else float("nan")
        names = dict.fromkeys(key[0] for key, _ in pairs)
        by = {name: float(np.mean([diff for key, diff in pairs if key[0] == name])) for name in names}
        each = ", ".join(f"{name} {value:+.3f}" for name, value in by.items())
        print(f"| {variant} | {differences.mean():+.3f} ± {error:.3f} | {len(pairs)} | {each} |")
        summary.append({"variant": variant, "worse_by": differences.mean(), "error": error, "by_problem": by})
    print(f"\nThaw whole: {np.mean(list(whole.values())):.3f} over {len(whole)} runs.")
    if arguments.json:
        facts = {"commit": git_commit(code_folder()), **machine_facts()}
        arguments.json.write_text(json.dumps({"facts": facts, "ablations": summary}, indent=1) + "\n")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="run what is missing in the file")
    run.add_argument("--out", type=Path, default=Path("ablations.jsonl"))
    run.add_argument("--harness", default=os.environ.get("SEARCH_HARNESS"), help="folder with bench.py")
    run.add_argument("--problems", default="all")
    run.add_argument("--variants", default="all", help="names by commas; see VARIANTS in this file")
    run.add_argument("--seeds", default="0-4")
    run.set_defaults(command=command_run)
    report = commands.add_parser("report", help="what the file says")
    report.add_argument("file", type=Path)
    report.add_argument("--json", type=Path)
    report.set_defaults(command=command_report)
    arguments = parser.parse_args()
    arguments.command(arguments)


if __name__ == "__main__":
    main()
