"""Runs every golden scenario over five seeds and writes curves.json.

    python tests/golden/regenerate.py [NAME ...]

Do this when learning is meant to change, look at the difference, and say in the commit why it is right.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
from pathlib import Path

SEEDS = (1, 2, 3, 4, 5)

spec = importlib.util.spec_from_file_location("golden_scenarios", Path(__file__).parent / "conftest.py")
scenarios = importlib.util.module_from_spec(spec)
spec.loader.exec_module(scenarios)


def main(names: list[str]) -> None:
    known = json.loads(scenarios.CURVES.read_text()) if scenarios.CURVES.is_file() else {}
    for name in names or list(scenarios.SCENARIOS):
        make_config, make_vector = scenarios.SCENARIOS[name]
        curves = [scenarios.learning_curve(make_config(), make_vector(), seed) for seed in SEEDS]
        points = list(zip(*curves, strict=True))
        known[name] = {
            "mean": [round(statistics.mean(point), 3) for point in points],
            "deviation": [round(statistics.stdev(point), 3) for point in points],
            "seeds": list(SEEDS),
        }
    scenarios.CURVES.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
