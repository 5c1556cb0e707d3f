"""What a worker loses between trials: from receiving a config to the first environment step, memory, idle slots.

    python -m benchmarks.worker [--only start,memory,idle] -o benchmarks/results/worker-DATE.json

start   milliseconds from `Runner.run` to the first environment step in a warm process: CartPole, and 32 Atari games,
        begun ahead beside the trial before (as a sweep's worker does) and not, beside ALE's own seeded reset
memory  resident memory of one worker over 200 trials of differing hyperparameters, CartPole and Atari
idle    a real sweep of short Atari trials on real workers: seconds from a trial's end to the next one's first step
        in the same slot, training time being known to the trial itself
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: what the sweep's workers do as well

import psutil

from benchmarks.throughput import hardware
from sweeper.launchers.cores import SlotPlan
from sweeper.launchers.local import LocalLauncher
from sweeper.loop import Sweep
from sweeper.records import Assignment, Ending, Event, Finished, Reported, Started, Verdict
from sweeper.seeds import trial_seed
from sweeper.trial import Runner
from trainer import load_config
from trainer.config import parse_overrides, resolve
from trainer.vector import probe

if TYPE_CHECKING:
    from trainer.config import Config

CARTPOLE = ("CartPole-v1", ("--train.total-timesteps", "8192"))
ATARI = ("atari/breakout", ("--vec.num-envs", "32", "--train.bptt-horizon", "16", "--train.batch-size", "512",
                            "--train.minibatch-size", "512", "--train.total-timesteps", "1536"))  # fmt: skip


class Line:
    """Notes when the first step was made; answers every question with `go on`."""

    def __init__(self) -> None:
        self.first_step_at: float | None = None
        self.failure: str | None = None

    def send(self, event: Event) -> None:
        """See `sweeper.trial.Channel`."""
        if isinstance(event, Finished) and event.ending is Ending.FAILED:
            self.failure = event.failure_message

    def verdict(self, *, wait: bool) -> Verdict | None:
        """See `sweeper.trial.Channel`."""
        return Verdict.CONTINUE if wait else None

    def beat(self) -> None:
        """See `sweeper.trial.Channel`."""
        if self.first_step_at is None:
            self.first_step_at = time.perf_counter()


class Trials:
    """One trial after the other in this process, as a sweep's worker runs them."""

    def __init__(self, work: tuple[str, tuple[str, ...]], folder: Path, threads: int) -> None:
        name, changes = work
        self._config = load_config(name, overrides=parse_overrides(["--train.device", "cpu", *changes]))
        self._facts = probe(self._config)
        self._folder, self._threads = folder, threads
        self.runner = Runner()
        self.runner.warm_up()

    def config(self, number: int) -> Config:
        """Trial by trial another seed, learning rate, discount and clip."""
        seed = trial_seed(self._config.sweep.seed, number)
        changes = {
            "train.seed": seed,
            "vec.seed": seed,
            "train.learning_rate": 1e-4 * (1 + number % 7),
            "train.gamma": 0.9 + 0.01 * (number % 9),
            "train.clip_coef": 0.1 + 0.05 * (number % 5),
            "train.num_threads": self._threads,
        }
        return resolve(self._config.override(changes), self._facts, cuda_available=False).config

    def run(self, number: int, label: int | None = None) -> float:
        """Milliseconds to the first step. A label that differs from the number hides the seed's rule."""
        assignment = Assignment(
            uuid=str(uuid4()),
            number=number if label is None else label,
            config=self.config(number),
            folder=self._folder / f"trial-{number:04d}",
            num_threads=self._threads,
        )
        line = Line()
        began = time.perf_counter()
        with contextlib.redirect_stdout(None):  # what goes to a trial's log
            finished = self.runner.run(assignment, line)
        if finished.ending is not Ending.COMPLETE or line.first_step_at is None:
            raise RuntimeError(f"trial {number} has ended as {finished.ending}: {finished.failure_message}")
        return 1e3 * (line.first_step_at - began)


def spread(values: list[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def measure_start(folder: Path, count: int) -> dict[str, Any]:
    """See the module."""
    classic = Trials(CARTPOLE, folder / "classic", 1)
    classic_ms = [classic.run(number) for number in range(count + 1)][1:]
    atari = Trials(ATARI, folder / "atari", 2)
    ahead_ms = [atari.run(number) for number in range(count + 2)][2:]
    # A trial number that does not fit its seed: the worker cannot know what comes next and begins it when told.
    kept_ms = [atari.run(number, label=7000 - number) for number in range(100, 100 + count + 1)][1:]
    atari.runner.close()
    ale_ms = ale_resets(count)
    return {
        "classic_ms": spread(classic_ms),
        "atari_begun_ahead_ms": spread(ahead_ms),
        "atari_game_kept_ms": spread(kept_ms),
        "ale_seeded_reset_ms": spread(ale_ms),
        "ratio_to_ale_reset": statistics.median(kept_ms) / statistics.median(ale_ms),
    }


def ale_resets(count: int) -> list[float]:
    """Milliseconds of the seeded reset of 32 games in ALE's own vector environment, games made before."""
    import numpy as np
    from ale_py.vector_env import AtariVectorEnv

    games = AtariVectorEnv("breakout", num_envs=32, num_threads=2)
    times = []
    for number in range(count + 1):
        began = time.perf_counter()
        games.reset(seed=np.arange(number * 32, number * 32 + 32))
        times.append(1e3 * (time.perf_counter() - began))
    games.close()
    return times[1:]


def measure_memory(folder: Path, num_trials: int) -> dict[str, Any]:
    """Megabytes after every tenth of the trials."""
    result: dict[str, Any] = {}
    for name, work, share in (("cartpole", CARTPOLE, 1.0), ("atari", ATARI, 0.25)):
        trials = Trials(work, folder / name, 1)
        count = int(num_trials * share)
        megabytes = []
        for number in range(count):
            trials.run(number)
            if (number + 1) % (count // 10) == 0:
                megabytes.append(round(psutil.Process().memory_info().rss / 2**20, 1))
        trials.runner.close()
        result[name] = {"num_trials": count, "megabytes": megabytes}
    return result


class Timed(LocalLauncher):
    """Notes, for each slot's worker, how long it stood between two trials."""

    def __init__(self, num_slots: int) -> None:
        super().__init__(SlotPlan((None,) * num_slots, 1))
        self.idle_seconds: list[float] = []
        self._workers: dict[str, int] = {}
        self._first_step_at: dict[str, float] = {}
        self._ended_at: dict[int, float] = {}

    def events(self, timeout_seconds: float) -> list[Event]:
        events = super().events(timeout_seconds)
        now = time.perf_counter()
        for event in events:
            if isinstance(event, Started):
                self._workers[event.uuid] = event.pid
            elif isinstance(event, Reported) and event.wants_verdict:
                # Sent at once, so its time of arrival less the training time is that of the first step.
                self._first_step_at.setdefault(event.uuid, now - event.cost_seconds)
            elif isinstance(event, Finished):
                worker = self._workers[event.uuid]
                if worker in self._ended_at and event.uuid in self._first_step_at:
                    self.idle_seconds.append(self._first_step_at[event.uuid] - self._ended_at[worker])
                self._ended_at[worker] = now
        return events


def measure_idle(folder: Path, num_trials: int) -> dict[str, Any]:
    """See the module."""
    words = ["--sweep.max-runs", str(num_trials), "--sweep.method", "tpe", "--sweep.pruner", "none"]
    words += ["--train.device", "cpu", "--train.total-timesteps", "8192", "--sweep.score-rule", "last"]
    config = load_config("atari/breakout", overrides=parse_overrides(words))
    launcher = Timed(2)
    Sweep(config, folder / "idle.db", "measured", launcher=launcher).run()
    seconds = launcher.idle_seconds
    return {"num_trials": num_trials, "num_slots": 2, "gaps": len(seconds), "seconds": spread(seconds)}


PARTS = ("start", "memory", "idle")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--starts", type=int, default=7)
    parser.add_argument("--memory-trials", type=int, default=200)
    parser.add_argument("--idle-trials", type=int, default=12)
    parser.add_argument("-o", "--output", type=Path)
    asked = parser.parse_args()
    result: dict[str, Any] = {}
    if asked.output is not None and asked.output.exists():
        result = json.loads(asked.output.read_text(encoding="utf-8"))
    result["hardware"] = hardware()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        for part in asked.only.split(","):
            if part == "start":
                result[part] = measure_start(folder / part, asked.starts)
            elif part == "memory":
                result[part] = measure_memory(folder / part, asked.memory_trials)
            elif part == "idle":
                folder.joinpath(part).mkdir()
                result[part] = measure_idle(folder / part, asked.idle_trials)
            else:
                parser.error(f"no part is called {part}; there are {', '.join(PARTS)}")
            print(part, json.dumps(result[part], indent=1), flush=True)
            if asked.output is not None:
                asked.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
