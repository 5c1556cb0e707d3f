"""Environment steps per second: our backends beside the rivals'.

    python -m benchmarks.environments                                 # everything that is installed here
    python -m benchmarks.environments --rivals-python PATH            # an environment that has the rivals
    python -m benchmarks.environments --procgen-python PATH           # one that has Procgen, with NumPy 1
    python -m benchmarks.environments -o FILE.json --minutes 4        # what FILE lacks, for at most so long
    python -m benchmarks.environments --table FILE.json               # its table, into benchmarks/README.md

Every row steps with random actions made beforehand and counts all environments' steps; resets are warmed up
and not counted. Ours receives batches and sends actions as the trainer does, so that tensors, episode
statistics and final observations are made; rivals hand out their arrays. Ours and the rivals run one after
the other, in processes of their own, in turns; the best turn counts. The thread count of natively vectorised
environments is always given. Compare numbers of one run only.

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
import time
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
README = Path(__file__).parent / "README.md"
MARK_BEGIN, MARK_END = "<!-- environments: begin -->", "<!-- environments: end -->"
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
        drawn = torch.randint(0, env.action_layout.sizes[0], (64, env.num_agents, 1))
        actions = [
            {
                first: row[first : first + env.batch_agents]
                for first in range(0, env.num_agents, env.batch_agents)
            }
            for row in drawn
        ]
        env.reset(1)
        rounds = range(env.num_agents // env.batch_agents)

        def step(number: int) -> None:
            mine = actions[number % 64]
            for _ in rounds:
                env.send(mine[env.recv().first_row])

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


def turn_of(work: str, num_envs: int, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One turn of one environment and size: ours first, then the rivals."""
    setting = {"work": work, "num_envs": num_envs, "seconds": options.seconds, "threads": options.threads}
    setting["names"] = options.names
    our_python = rival_python = sys.executable
    if work == "procgen":
        our_python = rival_python = options.procgen_python
    elif options.rivals_python:
        rival_python = options.rivals_python
    yield from lines_of([our_python, "-m", "benchmarks.environments", "--ours"], setting)
    if work != "ocean":
        # -P: modules beside the script bear the rivals' names.
        yield from lines_of([rival_python, "-P", str(RIVALS)], setting)


def take_in(rows: list[dict[str, Any]], told: dict[str, Any], place: dict[str, Any]) -> dict[str, Any]:
    """Put what a turn has told into the row that it belongs to; the row."""
    keys = ("work", "num_envs", "who")
    found = place | {"who": told["who"], "turns": []}
    for row in rows:
        if all(row[key] == found[key] for key in keys):
            found = row
            break
    else:
        rows.append(found)
    if "skipped" in told:
        found["skipped"] = told["skipped"]
    else:
        found["turns"].append(round(told["steps_per_second"], 1))
        found["steps_per_second"] = max(found["turns"])
        found.pop("skipped", None)
    return found


def run(options: argparse.Namespace, result: dict[str, Any]) -> bool:
    """Measure what a result lacks, turn after turn; whether all of it is there."""
    began = time.monotonic()
    for work in options.only:
        if work == "procgen" and options.procgen_python is None:
            print("procgen   skipped: name an interpreter that has it with --procgen-python")
            continue
        for num_envs in options.ocean_sizes if work == "ocean" else options.sizes:
            name = f"{work} {num_envs}"
            while result["turns"].get(name, 0) < options.repeats:
                took = result["slowest_turn_seconds"]
                if options.minutes and time.monotonic() - began + took > options.minutes * 60:
                    return False
                turn_began = time.monotonic()
                for told in turn_of(work, num_envs, options):
                    show(take_in(result["rows"], told, {"work": work, "num_envs": num_envs}))
                result["turns"][name] = result["turns"].get(name, 0) + 1
                result["slowest_turn_seconds"] = max(took, round(time.monotonic() - turn_began, 1))
                save(options.output, result)
    return True


def save(path: Path | None, result: dict[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def show(row: dict[str, Any]) -> None:
    head = f"{row['work']:<9} {row['num_envs']:>7}  {row['who']:<28}"
    if "skipped" in row:
        print(f"{head} skipped: {row['skipped']}", flush=True)
    else:
        print(f"{head} {row['turns'][-1]:>13,.0f}", flush=True)


def table(result: dict[str, Any]) -> str:
    """Markdown: our best backend beside the rivals, and every row below."""
    rows = [row for row in result["rows"] if "steps_per_second" in row]
    about = (
        f"{result['date']}: {result['device']}; {result['threads']} threads, best of {result['repeats']} turns of "
        f"{result['seconds_per_row']:g} s; commit {', '.join(result['commits'])}."
    )
    short = [f"{name} ({turns})" for name, turns in result["turns"].items() if turns < result["repeats"]]
    if short:
        about += f" Fewer turns: {', '.join(short)}."
    lines = [about, "", "| environment | envs | ours | best rival | ratio |", "|---|---|---|---|---|"]
    groups = dict.fromkeys((row["work"], row["num_envs"]) for row in rows)
    for work, num_envs in groups:
        here = [row for row in rows if (row["work"], row["num_envs"]) == (work, num_envs)]
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
    works = [work for work in WORKS if any(row["work"] == work for row in rows)]
    for work in works:
        sizes = sorted({row["num_envs"] for row in rows if row["work"] == work})
        lines += ["", f"| {work} | {' | '.join(f'{size:,} envs' for size in sizes)} |"]
        lines.append("|---" * (len(sizes) + 1) + "|")
        known = {(r["who"], r["num_envs"]): r["steps_per_second"] for r in rows if r["work"] == work}
        for who in dict.fromkeys(who for who, _ in known):
            cells = [f"{known[who, size]:,.0f}" if (who, size) in known else "–" for size in sizes]
            lines.append(f"| {who} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write_table(path: Path) -> None:
    """Put a result's table between the marks in benchmarks/README.md."""
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(MARK_BEGIN)
    after = rest.split(MARK_END)[1]
    told = table(json.loads(path.read_text(encoding="utf-8")))
    README.write_text(f"{before}{MARK_BEGIN}\n{told}\n{MARK_END}{after}", encoding="utf-8")


def header(options: argparse.Namespace) -> dict[str, Any]:
    model = next(
        (line.split(":", 1)[1].strip() for line in _cpu_lines() if line.startswith("model name")),
        platform.machine(),
    )
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "device": f"{model}, {os.cpu_count()} cores, no GPU used",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "commits": [],
        "threads": options.threads,
        "seconds_per_row": options.seconds,
        "repeats": options.repeats,
        "turns": {},
        "slowest_turn_seconds": 0.0,
        "rows": [],
    }


def newest_commit() -> str:
    told = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    return told.stdout.strip()


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=1.5, help="per row")
    parser.add_argument("--repeats", type=int, default=2, help="ours and the rivals in turn; the best counts")
    parser.add_argument("--names", nargs="+", default=[""], help="parts of the names of rows to measure")
    parser.add_argument("--only", nargs="+", default=[*WORKS, "ocean"], choices=[*WORKS, "ocean"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[8, 32, 128])
    parser.add_argument("--ocean-sizes", nargs="+", type=int, default=[64, 1024, 8192, 16384, 32768, 65536])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rivals-python", help="an interpreter that has the rivals; this one by default")
    parser.add_argument("--procgen-python", help="an interpreter that has Procgen and our dependencies")
    parser.add_argument(
        "-o", "--output", type=Path, help="the result as JSON; what it has is not measured again"
    )
    parser.add_argument(
        "--minutes", type=float, help="stop before so much time has passed; call again to go on"
    )
    parser.add_argument("--table", type=Path, help="only put a result's table into benchmarks/README.md")
    parser.add_argument("--ours", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours:
        for told in our_lines(json.loads(options.ours)):
            print(json.dumps(told), flush=True)
        return
    if options.table:
        write_table(options.table)
        return
    if options.output is not None and options.output.is_file():
        result: dict[str, Any] = json.loads(options.output.read_text(encoding="utf-8"))
    else:
        result = {"benchmark": "environments", **header(options)}
    if (commit := newest_commit()) not in result["commits"]:
        result["commits"].append(commit)
    is_complete = run(options, result)
    print(f"\n{table(result)}\n\n{'complete' if is_complete else 'to be continued'}")


if __name__ == "__main__":
    main()
