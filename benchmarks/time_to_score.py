"""Seconds of training until CartPole's mean return over its last 100 episodes reaches 475, with a config that ships.

    python -m benchmarks.time_to_score -o benchmarks/results/time_to_score-DATE.json [--seeds 1-5]

Each seed is a process of its own with one thread unless told otherwise. The clock runs from the call of `train`, with
all imported: environments, agent and the first steps count. Episodes are counted as they end, which is no evaluation
of the final agent but what the published figures are.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

ROOT = Path(__file__).parents[1]
EPISODES = 100


def measure_here(config_name: str, seed: int, threads: int, goal: float) -> dict[str, float | None]:
    """One run in this process, stopped when it has reached the goal."""
    from sweeper.trial import Runner
    from trainer import load_config, train
    from trainer.records import Directive, Progress

    runner = Runner()
    runner.warm_up()
    config = load_config(config_name).override(
        {"train.seed": seed, "vec.seed": seed, "train.device": "cpu", "train.num_threads": threads}
    )
    # Returns come as means over the episodes of an epoch: the window holds whole epochs, 100 episodes at least.
    window: deque[tuple[float, float]] = deque()
    reached: dict[str, float | None] = {"seconds": None, "agent_steps": None}
    began = time.perf_counter()

    def watch(progress: Progress) -> Directive:
        count = progress.metrics.get("environment/num_episodes", 0.0)
        if not count:
            return Directive.CONTINUE
        window.append((count, progress.metrics["environment/episode_return"]))
        while sum(number for number, _ in window) - window[0][0] >= EPISODES:
            window.popleft()
        episodes = sum(number for number, _ in window)
        mean = sum(number * value for number, value in window) / episodes
        if episodes < EPISODES or mean < goal:
            return Directive.CONTINUE
        reached["seconds"] = time.perf_counter() - began
        reached["agent_steps"] = progress.agent_steps
        return Directive.STOP

    train(config, watch)
    return reached


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="CartPole-v1")
    parser.add_argument("--seeds", default="1-5")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--goal", type=float, default=475.0)
    parser.add_argument("--here", type=int, help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path)
    asked = parser.parse_args()
    if asked.here is not None:
        print(json.dumps(measure_here(asked.config, asked.here, asked.threads, asked.goal)))
        return
    from benchmarks.throughput import hardware

    first, last = (int(part) for part in (asked.seeds.split("-") * 2)[:2])
    runs = {}
    for seed in range(first, last + 1):
        words = [sys.executable, "-m", "benchmarks.time_to_score", "--here", str(seed)]
        words += ["--config", asked.config, "--threads", str(asked.threads), "--goal", str(asked.goal)]
        environment = os.environ | {"OMP_NUM_THREADS": str(asked.threads), "OMP_WAIT_POLICY": "PASSIVE"}
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        runs[seed] = json.loads(done.stdout.strip().splitlines()[-1])
        print(f"seed {seed}: {runs[seed]}", flush=True)
    seconds = [run["seconds"] for run in runs.values()]
    result = {
        "hardware": hardware(),
        "config": asked.config,
        "goal": asked.goal,
        "threads": asked.threads,
        "runs": runs,
        "median_seconds": statistics.median(seconds) if None not in seconds else None,
    }
    text = json.dumps(result, indent=1)
    print(text)
    if asked.output is not None:
        asked.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
