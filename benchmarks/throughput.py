"""Agent steps per second of our trainer and of the rivals, on the same work, in turn, in one run.

    python -m benchmarks.throughput                           # everything, three repeats
    python -m benchmarks.throughput --only cartpole --repeats 5 --seconds 5
    python -m benchmarks.throughput --only atari --profile    # and where each microsecond of a step goes
    python -m benchmarks.throughput --rivals-python PATH      # an environment that has the rivals installed

Every measurement is a process of its own; the contenders of a row take turns, so that a drift of the machine hits all
of them alike. Quote the ratios, not the absolutes. Results: a table on stdout, JSON in benchmarks/results/, one file
for all runs of a day with the same output: what it has of a row is not measured again, so a row may be made in parts
(--repeats 1, then --repeats 2 …). How to install the rivals: benchmarks/README.md. What is missing, bfloat16 on a
processor without it included, is skipped with a line.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
HAS_BF16 = "avx512_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8")


@dataclasses.dataclass(frozen=True)
class Contender:
    """One trainer on one row: which adapter, and what differs from the row's setting."""

    name: str
    adapter: str
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)
    processes: int = 1


@dataclasses.dataclass(frozen=True)
class Row:
    """One piece of work and who does it; `rival` is the contender that the ratio is taken against.

    `BEST_RIVAL` stands for the fastest that is not ours.
    """

    name: str
    setting: dict[str, Any]
    contenders: tuple[Contender, ...]
    rival: str


ATARI = {"work": "atari", "num_envs": 32, "horizon": 64, "epochs": 1, "minibatches": 4, "optimizer": "adam",
         "precision": "float32", "threads": 2}  # fmt: skip
ATARI_SMALL = ATARI | {"num_envs": 8, "horizon": 128, "epochs": 4}
CARTPOLE = ATARI | {"work": "cartpole", "num_envs": 64, "threads": 1}
BF16: dict[str, Any] = {"precision": "bfloat16"}
ALONE: dict[str, Any] = {"threads": 1, "core": 0}
PUFFER, SB3, PLAIN, OURS = "pufferlib_core", "stable_baselines3", "plain_loop", "ours"
BEST_RIVAL = "the best rival"
SERIAL = Contender("PufferLib Serial", PUFFER, {"backend": "Serial"})

ROWS = (
    Row(
        "atari 32x64",
        ATARI,
        (
            Contender("ours fp32", OURS),
            Contender("ours bf16", OURS, BF16),
            Contender("ours fp32, its stages alone", OURS, {"stages": True}),
            Contender("ours bf16, its stages alone", OURS, BF16 | {"stages": True}),
            SERIAL,
        ),
        SERIAL.name,
    ),
    Row(
        "atari 32x64, full box",
        ATARI,
        (
            Contender("ours fp32, two trials", OURS, {"threads": 1}, processes=2),
            Contender("ours bf16, two trials", OURS, {"threads": 1} | BF16, processes=2),
            SERIAL,
        ),
        SERIAL.name,
    ),
    Row(
        "atari 8x128x4",
        ATARI_SMALL,
        (
            Contender("ours fp32", OURS),
            Contender("ours bf16", OURS, BF16),
            SERIAL,
            Contender("SB3", SB3, {"backend": "Serial"}),
            Contender("plain loop, Gymnasium", PLAIN, {"backend": "Serial"}),
            Contender("plain loop, envpool", PLAIN, {"backend": "Envpool"}),
        ),
        BEST_RIVAL,
    ),
    *(
        Row(
            f"cartpole {num_envs}",
            CARTPOLE | {"num_envs": num_envs, "threads": 1 if num_envs == 64 else 2},
            (
                Contender("ours adam", OURS),
                Contender("ours muon", OURS, {"optimizer": "muon"}),
                Contender("PufferLib native", PUFFER, {"backend": "Native"}),
                *((Contender("SB3", SB3, {"backend": "Serial"}),) if num_envs == 64 else ()),
            ),
            "PufferLib native",
        )
        for num_envs in (64, 1024, 4096)
    ),
    *(
        Row(
            f"side by side, {work}",
            setting,
            (
                Contender("two trials", OURS, {"threads": 1}, processes=2),
                Contender("one trial, one core", OURS, ALONE),
                Contender("one trial, both cores", OURS, {"threads": 2}),
            ),
            "one trial, one core",
        )
        for work, setting in (("cartpole", CARTPOLE), ("atari", ATARI | (BF16 if HAS_BF16 else {})))
    ),
)


def measure(contender: Contender, setting: dict[str, Any], rivals_python: str) -> dict[str, Any] | str:
    """One measurement; the sum over processes that run side by side. A string says why there is none."""
    python = sys.executable if contender.adapter == OURS else rivals_python
    command = [
        python,
        "-m",
        f"benchmarks.rivals.{contender.adapter}",
        json.dumps(setting | contender.changes),
    ]
    threads = str((setting | contender.changes)["threads"])
    environment = os.environ | {f"{name}_NUM_THREADS": threads for name in ("OMP", "MKL", "OPENBLAS")}
    if contender.adapter == OURS:
        environment["OPENBLAS_NUM_THREADS"] = "1"  # as in the sweep's workers
    running = [
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(contender.processes)
    ]
    answers = []
    for process in running:
        stdout, stderr = process.communicate()
        lines = stdout.strip().splitlines()
        if process.returncode != 0 or not lines:
            return (stderr.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        answers.append(json.loads(lines[-1]))
    return {
        "steps_per_second": sum(answer["steps_per_second"] for answer in answers),
        "microseconds_per_step": answers[0].get("microseconds_per_step", {}),
    }


def hardware() -> dict[str, Any]:
    """What a reader needs to judge the figures."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    import torch

    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "commit": commit,
        "cpu": model,
        "cores": os.cpu_count(),
        "bf16": HAS_BF16,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def run_row(
    row: Row, repeats: int, seconds: float, rivals_python: str, earlier: dict[str, Any]
) -> dict[str, Any]:
    """All contenders in turn until each has `repeats` figures, those of earlier runs included."""
    figures = {c.name: list(earlier.get(c.name, {}).get("values", ())) for c in row.contenders}
    profiles = {name: known["microseconds_per_step"] for name, known in earlier.items()}
    skipped = set()
    for number in range(repeats):
        for contender in row.contenders:
            if len(figures[contender.name]) > number or contender.name in skipped:
                continue
            if not HAS_BF16 and (row.setting | contender.changes)["precision"] == "bfloat16":
                print(f"  {contender.name}: skipped (no bfloat16 here)", file=sys.stderr, flush=True)
                skipped.add(contender.name)
                continue
            answer = measure(contender, row.setting | {"seconds": seconds}, rivals_python)
            if isinstance(answer, str):
                print(f"  {contender.name}: skipped ({answer})", file=sys.stderr, flush=True)
                skipped.add(contender.name)
                continue
            figures[contender.name].append(answer["steps_per_second"])
            profiles[contender.name] = answer["microseconds_per_step"]
            print(
                f"  {row.name}, {contender.name}: {answer['steps_per_second']:,.0f}",
                file=sys.stderr,
                flush=True,
            )
    rivals = [c.name for c in row.contenders if c.adapter != OURS] if row.rival == BEST_RIVAL else [row.rival]
    base = max((statistics.median(figures[name]) for name in rivals if figures[name]), default=None)
    return {
        name: {
            "median": statistics.median(values),
            "min": min(values),
            "max": max(values),
            "values": values,
            "ratio": statistics.median(values) / base if base else None,
            "microseconds_per_step": profiles[name],
        }
        for name, values in figures.items()
        if values
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--repeats", type=int, default=3, help="figures of each contender in the result")
    parser.add_argument(
        "--seconds", type=float, default=15.0, help="measured time per run, after the warm-up"
    )
    parser.add_argument("--rivals-python", default=sys.executable)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=ROOT / "benchmarks/results" / f"throughput-{dt.datetime.now(dt.UTC).date().isoformat()}.json",
    )
    parser.add_argument("--profile", action="store_true", help="print microseconds per agent step by stage")
    arguments = parser.parse_args()
    results: dict[str, Any] = {"rows": {}}
    if arguments.output.is_file():
        results = json.loads(arguments.output.read_text(encoding="utf-8"))
    results |= {"date": dt.datetime.now(dt.UTC).date().isoformat(), "hardware": hardware()}
    for row in ROWS:
        if arguments.only not in row.name:
            continue
        earlier = results["rows"].get(row.name, {})
        results["rows"][row.name] = {
            "seconds": arguments.seconds,
            "commits": sorted({*earlier.get("commits", ()), results["hardware"]["commit"]}),
            "contenders": run_row(
                row,
                arguments.repeats,
                arguments.seconds,
                arguments.rivals_python,
                earlier.get("contenders", {}),
            ),
        }
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(results["hardware"])
    print(f"{'work':<24}{'contender':<30}{'steps/s':>10}{'min':>10}{'max':>10}{'ratio':>8}")
    for name, row_results in results["rows"].items():
        for contender, figures in row_results["contenders"].items():
            ratio = f"{figures['ratio']:.2f}" if figures["ratio"] else "-"
            numbers = "".join(f"{figures[key]:>10,.0f}" for key in ("median", "min", "max"))
            print(f"{name:<24}{contender:<30}{numbers}{ratio:>8}")
            if arguments.profile and figures["microseconds_per_step"]:
                stages = figures["microseconds_per_step"].items()
                print(
                    f"{'':<24}" + ", ".join(f"{stage} {value:,.2f}" for stage, value in stages) + " µs a step"
                )


if __name__ == "__main__":
    main()
