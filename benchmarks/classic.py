"""Trains the classic suite with the configs that ship, and evaluates every agent over 100 episodes.

    python -m benchmarks.classic                              # six environments, five seeds each
    python -m benchmarks.classic --only Pendulum --seeds 1 2

The published scores are those of PPO in rl-baselines3-zoo's benchmark (benchmark.md), whose evaluation takes the
likeliest actions; so does ours, and what sampled actions score stands beside it. LunarLander is v2 there and v3 here.

Every run is kept in the results file as soon as it is done. Started again, the benchmark goes on with what is
missing, and repeats what another config, another version of PyTorch or another number of episodes has made
stale. LunarLander needs the extra box2d.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from trainer import evaluate, load_config_file, train
from trainer.config import dump_config
from trainer.machine import processor_name

if TYPE_CHECKING:
    from trainer.config import Config

ROOT = Path(__file__).parents[1]
SEEDS = (1, 2, 3, 4, 5)
EPISODES = 100

PUBLISHED = {
    "CartPole-v1": 500.0,
    "Acrobot-v1": -74.0,
    "Pendulum-v1": -172.0,
    "MountainCarContinuous-v0": 88.0,
    "MountainCar-v0": -108.0,
    "LunarLander-v3": 242.0,
}


def load(env_name: str, seed: int) -> Config:
    """The config that ships, on one thread of the CPU. Environments of two seeds share nothing."""
    config = load_config_file(ROOT / "config" / "classic.ini", env_name=env_name)
    return config.override(
        {"train.device": "cpu", "train.num_threads": 1, "train.seed": seed, "vec.seed": 10_000 * seed}
    )


def fingerprint(config: Config) -> str:
    """Of everything that a run's outcome depends on."""
    text = dump_config(config.override({"sweep.max_runs": 1})) + torch.__version__ + str(EPISODES)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def run(config: Config) -> dict[str, Any]:
    """One agent: its scores greedy and sampled, its steps and seconds."""
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        result = train(config, folder=folder)
        seconds = time.process_time() - began
        greedy = evaluate(config, result.checkpoint, episodes=EPISODES, greedy=True)
        sampled = evaluate(config, result.checkpoint, episodes=EPISODES)
    return {
        "seed": config.train.seed,
        "fingerprint": fingerprint(config),
        "greedy": greedy.mean,
        "greedy_deviation": greedy.deviation,
        "sampled": sampled.mean,
        "sampled_deviation": sampled.deviation,
        "agent_steps": result.agent_steps,
        "processor_seconds": round(seconds, 1),
    }


def summarise(runs: list[dict[str, Any]], published: float) -> dict[str, Any]:
    """Mean and deviation over seeds."""
    scores = [one["greedy"] for one in runs]
    sampled = [one["sampled"] for one in runs]
    return {
        "published": published,
        "greedy_mean": round(statistics.mean(scores), 1),
        "greedy_deviation": round(statistics.stdev(scores), 1) if len(scores) > 1 else 0.0,
        "sampled_mean": round(statistics.mean(sampled), 1),
        "sampled_deviation": round(statistics.stdev(sampled), 1) if len(sampled) > 1 else 0.0,
        "seeds_at_published": sum(round(score) >= published for score in scores),
        "agent_steps": runs[0]["agent_steps"],
        "processor_seconds": round(statistics.mean(one["processor_seconds"] for one in runs), 1),
    }


def header() -> dict[str, Any]:
    """What a reader needs to judge the figures."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "command": "python -m benchmarks.classic",
        "device": f"CPU, one thread: {processor_name()}",
        "torch": torch.__version__,
        "commit": commit.stdout.strip(),
        "episodes": EPISODES,
    }


def table(results: dict[str, Any]) -> str:
    """The rows of benchmarks/README.md."""
    lines = [
        "| environment | published | greedy, 5 seeds | sampled | seeds there | agent steps | CPU seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in results["environments"].items():
        s = row["summary"]
        lines.append(
            f"| {name} | {s['published']:g} | {s['greedy_mean']:g} ± {s['greedy_deviation']:g} "
            f"| {s['sampled_mean']:g} ± {s['sampled_deviation']:g} | {s['seeds_at_published']} of {len(row['runs'])} "
            f"| {s['agent_steps']:,} | {s['processor_seconds']:g} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", nargs="+", default=[""], help="environments whose name contains one of these"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks/results/classic.json")
    arguments = parser.parse_args()
    kept: dict[str, Any] = {}
    if arguments.output.is_file():
        kept = json.loads(arguments.output.read_text(encoding="utf-8"))["environments"]
    results: dict[str, Any] = {**header(), "environments": kept}
    torch.set_num_threads(1)
    for env_name, published in PUBLISHED.items():
        if not any(part in env_name for part in arguments.only):
            continue
        configs = [load(env_name, seed) for seed in arguments.seeds]
        earlier = kept.get(env_name, {}).get("runs", [])
        runs = [one for one in earlier if one["fingerprint"] == fingerprint(load(env_name, one["seed"]))]
        done = {one["fingerprint"] for one in runs}
        for config in configs:
            if fingerprint(config) in done:
                continue
            one = run(config)
            print(f"{env_name} seed {one['seed']}: {one['greedy']:.1f} greedy, {one['sampled']:.1f} sampled,"
                  f" {one['processor_seconds']:.0f} s", file=sys.stderr, flush=True)  # fmt: skip
            runs = sorted([*runs, one], key=lambda run: run["seed"])
            kept[env_name] = {"summary": summarise(runs, published), "runs": runs}
            arguments.output.parent.mkdir(parents=True, exist_ok=True)
            arguments.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
