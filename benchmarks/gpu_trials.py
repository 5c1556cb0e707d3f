"""The sections of `benchmarks.gpu` about trials: side by side, on the host's environments, in a sweep."""

from __future__ import annotations

import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.gpu_measures import (
    ROOT,
    Bench,
    UsageSampler,
    answer_of,
    child,
    ocean_config,
    output_of,
    timed_run,
)
from trainer.config import load_config_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Figures = Iterator[tuple[str, Any]]


def side_by_side(bench: Bench) -> Figures:
    """Trials that share the device: one, four in processes, four in threads with a stream each."""
    arguments = {
        "device": str(bench.device),
        "num_envs": bench.size(1024, 8),
        "epochs": bench.size(400, 4),
        "horizon": bench.size(64, 8),
        "seconds": bench.size(6, 1),
    }
    alone = answer_of(child("lone", arguments), bench.seconds_left())["steps_per_second"]
    yield "one", alone
    four = [child("lone", arguments) for _ in range(4)]
    by_processes = sum(answer_of(process, bench.seconds_left())["steps_per_second"] for process in four)
    yield "four processes, sum", by_processes
    yield "four processes, ratio", by_processes / alone
    by_threads = answer_of(child("threads", arguments | {"number": 4}), bench.seconds_left())[
        "steps_per_second"
    ]
    yield "four threads, sum", by_threads
    yield "four threads, ratio", by_threads / alone


def lone_trial(
    *, device: str, num_envs: int, epochs: int, horizon: int, seconds: float, timed_run: Callable[..., Any]
) -> dict[str, Any]:
    """One trial of the size that sweeps have; a child's work."""
    config = ocean_config("breakout", torch.device(device), num_envs=num_envs, epochs=epochs, horizon=horizon)
    found: dict[str, Any] = timed_run(config, at_most_seconds=seconds)
    return found


def threaded_trials(
    *,
    device: str,
    num_envs: int,
    epochs: int,
    horizon: int,
    seconds: float,
    number: int,
    timed_run: Callable[..., Any],  # noqa: ARG001 - children are called alike
) -> dict[str, Any]:
    """Several trials in one process, a thread and a stream each; a child's work."""
    import contextlib
    import threading

    from trainer.config import resolve
    from trainer.device import torch_settings
    from trainer.loop import Trainer
    from trainer.records import Directive, EnvironmentFacts
    from trainer.vector import make_vector

    where = torch.device(device)
    facts = EnvironmentFacts(backend="PufferEnv")
    config = ocean_config("breakout", where, num_envs=num_envs, epochs=epochs, horizon=horizon)
    config = resolve(config, facts, where.type == "cuda").config
    captures_alone, all_warm = threading.Lock(), threading.Barrier(number)
    rates: list[float] = []
    failures: list[str] = []

    def work() -> None:
        stream = (
            torch.cuda.stream(torch.cuda.Stream(where)) if where.type == "cuda" else contextlib.nullcontext()
        )
        began = [0.0, 0]

        def on_progress(progress: Any) -> Directive:
            now = time.perf_counter()
            if progress.epoch == 2:
                captures_alone.release()
                all_warm.wait(60)
                began[:] = [time.perf_counter(), progress.agent_steps]
            elif progress.epoch > 2:
                rate = (progress.agent_steps - began[1]) / (now - began[0])
                if now - began[0] > seconds or progress.epoch == progress.num_epochs:
                    rates.append(rate)
                    return Directive.STOP
            return Directive.CONTINUE

        try:
            with stream:
                captures_alone.acquire()
                trainer = Trainer(config, make_vector(config, where), where, folder=None, on_heartbeat=int)
                trainer.begin(None)
                trainer.run(on_progress)
        except Exception as error:  # noqa: BLE001 - told by the main thread
            failures.append(f"{type(error).__name__}: {error}")
            all_warm.abort()
            with contextlib.suppress(RuntimeError):
                captures_alone.release()

    with torch_settings(config.train, where):
        threads = [threading.Thread(target=work) for _ in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if failures:
        raise RuntimeError(failures[0])
    return {"steps_per_second": sum(rates)}


def atari(bench: Bench) -> Figures:
    """Breakout on the host's cores with the policy on the device, against the environments alone."""
    from trainer.vector import make_vector

    for num_envs in (4,) if bench.tiny else (128,):
        changes = {
            "vec.num_envs": num_envs,
            "vec.batch_size": num_envs // 2,
            "vec.backend": "PufferEnv",
            "train.device": str(bench.device),
            "train.precision": "bfloat16",
            "train.torch_deterministic": False,
            "train.bptt_horizon": bench.size(32, 4),
            "train.minibatch_size": bench.size(2048, 8),
            "train.max_minibatch_size": bench.size(2048, 8),
            "train.total_timesteps": bench.size(2_000_000, 64),
        }
        config = load_config_file(ROOT / "config" / "atari.ini").override(changes)
        alone = config.override({"vec.batch_size": num_envs})
        vector = make_vector(alone, "cpu")
        try:
            vector.reset(1)
            actions = torch.randint(4, (16, num_envs, 1))
            steps, began, span = 0, 0.0, float(bench.size(6, 1))
            for number in range(1_000_000):
                vector.recv()
                vector.send(actions[number % 16])
                if number == 20:
                    began = time.perf_counter()
                elif number > 20:
                    steps += num_envs
                    if time.perf_counter() - began > span:
                        break
            environment_rate = steps / (time.perf_counter() - began)
        finally:
            vector.close()
        run = timed_run(config, at_most_seconds=bench.size(10, 1), warm_epochs=2)
        figures = run | {
            "environments_alone_per_second": environment_rate,
            "share_of_environments_alone": run["steps_per_second"] / environment_rate,
        }
        yield f"breakout x {num_envs}", figures


def sweep(bench: Bench) -> Figures:
    """A sweep of our own environment from the command line to its end."""
    number = bench.size(32, 2)
    settings = {
        "train.device": str(bench.device).partition(":")[0],
        "train.torch-deterministic": False,
        "train.total_timesteps": bench.size(10_000_000, 4096),
        "vec.num_envs": bench.size(2048, 8),
        "train.bptt_horizon": bench.size(64, 8),
        "train.minibatch_size": bench.size(32768, 64),
        "train.max_minibatch_size": bench.size(32768, 64),
        "sweep.max-runs": number,
        "sweep.trials-per-gpu": bench.size(4, 1),
        "sweep.score-rule": "last",
    }
    with tempfile.TemporaryDirectory() as folder, UsageSampler() as usage:
        command = [
            sys.executable, "-m", "sweeper.cli", "start", str(ROOT / "config" / "ocean" / "breakout.ini"),
            "--storage", f"{folder}/studies.db", "--artifacts", folder, "--plain",
            *(word for key, value in settings.items() for word in (f"--{key}", str(value))),
        ]  # fmt: skip
        began = time.perf_counter()
        told, status = output_of(command, bench.seconds_left() - 3)
        wall = time.perf_counter() - began
    yield "trials", number
    yield "exit_status", status
    yield "wall_seconds", wall
    yield "device_busy_percent", usage.mean()
    yield "tail", told[-12:]
    if status != 0:
        yield (
            "failed",
            "not through in the time that it had" if status is None else f"it ended with status {status}",
        )
