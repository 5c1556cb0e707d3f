"""Everything that is claimed of CUDA, measured in one go: correctness first, then the figures.

    python -m benchmarks.gpu [--only SECTION ...] [--seconds 460] [--output FILE.json]
    python -m benchmarks.gpu --long breakout|pong [--minutes 9] [--folder FOLDER]
    python -m benchmarks.gpu --device cpu --tiny

The results are written after every section, so that a run that is cut short keeps what it has; a section that would
not fit into the time left is skipped and said so. `--tiny` runs every section at toy sizes, which proves the code and
measures nothing. The long runs train config/atari.ini to its published score and go on from their last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.gpu_measures import ROOT, Bench, describe_machine, timed_run
from benchmarks.gpu_sections import CHILDREN, SECTIONS
from trainer.config import load_config_file
from trainer.records import Directive

if TYPE_CHECKING:
    from trainer.records import Progress

GOALS = {"breakout": 398.0, "pong": 20.9}
"""Scores of the long runs, means of an epoch's episodes."""

LONG_STEPS = 10_000_000


def run_sections(options: argparse.Namespace) -> dict[str, Any]:
    """All sections that are wanted and fit, one after the other."""
    device = torch.device(options.device)
    bench = Bench(device, tiny=options.tiny)
    results: dict[str, Any] = {"machine": describe_machine(device), "tiny": options.tiny, "sections": {}}
    began = time.perf_counter()
    for section in SECTIONS:
        if options.only and section.name not in options.only:
            continue
        left = options.seconds - (time.perf_counter() - began)
        if left < section.needs_seconds and not options.tiny:
            results["sections"][section.name] = {
                "skipped": f"{left:.0f} of {options.seconds:g} seconds were left"
            }
            continue
        section_began = time.perf_counter()
        try:
            found = section.run(bench)
        except Exception as error:  # noqa: BLE001 - one section's failure must not cost the others their figures
            traceback.print_exc()
            found = {"failed": f"{type(error).__name__}: {error}"}
        found["section_seconds"] = time.perf_counter() - section_began
        results["sections"][section.name] = found
        print(f"== {section.name}\n{json.dumps(found, indent=1)}", flush=True)
        save(results, options.output)
    return results


def save(results: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")


def run_long(game: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train a game to its published score, for at most so many minutes."""
    folder = options.folder or Path("experiments") / f"gpu-{game}"
    config = load_config_file(ROOT / "config" / "atari.ini", env_name=game).override(
        {
            "train.device": options.device,
            "train.total_timesteps": 4096 if options.tiny else LONG_STEPS,
            "train.checkpoint_interval": 100,
            "train.precision": options.precision,
            **({"vec.num_envs": 2} if options.tiny else {}),
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
            if len(recent) >= 20 and mean >= GOALS[game]:
                return Directive.STOP
        is_late = time.perf_counter() - began > options.minutes * 60
        return Directive.PAUSE if is_late else Directive.CONTINUE

    from trainer.loop import train

    result = train(config, on_progress, folder=folder, resume_from=kept[-1] if kept else None)
    best = max((score for _, _, score in curve), default=None)
    return {
        "machine": describe_machine(torch.device(options.device)),
        "game": game,
        "goal": GOALS[game],
        "status": result.status.value,
        "reached": best is not None and best >= GOALS[game],
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
    parser.add_argument("--seconds", type=float, default=460.0, help="for all sections together")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--long", choices=list(GOALS))
    parser.add_argument("--minutes", type=float, default=9.0, help="of a long run; it can be gone on with")
    parser.add_argument("--folder", type=Path, help="of a long run")
    parser.add_argument("--precision", default="bfloat16", help="of a long run")
    parser.add_argument("--child", nargs=2, metavar=("SECTION", "JSON"), help=argparse.SUPPRESS)
    options = parser.parse_args()
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
    save(results, options.output)
    print(f"written to {options.output}; failed: {', '.join(failed) or 'none'}")


if __name__ == "__main__":
    main()
