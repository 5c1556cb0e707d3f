"""Everything that is claimed of CUDA, measured in one go: correctness first, then the figures.

    python -m benchmarks.gpu [--only SECTION ...] [--seconds 475] [--output FILE.json]
    python -m benchmarks.gpu --long breakout|pong [--minutes 9] [--folder FOLDER]
    python -m benchmarks.gpu --device cpu --tiny

Every section is a process of its own: a fault of the device in one, or a hang, costs none of the others. It may take
its own seconds and what those before it have left over, and is ended then with the figures that it has; the results
are written after each, and the goals stand beside what was measured at the end. `--tiny` runs every section at toy
sizes, which proves the code and measures nothing. The long runs train config/atari.ini to its published score and go
on from their last checkpoint.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.gpu_goals import judge, table
from benchmarks.gpu_measures import ROOT, Bench, describe_machine, timed_run
from benchmarks.gpu_sections import CHILDREN, SECTIONS, Section
from trainer.config import load_config_file
from trainer.records import Directive

if TYPE_CHECKING:
    from trainer.records import Progress

SCORES = {"breakout": 398.0, "pong": 20.9}
"""Goals of the long runs, means of twenty epochs' episodes."""

LONG_STEPS = 10_000_000
TOY_SIZES = {"vec.num_envs": 2, "train.minibatch_size": 128, "train.total_timesteps": 1024}
TINY_SECONDS = 600.0
"""Of a toy section, on a CPU that has other things to do."""

FIGURE = "figure: "
"""Before the lines by which a section's process tells its figures."""


def run_sections(options: argparse.Namespace) -> dict[str, Any]:
    """All sections that are wanted, one after the other, within the time that they may take together."""
    results: dict[str, Any] = {
        "machine": describe_machine(torch.device(options.device)),
        "tiny": options.tiny,
        "sections": {},
    }
    wanted = [section for section in SECTIONS if not options.only or section.name in options.only]
    ends_at = time.monotonic() + options.seconds
    for number, section in enumerate(wanted):
        reserved = sum(later.seconds for later in wanted[number + 1 :])
        seconds = ends_at - time.monotonic() - reserved
        began = time.monotonic()
        found = run_section(section, options, TINY_SECONDS if options.tiny else max(section.seconds, seconds))
        found["section_seconds"] = time.monotonic() - began
        results["sections"][section.name] = found
        results["goals"] = judge(results["sections"])
        print(f"== {section.name}\n{json.dumps(found, indent=1)}", flush=True)
        save(results, options.output)
    return results


def run_section(section: Section, options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """One section's figures by a process of its own, which is ended with everything it has started when time is up."""
    ends_at = time.monotonic() + seconds  # a clock that all processes of a machine share
    command = [sys.executable, "-m", "benchmarks.gpu", "--section", section.name, str(ends_at)]
    command += ["--device", options.device, *(["--tiny"] if options.tiny else [])]
    found: dict[str, Any] = {}
    # A file, since whoever outlives the section would keep a pipe open.
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, text=True, start_new_session=True)
        try:
            status = process.wait(seconds)
            if status != 0:
                found["failed"] = f"its process ended with status {status}"
        except subprocess.TimeoutExpired:
            found["failed"] = f"not through after {seconds:.0f} seconds"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        for line in output:
            if line.startswith(FIGURE) and line.endswith("\n"):
                name, figure = json.loads(line.removeprefix(FIGURE))
                found[name] = figure
    return found


def tell_section(name: str, ends_at: float, options: argparse.Namespace) -> None:
    """A section's own process: every figure is a line as soon as it is there."""
    section = next(section for section in SECTIONS if section.name == name)
    bench = Bench(torch.device(options.device), tiny=options.tiny, ends_at=ends_at)
    try:
        for figure in section.run(bench):
            print(FIGURE + json.dumps(figure), flush=True)
    except Exception as error:  # noqa: BLE001 - told with the figures; the traceback goes where errors go
        traceback.print_exc()
        print(FIGURE + json.dumps(("failed", f"{type(error).__name__}: {error}")), flush=True)


def save(results: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")


def run_long(game: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train a game to its published score, for at most so many minutes."""
    folder = options.folder or Path("experiments") / f"gpu-{game}"
    config = load_config_file(ROOT / "config" / "atari.ini", env_name=game).override(
        {
            "train.device": options.device,
            "train.total_timesteps": LONG_STEPS,
            "train.checkpoint_interval": 100,
            "train.precision": options.precision,
            **(TOY_SIZES if options.tiny else {}),
        }
    )
    kept = sorted((folder / "checkpoints").glob("*.pt"))
    began = time.perf_counter()
    curve: list[tuple[int, float, float]] = []
    recent: list[float] = []

    def on_progress(progress: Progress) -> Directive:
        if progress.score is not None:
            recent.append(progress.score)
            # An epoch ends few games: the goal is a mean over the last so many epochs.
            mean = sum(recent[-20:]) / len(recent[-20:])
            curve.append((progress.agent_steps, progress.uptime_seconds, mean))
            if len(recent) >= 20 and mean >= SCORES[game]:
                return Directive.STOP
        is_late = time.perf_counter() - began > options.minutes * 60
        return Directive.PAUSE if is_late else Directive.CONTINUE

    from trainer.loop import train

    result = train(config, on_progress, folder=folder, resume_from=kept[-1] if kept else None)
    best = max((score for _, _, score in curve), default=None)
    return {
        "machine": describe_machine(torch.device(options.device)),
        "game": game,
        "goal": SCORES[game],
        "status": result.status.value,
        "reached": best is not None and best >= SCORES[game],
        "best_mean_of_20_epochs": best,
        "agent_steps": result.agent_steps,
        "training_minutes": result.uptime_seconds / 60,
        "resumed_from": str(kept[-1]) if kept else None,
        "curve": curve[:: max(1, len(curve) // 100)],
        "facts": dict(result.facts),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--only", nargs="+", choices=[section.name for section in SECTIONS], default=[])
    parser.add_argument("--seconds", type=float, default=475.0, help="for all sections together")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--long", choices=list(SCORES))
    parser.add_argument("--minutes", type=float, default=9.0, help="of a long run; it can be gone on with")
    parser.add_argument("--folder", type=Path, help="of a long run")
    parser.add_argument("--precision", default="bfloat16", help="of a long run")
    parser.add_argument("--child", nargs=2, metavar=("SECTION", "JSON"), help=argparse.SUPPRESS)
    parser.add_argument("--section", nargs=2, metavar=("NAME", "ENDS_AT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.section:
        tell_section(options.section[0], float(options.section[1]), options)
        return
    if options.child:
        print(json.dumps(CHILDREN[options.child[0]](**json.loads(options.child[1]), timed_run=timed_run)))
        return
    name = f"gpu-{options.long}" if options.long else "gpu"
    options.output = options.output or ROOT / f"benchmarks/results/{name}-{time.strftime('%Y-%m-%d')}.json"
    if options.long:
        found = run_long(options.long, options)
        save(found, options.output)
        print(json.dumps({key: value for key, value in found.items() if key != "curve"}, indent=1))
        return
    results = run_sections(options)
    failed = [name for name, found in results["sections"].items() if "failed" in found]
    print(table(results["goals"]))
    print(f"written to {options.output}; failed: {', '.join(failed) or 'none'}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
