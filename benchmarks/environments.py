"""Environment steps per second: our backends beside the rivals'.

    python -m benchmarks.environments                                 # everything that is installed here
    python -m benchmarks.environments --rivals-python PATH            # an environment that has the rivals
    python -m benchmarks.environments --procgen-python PATH           # one that has Procgen, with NumPy 1
    python -m benchmarks.environments --only cartpole --sizes 8 32    # a part of it

Every row steps with random actions made beforehand and counts all environments' steps; resets are warmed up
and not counted. Ours receives batches and sends actions as the trainer does, so that tensors, episode
statistics and final observations are made; rivals hand out their arrays. Ours and the rivals run one after
the other, in processes of their own. The thread count of natively vectorised environments is always given.
Compare numbers of one run only.

The rivals: `pip install envpool stable-baselines3 ale-py opencv-python-headless` and `pip install --no-deps
pufferlib-core` with psutil, nvidia-ml-py, rich-argparse and pyro-ppl beside it. What is missing is skipped
with a line.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch

from benchmarks.rivals.stepping import measure
from trainer.config import Config
from trainer.vector import make_vector

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
RIVALS = Path(__file__).parent / "rivals" / "stepping.py"
ATARI = {"frameskip": 4, "stack": 4, "noop_max": 30, "episodic_life": False}
WORKS = {
    "cartpole": ("gymnasium", "CartPole-v1", {}, ("PufferEnv", "Serial", "Multiprocessing")),
    "atari": ("atari", "breakout", ATARI, ("PufferEnv", "Serial", "Multiprocessing")),
    "procgen": ("procgen", "coinrun", {"distribution_mode": "easy"}, ("PufferEnv", "Serial")),
}


def ours(config: Config, seconds: float, threads: int) -> float:
    """One of our backends, batches received and actions sent as the trainer does."""
    env = make_vector(config, "cpu", num_threads=threads)
    try:
        actions = torch.randint(0, env.action_layout.sizes[0], (64, env.num_agents, 1))
        env.reset(1)
        rounds = env.num_agents // env.batch_agents

        def step(number: int) -> None:
            for _ in range(rounds):
                batch = env.recv()
                env.send(actions[number % 64, batch.first_row : batch.first_row + batch.num_rows])

        return float(measure(step, env.num_agents, seconds))
    finally:
        env.close()


def our_lines(setting: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What the rivals' script prints, of ours."""
    num_envs, seconds, threads = setting["num_envs"], setting["seconds"], setting["threads"]
    if setting["work"] == "ocean":
        torch.set_num_threads(threads)
        config = Config(base={"package": "ocean", "env_name": "cartpole"}, vec={"num_envs": num_envs})
        yield {"who": "ours, ocean", "steps_per_second": ours(config, seconds, threads)}
        return
    package, name, env, backends = WORKS[setting["work"]]
    for backend in backends:
        if not any(name in f"ours, {backend}" for name in setting["names"]):
            continue
        workers = {"num_workers": min(threads, num_envs)} if backend == "Multiprocessing" else {}
        config = Config(
            base={"package": package, "env_name": name},
            env=env,
            vec={"num_envs": num_envs, "backend": backend, **workers},
        )
        yield {"who": f"ours, {backend}", "steps_per_second": ours(config, seconds, threads)}


def lines_of(command: list[str], setting: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Run a script that prints JSON lines; its complaints go to our stderr."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [*command, json.dumps(setting)], stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            # Some rivals print greetings.
            if line.startswith('{"who"'):
                yield json.loads(line)
    if process.returncode:
        yield {"who": " ".join(command[-1:]), "skipped": f"ended with status {process.returncode}"}


def rows_of(work: str, num_envs: int, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All rows of one environment and size: ours first, then the rivals."""
    setting = {"work": work, "num_envs": num_envs, "seconds": options.seconds, "threads": options.threads}
    setting["names"] = options.names
    our_python = rival_python = sys.executable
    if work == "procgen":
        our_python = rival_python = options.procgen_python
    elif options.rivals_python:
        rival_python = options.rivals_python
    commands = [[our_python, "-m", "benchmarks.environments", "--ours"]]
    if work != "ocean":
        # -P: modules beside the script bear the rivals' names.
        commands.append([rival_python, "-P", str(RIVALS)])
    best: dict[str, dict[str, Any]] = {}
    for _ in range(options.repeats):
        for command in commands:
            for told in lines_of(command, setting):
                known = best.get(told["who"], {}).get("steps_per_second", 0.0)
                if told.get("steps_per_second", 0.0) >= known:
                    best[told["who"]] = told
    for told in best.values():
        yield {"work": work, "num_envs": num_envs, **told}


def show(row: dict[str, Any]) -> None:
    head = f"{row['work']:<9} {row['num_envs']:>7}  {row['who']:<28}"
    if "skipped" in row:
        print(f"{head} skipped: {row['skipped']}", flush=True)
    else:
        print(f"{head} {row['steps_per_second']:>13,.0f}", flush=True)


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: our best backend beside the best rival."""
    lines = ["| environment | envs | ours | best rival | ratio |", "|---|---|---|---|---|"]
    for work, num_envs in dict.fromkeys((row["work"], row["num_envs"]) for row in rows):
        here = [r for r in rows if (r["work"], r["num_envs"]) == (work, num_envs) and "skipped" not in r]
        mine = [row for row in here if row["who"].startswith("ours")]
        theirs = [row for row in here if not row["who"].startswith("ours")]
        if not mine:
            continue
        best = max(mine, key=lambda row: row["steps_per_second"])
        told = f"| {work} | {num_envs:,} | {best['steps_per_second']:,.0f} ({best['who'][6:]}) |"
        if theirs:
            rival = max(theirs, key=lambda row: row["steps_per_second"])
            ratio = best["steps_per_second"] / rival["steps_per_second"]
            told += f" {rival['steps_per_second']:,.0f} ({rival['who']}) | {ratio:.2f} |"
        else:
            told += " – | – |"
        lines.append(told)
    return "\n".join(lines)


def header(options: argparse.Namespace) -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    model = next(
        (line.split(":", 1)[1].strip() for line in _cpu_lines() if line.startswith("model name")),
        platform.machine(),
    )
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "device": f"{model}, {os.cpu_count()} cores, no GPU used",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "commit": commit.stdout.strip(),
        "threads": options.threads,
        "seconds_per_row": options.seconds,
        "repeats": options.repeats,
        "load_average": round(os.getloadavg()[0], 1),
    }


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="per row")
    parser.add_argument("--repeats", type=int, default=1, help="ours and the rivals in turn; the best counts")
    parser.add_argument("--names", nargs="+", default=[""], help="parts of the names of rows to measure")
    parser.add_argument("--only", nargs="+", default=[*WORKS, "ocean"], choices=[*WORKS, "ocean"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[8, 32, 128])
    parser.add_argument("--ocean-sizes", nargs="+", type=int, default=[64, 1024, 8192, 16384, 32768, 65536])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rivals-python", help="an interpreter that has the rivals; this one by default")
    parser.add_argument("--procgen-python", help="an interpreter that has Procgen and our dependencies")
    parser.add_argument("--add-to", type=Path, help="replace the rows of a result that are measured again")
    parser.add_argument("-o", "--output", type=Path, help="write the result as JSON")
    parser.add_argument("--ours", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours:
        for told in our_lines(json.loads(options.ours)):
            print(json.dumps(told), flush=True)
        return
    result: dict[str, Any] = {"benchmark": "environments", **header(options), "rows": []}
    for work in options.only:
        if work == "procgen" and options.procgen_python is None:
            print("procgen   skipped: name an interpreter that has it with --procgen-python")
            continue
        for num_envs in options.ocean_sizes if work == "ocean" else options.sizes:
            for row in rows_of(work, num_envs, options):
                show(row)
                result["rows"].append(row)
    if options.add_to is not None:
        measured = {(row["work"], row["num_envs"]) for row in result["rows"]}
        earlier = json.loads(options.add_to.read_text(encoding="utf-8"))["rows"]
        kept = [row for row in earlier if (row["work"], row["num_envs"]) not in measured]
        result["rows"] = kept + result["rows"]
    print()
    print(table(result["rows"]))
    if options.output is not None:
        options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
