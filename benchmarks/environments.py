"""Environment steps per second: our backends beside the rivals'.

    python benchmarks/environments.py [--seconds 3] [--environments cartpole atari procgen] [--sizes 8 32 128]
                                      [--threads 2] [--output FILE.json]

Every row steps with the same random actions, made beforehand, and counts all environments' steps; resets are
warmed up and not counted. Rivals that are not installed are left out and named. The thread count of natively
vectorised environments is always given. Numbers of one run compare with each other; those of two machines do not.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch

from trainer.config import Config
from trainer.vector import make_vector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Row = tuple[str, str, int, float]

_ATARI = {"frameskip": 4, "stack": 4, "noop_max": 30, "episodic_life": False}


def measure(step: Callable[[int], None], num_envs: int, seconds: float) -> float:
    """The best of three spans of environment steps per second."""
    for warm in range(10):
        step(warm)
    best = 0.0
    for _ in range(3):
        count, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < seconds / 3:
            step(count)
            count += 1
        best = max(best, count * num_envs / (time.perf_counter() - begin))
    return best


def ours(config: Config, seconds: float, threads: int) -> float:
    """One of our backends, batches received and actions sent as the trainer does."""
    env = make_vector(config, "cpu", num_threads=threads)
    try:
        size = env.action_layout.sizes[0]
        actions = torch.randint(0, size, (64, env.num_agents, 1))
        env.reset(1)
        rounds = env.num_agents // env.batch_agents

        def step(number: int) -> None:
            for _ in range(rounds):
                batch = env.recv()
                env.send(actions[number % 64, batch.first_row : batch.first_row + batch.num_rows])

        return measure(step, env.num_agents, seconds)
    finally:
        env.close()


def gymnasium_style(env: Any, num_envs: int, size: int, seconds: float, kind: str = "int64") -> float:
    """Anything with Gymnasium's vector interface."""
    try:
        actions = np.random.default_rng(0).integers(0, size, (64, num_envs)).astype(kind)
        env.reset()
        return measure(lambda number: env.step(actions[number % 64]), num_envs, seconds)
    finally:
        env.close()


def make_config(package: str, name: str, num_envs: int, env: dict[str, Any], **vec: Any) -> Config:
    return Config(base={"package": package, "env_name": name}, env=env, vec={"num_envs": num_envs, **vec})


def installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def our_rows(package: str, name: str, num_envs: int, env: dict[str, Any], options: Any) -> Iterator[Row]:
    if package == "ocean":
        yield (
            "ours, ocean",
            name,
            num_envs,
            ours(make_config("ocean", name, num_envs, {}), options.seconds, 1),
        )
        return
    backends: dict[str, dict[str, Any]] = {"PufferEnv": {}, "Serial": {}}
    if package in ("atari", "gymnasium"):
        backends["Multiprocessing"] = {"num_workers": min(options.threads, num_envs)}
    for backend, vec in backends.items():
        config = make_config(package, name, num_envs, env, backend=backend, **vec)
        yield f"ours, {backend}", name, num_envs, ours(config, options.seconds, options.threads)


def cartpole(num_envs: int, options: Any) -> Iterator[Row]:
    import gymnasium
    from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

    yield from our_rows("ocean", "cartpole", num_envs, {}, options)
    yield from our_rows("gymnasium", "CartPole-v1", num_envs, {}, options)

    def make() -> Any:
        return gymnasium.make("CartPole-v1", disable_env_checker=True)

    native = gymnasium.make_vec("CartPole-v1", num_envs=num_envs, vectorization_mode="vector_entry_point")
    rivals: dict[str, Callable[[], Any]] = {
        "Gymnasium CartPoleVectorEnv": lambda: native,
        "Gymnasium SyncVectorEnv": lambda: SyncVectorEnv([make] * num_envs),
        "Gymnasium AsyncVectorEnv": lambda: AsyncVectorEnv([make] * num_envs),
    }
    for name, rival in rivals.items():
        yield name, "CartPole-v1", num_envs, gymnasium_style(rival(), num_envs, 2, options.seconds)
    yield from envpool("CartPole-v1", num_envs, 2, options)
    yield from subproc(make, num_envs, 2, options)
    yield from pufferlib(make, num_envs, 2, options)


def atari(num_envs: int, options: Any) -> Iterator[Row]:
    yield from our_rows("atari", "breakout", num_envs, _ATARI, options)
    from ale_py.vector_env import AtariVectorEnv

    env = AtariVectorEnv("breakout", num_envs, num_threads=options.threads)
    yield "ALE AtariVectorEnv", "breakout", num_envs, gymnasium_style(env, num_envs, 4, options.seconds)
    yield from envpool("Breakout-v5", num_envs, 4, options)

    def make() -> Any:
        import ale_py
        import gymnasium
        from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

        gymnasium.register_envs(ale_py)
        game = gymnasium.make("ALE/Breakout-v5", frameskip=1, repeat_action_probability=0.0)
        return FrameStackObservation(AtariPreprocessing(game), 4)

    if num_envs <= options.most_processes:
        yield from subproc(make, num_envs, 4, options)
        yield from pufferlib(make, num_envs, 4, options)


def procgen(num_envs: int, options: Any) -> Iterator[Row]:
    if not installed("procgen"):
        return
    yield from our_rows("procgen", "coinrun", num_envs, {}, options)
    from procgen import ProcgenGym3Env

    # Procgen's own default is four threads.
    games = ProcgenGym3Env(num=num_envs, env_name="coinrun", distribution_mode="easy", num_threads=4)
    actions = np.random.default_rng(0).integers(0, 15, (64, num_envs)).astype(np.int32)

    def step(number: int) -> None:
        games.act(actions[number % 64])
        games.observe()

    yield "Procgen's own", "coinrun", num_envs, measure(step, num_envs, options.seconds)
    games.close()


def envpool(task: str, num_envs: int, size: int, options: Any) -> Iterator[Row]:
    if not installed("envpool"):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import envpool as pool

        env = pool.make(task, env_type="gymnasium", num_envs=num_envs, num_threads=options.threads, seed=1)
        yield "envpool", task, num_envs, gymnasium_style(env, num_envs, size, options.seconds, "int32")


def subproc(make: Callable[[], Any], num_envs: int, size: int, options: Any) -> Iterator[Row]:
    if not installed("stable_baselines3") or num_envs > options.most_processes:
        return
    from stable_baselines3.common.vec_env import SubprocVecEnv

    env = SubprocVecEnv([make] * num_envs)
    yield (
        "Stable-Baselines3 SubprocVecEnv",
        "",
        num_envs,
        gymnasium_style(env, num_envs, size, options.seconds),
    )


def pufferlib(make: Callable[[], Any], num_envs: int, size: int, options: Any) -> Iterator[Row]:
    if not installed("pufferlib"):
        return
    import pufferlib.emulation
    import pufferlib.vector

    def wrapped(buf: Any = None, seed: int = 0) -> Any:
        return pufferlib.emulation.GymnasiumPufferEnv(env_creator=make, buf=buf, seed=seed)

    for backend in ("Serial", "Multiprocessing"):
        workers = {"num_workers": min(options.threads, num_envs)} if backend == "Multiprocessing" else {}
        env = pufferlib.vector.make(
            wrapped, num_envs=num_envs, backend=getattr(pufferlib.vector, backend), **workers
        )
        yield f"PufferLib {backend}", "", num_envs, gymnasium_style(env, num_envs, size, options.seconds)


BENCHMARKS: dict[str, Callable[[int, Any], Iterator[Row]]] = {
    "cartpole": cartpole,
    "atari": atari,
    "procgen": procgen,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="per row")
    parser.add_argument("--environments", nargs="+", default=list(BENCHMARKS), choices=list(BENCHMARKS))
    parser.add_argument("--sizes", nargs="+", type=int, default=[8, 32, 128])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--most-processes", type=int, default=32, help="rivals with a process an environment")
    parser.add_argument("--best-batches", nargs="*", type=int, default=[1024, 8192, 32768, 131072])
    parser.add_argument("--output", type=Path, help="write the rows as JSON")
    options = parser.parse_args()
    hardware = (
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    )
    print(f"# {hardware}; load average {os.getloadavg()[0]:.1f}; {options.threads} threads")
    missing = [
        name for name in ("procgen", "envpool", "stable_baselines3", "pufferlib") if not installed(name)
    ]
    print(f"# not installed, left out: {', '.join(missing) or 'nothing'}")
    rows: list[Row] = []

    def show(row: Row) -> None:
        rows.append(row)
        print(f"{row[2]:>7}  {row[3]:>14,.0f}  {row[0]:<32} {row[1]}", flush=True)

    for name in options.environments:
        for num_envs in options.sizes:
            for row in BENCHMARKS[name](num_envs, options):
                show(row)
    if "cartpole" in options.environments:
        torch.set_num_threads(options.threads)
        for num_envs in options.best_batches:
            for row in our_rows("ocean", "cartpole", num_envs, {}, options):
                show(row)
    if options.output is not None:
        named = [dict(zip(("who", "what", "num_envs", "steps_per_second"), row, strict=True)) for row in rows]
        options.output.write_text(json.dumps({"hardware": hardware, "rows": named}, indent=2) + "\n")


if __name__ == "__main__":
    main()
