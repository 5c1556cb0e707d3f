"""The sections of `benchmarks.gpu`, in the order in which they run.

A section yields its figures one by one, so that one that is ended for taking too long keeps those it has.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.gpu_measures import (
    Bench,
    answer_of,
    child,
    ocean_config,
    output_of,
    replayable,
    seconds_per_call,
    timed_run,
)
from benchmarks.gpu_trials import atari, lone_trial, side_by_side, sweep, threaded_trials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Figures = Iterator[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the results, measured by a process of its own.

    Attributes:
        name: of the section.
        seconds: that it may take, and what the ones before have left over besides; then it is ended.
        run: gives its figures with their names.
    """

    name: str
    seconds: float
    run: Callable[[Bench], Figures]


def correctness(bench: Bench) -> Figures:
    """The tests that need the device; everything after is worth nothing if they fail."""
    # Not every warning of every version that a device's machine may have is an error there.
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", "-W", "default"]
    targets = ["tests/trainer/cuda"] if bench.tiny else ["tests/trainer/cuda", "tests/golden"]
    told, status = output_of([*command, "--durations=8", *targets], bench.seconds_left() - 3)
    yield "exit_status", status
    yield "tail", told[-60:]
    if status is None:
        yield "failed", "not through in the time that it had"
    # pytest says 5 where it found nothing to run, which is what a CPU has.
    elif status != 0 and bench.device.type == "cuda":
        yield "failed", f"pytest ended with status {status}"


def ceilings(bench: Bench) -> Figures:
    """What the device does at most: bytes moved, matrix products, launches within a graph."""
    device = bench.device
    numbers = torch.rand(bench.size(1 << 30, 1 << 16), device=device)
    target = torch.empty_like(numbers)
    copy = seconds_per_call(device, lambda: target.copy_(numbers))
    yield "copy_gigabytes_per_second", 2 * numbers.nbytes / copy / 1e9
    side = bench.size(8192, 64)
    for name, dtype, precision in (
        ("float32", torch.float32, "highest"),
        ("tf32", torch.float32, "high"),
        ("bfloat16", torch.bfloat16, "highest"),
    ):
        matrix = torch.randn(side, side, device=device).to(dtype)
        torch.set_float32_matmul_precision(precision)
        taken = seconds_per_call(device, lambda matrix=matrix: matrix @ matrix, calls=5, repeats=3)
        yield f"{name}_teraflops", 2 * side**3 / taken / 1e12
    torch.set_float32_matmul_precision("highest")
    small, launches = torch.zeros(1024, device=device), 1000

    def many() -> None:
        for _ in range(launches):
            small.add_(1.0)

    taken = seconds_per_call(device, replayable(device, many), calls=3)
    yield "microseconds_per_launch_in_a_graph", taken / launches * 1e6
    taken = seconds_per_call(device, many, calls=3)
    yield "microseconds_per_launch_step_by_step", taken / launches * 1e6


def environments(bench: Bench) -> Figures:
    """Our environments without a policy, restarts and observations included, at several batch sizes."""
    from trainer.envs.ocean.batch import EVERYBODY
    from trainer.envs.ocean.recipe import OceanRecipe

    for name in ("breakout", "cartpole"):
        for num_envs in (1 << 8,) if bench.tiny else (1 << 14, 1 << 16, 1 << 18, 1 << 20):
            env = OceanRecipe(name, {}).make_batch(num_envs, bench.device)
            env.draws.by_numpy = False
            env.start(EVERYBODY)
            generator = torch.Generator(bench.device).manual_seed(1)
            actions = torch.randint(
                env.action_layout.sizes[0], (8, num_envs, 1), generator=generator, device=bench.device
            )
            static = {state: getattr(env, state) for state in env.state_names}
            seen = torch.empty_like(env.observe())

            def play(env: Any = env, actions: Any = actions, static: Any = static, seen: Any = seen) -> None:
                for number in range(len(actions)):
                    outcome = env.advance(actions[number])
                    env.steps.add_(1)
                    ended = outcome.terminated | (env.steps >= env.max_steps)
                    env.restart(ended)
                    env.steps.mul_(~ended)
                    seen.copy_(env.observe())
                news = {state: getattr(env, state).clone() for state in static}
                for state, kept in static.items():
                    kept.copy_(news[state])
                    setattr(env, state, kept)

            taken = seconds_per_call(bench.device, replayable(bench.device, play), calls=4, repeats=5)
            figures = {
                "steps_per_second": 8 * num_envs / taken,
                "microseconds_per_step_of_all": taken / 8 * 1e6,
                "observation_gigabytes_per_second": 8 * seen.nbytes / taken / 1e9,
            }
            yield f"{name} x {num_envs}", figures
            del env, actions, static, seen


def learning(bench: Bench) -> Figures:
    """Ocean with learning, MLP 128 and LSTM 128."""
    found: dict[str, Any] = {}
    for env_name in ("breakout", "cartpole"):
        for lstm in (False, True):
            sizes = (8192, 32768) if env_name == "breakout" else (32768,)
            for num_envs in (8,) if bench.tiny else sizes:
                config = ocean_config(
                    env_name, bench.device, num_envs=num_envs, lstm=lstm, epochs=bench.size(24, 4),
                    horizon=bench.size(64, 8),
                )  # fmt: skip
                name = f"{env_name}, {'LSTM' if lstm else 'MLP'} 128, {num_envs} environments"
                found[name] = timed_run(config, at_most_seconds=2.5)
                yield name, found[name]
    best = max((name for name in found if "LSTM" in name), key=lambda name: found[name]["steps_per_second"])
    lstm_envs = int(best.split(", ")[2].split()[0])
    for name, changes in {
        "bfloat16": {"precision": "bfloat16"},
        "without TF32": {"tf32": False},
        "deterministic": {"torch_deterministic": True},
        "muon, priorities": {"optimizer": "muon", "prio_alpha": 0.8},
    }.items():
        config = ocean_config(
            "breakout", bench.device, num_envs=lstm_envs, lstm=True, epochs=bench.size(24, 4),
            horizon=bench.size(64, 8), **changes,
        )  # fmt: skip
        yield (
            f"breakout, LSTM 128, {lstm_envs} environments, {name}",
            timed_run(config, at_most_seconds=2.5),
        )


def warm_trials(bench: Bench) -> Figures:
    """Two trials of one worker: what the second saves."""
    for number, rate in enumerate((1e-3, 3e-3)):
        config = ocean_config(
            "cartpole", bench.device, num_envs=bench.size(1024, 8), epochs=bench.size(10, 4),
            horizon=bench.size(64, 8), seed=1 + number, learning_rate=rate, adam_beta1=0.85 + number / 20,
        )  # fmt: skip
        run = timed_run(config)
        keys = ("whole_seconds", "capture_seconds", "steps_per_second", "steps")
        yield f"trial {number}", {key: run[key] for key in keys}


def advantage(bench: Bench) -> Figures:
    """The doubling scan against the Triton kernel."""
    from trainer.cuda.advantage import advantages_by_kernel, advantages_by_scan, choose_advantages
    from trainer.ppo.advantage import Transitions

    device = bench.device
    chosen = choose_advantages(device)[1]
    yield "chosen", chosen
    one = torch.full((), 0.9, device=device)
    settings = {"gamma": one, "gae_lambda": one, "rho_clip": one, "c_clip": one}
    for segments in (8, 64) if bench.tiny else (32, 128, 1024, 4096, 32768):
        numbers = [torch.rand(64, segments, device=device) for _ in range(4)]
        cut = torch.rand(64, segments, device=device) < 0.05
        transitions = Transitions(numbers[0], numbers[1], cut, torch.ones_like(cut))
        ways = {"scan": advantages_by_scan}
        if "kernel" in chosen:
            ways["kernel"] = advantages_by_kernel
        for name, way in ways.items():

            def call(way: Any = way, transitions: Any = transitions, numbers: Any = numbers) -> None:
                way(transitions, numbers[2], numbers[3], **settings)

            yield (
                f"{name}, 64 x {segments}, microseconds",
                seconds_per_call(device, replayable(device, call)) * 1e6,
            )


def offload(bench: Bench) -> Figures:
    """What cpu_offload takes off the device, and what running out of memory looks like.

    In processes of their own: what earlier runs keep for later ones would be counted here.
    """
    num_envs, horizon = bench.size(2048, 8), bench.size(64, 8)
    sizes = {"device": str(bench.device), "num_envs": num_envs, "horizon": horizon}
    peaks = []
    for is_on in (False, True):
        run = answer_of(child("offload", sizes | {"is_on": is_on}), bench.seconds_left())
        yield f"cpu_offload = {is_on}", run
        peaks.append(run["peak_memory_bytes"])
    yield "observation_buffer_bytes", num_envs * horizon * 4 * 4 * 100
    if bench.device.type == "cuda":
        yield "bytes_saved", peaks[0] - peaks[1]
        yield from answer_of(child("shortage", {"device": str(bench.device)}), bench.seconds_left()).items()


def offloaded_run(
    *, device: str, num_envs: int, horizon: int, is_on: bool, timed_run: Callable[..., Any]
) -> dict[str, Any]:
    """One run with the observations on the device or in host memory; a child's work."""
    config = ocean_config(
        "breakout", torch.device(device), num_envs=num_envs, minibatches=8, epochs=4, horizon=horizon,
        cpu_offload=is_on, hidden_size=64,
    )  # fmt: skip
    run = timed_run(config, warm_epochs=1)
    keys = ("peak_memory_bytes", "reserved_memory_bytes", "steps_per_second", "steps")
    return {key: run[key] for key in keys}


def shortage(*, device: str, timed_run: Callable[..., Any]) -> dict[str, Any]:
    """A run that is too large for its share of the device, and one after it that fits; a child's work."""
    from trainer.cuda.memory import limit_share
    from trainer.errors import MemoryExhaustedError

    where = torch.device(device)
    limit_share(where, 0.03)
    found: dict[str, Any] = {}
    try:
        timed_run(ocean_config("breakout", where, num_envs=65536, epochs=4))
        found["too large a run"] = "it fitted, which it should not have"
    except MemoryExhaustedError as error:
        found["too large a run"] = str(error)
    after = timed_run(ocean_config("breakout", where, num_envs=1024, epochs=5))
    found["the next run"] = {"steps_per_second": after["steps_per_second"]}
    return found


def profile(bench: Bench) -> Figures:
    """Where the time of an epoch goes, and what the launches and bytes alone would take."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    activity = ProfilerActivity.CUDA if bench.device.type == "cuda" else ProfilerActivity.CPU
    for lstm in (False, True):
        num_envs, horizon, epochs = bench.size(8192, 8), bench.size(64, 8), 8
        config = ocean_config(
            "breakout", bench.device, num_envs=num_envs, lstm=lstm, epochs=epochs, horizon=horizon
        )
        timed_run(config)  # captures, so that the second run has nothing but replays
        with profiler(activities=[activity]) as recorded:
            began = time.perf_counter()
            run = timed_run(config)
            wall = time.perf_counter() - began
        events = recorded.key_averages()
        rows = sorted(
            (
                {
                    "name": event.key[:90],
                    "calls": event.count,
                    "milliseconds": (getattr(event, "self_device_time_total", 0) or event.self_cpu_time_total)
                    / 1000,
                }
                for event in events
            ),
            key=lambda row: -row["milliseconds"],
        )
        steps = num_envs * horizon * epochs
        figures = {
            "launches_per_epoch": sum(row["calls"] for row in rows) / epochs,
            "kernel_milliseconds_per_epoch": sum(row["milliseconds"] for row in rows) / epochs,
            "wall_milliseconds_per_epoch": wall * 1000 / epochs,
            "capture_seconds_of_the_second_run": run["capture_seconds"],
            # An observation is written, copied into the buffer, read to act, gathered, and read twice to learn.
            "floor_bytes_per_epoch": steps / epochs * 400 * 4 * 8,
            "top": rows[:20],
        }
        yield "LSTM 128" if lstm else "MLP 128", figures


SECTIONS = (
    Section("correctness", 130, correctness),
    Section("ceilings", 12, ceilings),
    Section("learning", 75, learning),
    Section("environments", 20, environments),
    Section("advantage", 12, advantage),
    Section("warm_trials", 12, warm_trials),
    Section("profile", 25, profile),
    Section("side_by_side", 50, side_by_side),
    Section("atari", 40, atari),
    Section("offload", 30, offload),
    Section("sweep", 60, sweep),
)
"""What matters most comes first; the seconds add up to less than eight minutes."""

CHILDREN: dict[str, Callable[..., dict[str, Any]]] = {
    "lone": lone_trial,
    "threads": threaded_trials,
    "offload": offloaded_run,
    "shortage": shortage,
}
