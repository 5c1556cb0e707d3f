"""How long a decision of the project's own method takes.

python -m benchmarks.search.timing
"""

from __future__ import annotations

import os
import platform
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from sweeper.thaw.core import Thaw
from sweeper.thaw.records import Run
from sweeper.thaw.settings import Settings

SIZES = ((100, 20), (1_000, 20), (5_000, 20))


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


def main() -> None:
    """Prints CPU seconds of a decision (fit and choice), the median of five."""
    print(f"{platform.processor() or platform.machine()}, one thread; CPU seconds a decision")
    for num_looks, dimensions in SIZES:
        runs = make_runs(num_looks, dimensions)
        seconds = []
        for salt in range(5):
            core = Thaw(np.full(dimensions, 0.5), lambda points: points, salt)
            started = time.process_time()
            core.decide(runs, salt)
            seconds.append(time.process_time() - started)
        print(f"{num_looks:6d} observations, {dimensions} dimensions: {np.median(seconds):.3f}")


if __name__ == "__main__":
    main()
