"""The results of `benchmarks.search.run` side by side: mean AUC regret by problem and method, paired differences below.

    python -m benchmarks.search.table search.jsonl

Differences are taken over the problems and seeds that both methods have run; positive ones are worse than the first.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    found: dict[str, dict[tuple[str, int], float]] = defaultdict(dict)
    for line in parser.parse_args().file.read_text().splitlines():
        row = json.loads(line)
        found[row["method"]][row["problem"], row["seed"]] = row["auc"]
    methods = list(found)
    ours = found[methods[0]]
    problems = list(dict.fromkeys(problem for problem, _ in ours))
    print(f"| problem | seeds | {' | '.join(methods)} |\n|---|---|{'---|' * len(methods)}")
    for problem in problems:
        cells = [[auc for (name, _), auc in found[method].items() if name == problem] for method in methods]
        means = " | ".join(f"{np.mean(cell):.3f}" if cell else "–" for cell in cells)
        print(f"| {problem} | {len(cells[0])} | {means} |")
    print(f"| all | {len(ours)} | {' | '.join(_with_error(list(found[m].values())) for m in methods)} |\n")
    for method in methods[1:]:
        pairs = [auc - ours[key] for key, auc in found[method].items() if key in ours]
        print(f"{method} - {methods[0]}: {_with_error(pairs)} over {len(pairs)} pairs")


def _with_error(values: list[float]) -> str:
    error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{np.mean(values):.3f} ± {error:.3f}"


if __name__ == "__main__":
    main()
