"""What `benchmarks.search.harness` has found, beside the rivals' results in the harness's own README.

python -m benchmarks.search.harness_report results.jsonl --harness DIR [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from sweeper.provenance import code_folder, git_commit, machine_facts

GOALS = {"pong": 0.22, "syn12_easy": 0.11, "syn14_cliff": 0.55, "syn16_costly": 0.29}
"""What is aimed at; see docs/search.md."""

NOT_RIVALS = ("sketch",)
"""Rows of the table that are nobody's released method."""


def read_rivals(readme: Path) -> dict[str, dict[str, float]]:
    """AUC by method and problem, from the table whose columns are the problems; gaps are left out."""
    columns: list[str] = []
    rivals: dict[str, dict[str, float]] = {}
    for line in readme.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) < 3:
            continue
        if not columns:
            columns = cells[1:] if set(cells[1:]) & set(GOALS) else []
            continue
        figures = {}
        for problem, cell in zip(columns, cells[1:], strict=False):
            found = re.match(r"\*{0,2}(\.\d+|\d\.\d+)", cell)
            if found:
                figures[problem] = float(found[1])
        if figures and not cells[0].startswith(NOT_RIVALS):
            rivals[re.sub(r"\s*\([^)]*seeds?\)", "", cells[0])] = figures
    return rivals


def summarise(rows: list[dict[str, Any]], rivals: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    """Per problem: mean AUC regret and its standard error, the best rival and the goal."""
    summary = []
    for problem in dict.fromkeys(row["problem"] for row in rows):
        mine = {row["seed"]: row for row in rows if row["problem"] == problem}
        auc = np.array([np.mean(row["inc"]) for row in mine.values()])
        seen = np.array([np.mean(row["seen"]) for row in mine.values()])
        error = float(auc.std(ddof=1)) / len(auc) ** 0.5 if len(auc) > 1 else float("nan")
        known = {name: figures[problem] for name, figures in rivals.items() if problem in figures}
        rival = min(known, key=lambda name: known[name], default=None)
        best = None if rival is None else known[rival]
        summary.append(
            {
                "problem": problem, "seeds": sorted(mine), "auc": round(float(auc.mean()), 4),
                "error": round(error, 4), "auc_of_best_touched": round(float(seen.mean()), 4),
                "end": round(float(np.mean([row["inc"][-1] for row in mine.values()])), 4),
                "crashes": float(np.mean([row["n_crash"] for row in mine.values()])),
                "goal": GOALS.get(problem), "best_rival": rival, "best_rival_auc": best,
                "goal_met": problem in GOALS and bool(auc.mean() <= GOALS[problem]),
                "at_or_below_rival": best is not None and bool(auc.mean() <= best + error),
                "commits": sorted({row.get("commit", "unknown") for row in mine.values()}),
                "by_seed": {seed: round(float(np.mean(row["inc"])), 4) for seed, row in mine.items()},
            }
        )  # fmt: skip
    return summary


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--harness", default=os.environ.get("SEARCH_HARNESS"), help="folder with README.md")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if not arguments.harness:
        parser.error("name the harness folder with --harness or SEARCH_HARNESS")
    rows = [json.loads(line) for line in arguments.file.read_text().splitlines()]
    rivals = read_rivals(Path(arguments.harness) / "README.md")
    summary = summarise(rows, rivals)
    print(
        "| | seeds | Thaw, mean ± standard error | best rival | goal | goal met | no worse than the rival |"
    )
    print("|---|---|---|---|---|---|---|")
    for row in summary:
        print(
            f"| {row['problem']} | {row['seeds'][0]}–{row['seeds'][-1]} ({len(row['seeds'])}) "
            f"| {row['auc']:.3f} ± {row['error']:.3f} | {row['best_rival_auc']} ({row['best_rival']}) "
            f"| {row['goal']} | {'yes' if row['goal_met'] else 'no'} "
            f"| {'yes' if row['at_or_below_rival'] else 'no'} |"
        )
    if arguments.json:
        facts = {"commit": git_commit(code_folder()), **machine_facts()}
        found = {"facts": facts, "problems": summary, "rivals": rivals}
        arguments.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
