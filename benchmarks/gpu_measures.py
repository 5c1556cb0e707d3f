"""What `benchmarks.gpu` measures with: graphs or plain calls, runs of the trainer, clocks of device and host."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch

from trainer.config import Config
from trainer.cuda.memory import peak_bytes
from trainer.loop import train
from trainer.records import Directive

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.records import Progress, TrainResult

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Bench:
    """Where and how large.

    Attributes:
        device: to measure on.
        tiny: toy sizes, to prove the code.
        ends_at: when this section is ended, by `time.monotonic`.
    """

    device: torch.device
    tiny: bool
    ends_at: float

    def size(self, real: int, toy: int) -> int:
        return toy if self.tiny else real

    def seconds_left(self) -> float:
        """Until the section is ended."""
        return self.ends_at - time.monotonic()


def describe_machine(device: torch.device) -> dict[str, Any]:
    """What a reader needs to judge the figures."""
    machine: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "commit": newest_commit(),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        machine |= {
            "device": properties.name,
            "multiprocessors": properties.multi_processor_count,
            "memory_bytes": properties.total_memory,
            "cuda": torch.version.cuda,
            "driver": ask_driver("driver_version"),
        }
    return machine


def newest_commit() -> str:
    """Of this checkout; empty where git or its folder is missing."""
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return answer.stdout.strip()


def ask_driver(what: str) -> str:
    """One number from `nvidia-smi`; empty where there is none."""
    try:
        answer = subprocess.run(
            ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip().splitlines()[0] if answer.stdout.strip() else ""


def replayable(device: torch.device, step: Callable[[], None]) -> Callable[[], None]:
    """A step as a CUDA graph; on the CPU as it is."""
    if device.type != "cuda":
        return step
    from trainer.cuda.capture import GraphCapture

    captured = GraphCapture(device)("a benchmark", step, (), ())
    if captured.reason is not None:
        raise RuntimeError(captured.reason)
    return captured.replay


def seconds_per_call(
    device: torch.device, call: Callable[[], Any], *, calls: int = 10, repeats: int = 5
) -> float:
    """Median over `repeats` of the mean of `calls`, by the device's clock."""
    call()
    times = []
    for _ in range(repeats):
        if device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            for _ in range(calls):
                call()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end) / 1000 / calls)
        else:
            began = time.perf_counter()
            for _ in range(calls):
                call()
            times.append((time.perf_counter() - began) / calls)
    return statistics.median(times)


def ocean_config(
    env_name: str,
    device: torch.device,
    *,
    num_envs: int,
    horizon: int = 64,
    minibatches: int = 4,
    epochs: int = 12,
    hidden_size: int = 128,
    lstm: bool = False,
    **train_settings: Any,
) -> Config:
    """A run of one of our environments with the sizes that a GPU likes."""
    batch = num_envs * horizon
    minibatch = max(1, num_envs // minibatches) * horizon
    settings = {
        "device": str(device),
        "bptt_horizon": horizon,
        "batch_size": batch,
        "minibatch_size": minibatch,
        "max_minibatch_size": minibatch,
        "total_timesteps": batch * epochs,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "prio_alpha": 0.0,
        "torch_deterministic": False,
    }
    return Config(
        base={"package": "ocean", "env_name": env_name, "rnn_name": "LSTMWrapper" if lstm else None},
        vec={"num_envs": num_envs},
        policy={"hidden_size": hidden_size},
        train=settings | train_settings,
    )


def timed_run(
    config: Config, *, warm_epochs: int = 3, at_most_seconds: float = 20.0, **arguments: Any
) -> dict[str, Any]:
    """Train and measure: steps per second over the epochs after the first ones, and what the run says of itself."""
    seen: list[tuple[float, Progress]] = []

    def on_progress(progress: Progress) -> Directive:
        seen.append((time.perf_counter(), progress))
        is_late = seen[-1][0] - seen[0][0] > at_most_seconds
        return Directive.STOP if is_late and len(seen) > warm_epochs + 1 else Directive.CONTINUE

    device = torch.device(config.train.device)
    began = time.perf_counter()
    result: TrainResult = train(config, on_progress, **arguments)
    whole = time.perf_counter() - began
    warm = min(warm_epochs, len(seen) - 2)
    (first_at, first), (last_at, last) = seen[warm], seen[-1]
    scores = [progress.score for _, progress in seen if progress.score is not None]
    return {
        "steps_per_second": (last.agent_steps - first.agent_steps) / (last_at - first_at),
        "epochs_measured": len(seen) - 1 - warm,
        "whole_seconds": whole,
        "first_score": scores[0] if scores else None,
        "last_score": scores[-1] if scores else None,
        "steps": result.facts["steps"],
        "capture_seconds": result.facts["capture_seconds"],
        "peak_memory_bytes": result.facts["peak_memory_bytes"],
        "reserved_memory_bytes": peak_bytes(device) if device.type == "cuda" else None,
        "seconds": {
            name.removeprefix("seconds/"): value
            for name, value in last.metrics.items()
            if name.startswith("seconds/")
        },
    }


def output_of(command: list[str], timeout_seconds: float) -> tuple[list[str], int | None]:
    """The lines that a command has printed, and its exit status; none where it was ended for taking too long."""
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            output, _ = process.communicate(timeout=max(1.0, timeout_seconds))
            status: int | None = process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            status = None
    return output.strip().splitlines(), status


def child(section: str, arguments: dict[str, Any]) -> subprocess.Popen[str]:
    """One of several processes that measure side by side; prints JSON as its last line."""
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.gpu", "--child", section, json.dumps(arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answer_of(process: subprocess.Popen[str], timeout_seconds: float) -> dict[str, Any]:
    """What a child has printed.

    Raises:
        RuntimeError: it failed.
    """
    try:
        output, errors = process.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise RuntimeError(f"a child took more than {timeout_seconds:g} seconds") from None
    if process.returncode != 0 or not output.strip():
        raise RuntimeError((errors.strip().splitlines() or ["no output"])[-1])
    answer: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return answer


class UsageSampler:
    """Asks the driver twice a second how busy the device is, while a block runs."""

    def __init__(self) -> None:
        self.shares: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        while not self._over.wait(0.5):
            share = ask_driver("utilization.gpu")
            if not share:
                return
            self.shares.append(float(share))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def mean(self) -> float | None:
        """Percent."""
        return statistics.fmean(self.shares) if self.shares else None
