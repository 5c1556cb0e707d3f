"""Steps whatever vector environments are installed beside this interpreter; `benchmarks.environments` runs it.

    python -P benchmarks/rivals/stepping.py '{"work": "atari", "num_envs": 8, "seconds": 3.0, "threads": 2}'

Standalone: it runs under other interpreters than ours and imports nothing of ours. Each line of its output is
a JSON object: `who` and `steps_per_second`, or `who` and `skipped` with the reason.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

NUM_ACTIONS = {"cartpole": 2, "atari": 4, "procgen": 15}
MOST_PROCESSES = 32
"""A process an environment: more of them take minutes to start and tens of gigabytes."""


@dataclass(frozen=True)
class Row:
    """What is stepped, for how long, with how many threads where one may choose."""

    work: str
    num_envs: int
    seconds: float
    threads: int
    names: list[str] = field(default_factory=lambda: [""])


def measure(step: Callable[[int], object], num_envs: int, seconds: float) -> float:
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


def by_gymnasium(env: Any, row: Row, kind: str = "int64") -> float:
    """Anything with the interface of Gymnasium's vector environments."""
    try:
        actions = list(
            np.random.default_rng(0).integers(0, NUM_ACTIONS[row.work], (64, row.num_envs)).astype(kind)
        )
        env.reset()
        return measure(lambda number: env.step(actions[number % 64]), row.num_envs, row.seconds)
    finally:
        env.close()


def make_cartpole() -> Any:
    import gymnasium

    return gymnasium.make("CartPole-v1", disable_env_checker=True)


def make_atari() -> Any:
    import ale_py
    import gymnasium
    from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    gymnasium.register_envs(ale_py)
    game = gymnasium.make(
        "ALE/Breakout-v5", frameskip=1, repeat_action_probability=0.0, disable_env_checker=True
    )
    return FrameStackObservation(AtariPreprocessing(game), 4)


MAKERS = {"cartpole": make_cartpole, "atari": make_atari}


def ale(row: Row) -> float:
    from ale_py.vector_env import AtariVectorEnv

    env = AtariVectorEnv("breakout", row.num_envs, num_threads=min(row.threads, row.num_envs), noop_max=30)
    return by_gymnasium(env, row)


def gymnasium_native(row: Row) -> float:
    import gymnasium

    env = gymnasium.make_vec("CartPole-v1", num_envs=row.num_envs, vectorization_mode="vector_entry_point")
    return by_gymnasium(env, row)


def gymnasium_sync(row: Row) -> float:
    from gymnasium.vector import SyncVectorEnv

    return by_gymnasium(SyncVectorEnv([MAKERS[row.work]] * row.num_envs), row)


def gymnasium_async(row: Row) -> float:
    from gymnasium.vector import AsyncVectorEnv

    return by_gymnasium(AsyncVectorEnv([MAKERS[row.work]] * row.num_envs), row)


def envpool(row: Row) -> float:
    import envpool as pool

    task = {"cartpole": "CartPole-v1", "atari": "Breakout-v5"}[row.work]
    env = pool.make(
        task, env_type="gymnasium", num_envs=row.num_envs, num_threads=min(row.threads, row.num_envs), seed=1
    )
    return by_gymnasium(env, row, "int32")


def stable_baselines3(row: Row) -> float:
    from stable_baselines3.common.vec_env import SubprocVecEnv

    return by_gymnasium(SubprocVecEnv([MAKERS[row.work]] * row.num_envs), row)


def _pufferlib(backend: str, row: Row, **workers: int) -> float:
    import pufferlib.emulation
    import pufferlib.vector

    def wrapped(buf: Any = None, seed: int = 0) -> Any:
        return pufferlib.emulation.GymnasiumPufferEnv(env_creator=MAKERS[row.work], buf=buf, seed=seed)

    env = pufferlib.vector.make(
        wrapped, num_envs=row.num_envs, backend=getattr(pufferlib.vector, backend), **workers
    )
    return by_gymnasium(env, row)


def pufferlib_serial(row: Row) -> float:
    return _pufferlib("Serial", row)


def pufferlib_multiprocessing(row: Row) -> float:
    return _pufferlib("Multiprocessing", row, num_workers=min(row.threads, row.num_envs))


def procgen(row: Row) -> float:
    from procgen import ProcgenGym3Env

    games = ProcgenGym3Env(
        num=row.num_envs,
        env_name="coinrun",
        distribution_mode="easy",
        num_threads=row.threads if row.threads > 1 else 0,
    )
    actions = list(np.random.default_rng(0).integers(0, 15, (64, row.num_envs)).astype(np.int32))

    def step(number: int) -> None:
        games.act(actions[number % 64])
        games.observe()

    try:
        return measure(step, row.num_envs, row.seconds)
    finally:
        games.close()


# Who, the module that must be there, the work it can do, how, and whether it needs a process per environment.
RIVALS = (
    ("ALE AtariVectorEnv", "ale_py", ("atari",), ale, False),
    ("Gymnasium CartPoleVectorEnv", "gymnasium", ("cartpole",), gymnasium_native, False),
    ("envpool", "envpool", ("cartpole", "atari"), envpool, False),
    ("Gymnasium SyncVectorEnv", "gymnasium", ("cartpole", "atari"), gymnasium_sync, False),
    ("Gymnasium AsyncVectorEnv", "gymnasium", ("cartpole", "atari"), gymnasium_async, True),
    ("SB3 SubprocVecEnv", "stable_baselines3", ("cartpole", "atari"), stable_baselines3, True),
    ("PufferLib Serial", "pufferlib", ("cartpole", "atari"), pufferlib_serial, False),
    ("PufferLib Multiprocessing", "pufferlib", ("cartpole", "atari"), pufferlib_multiprocessing, False),
    ("Procgen's own", "procgen", ("procgen",), procgen, False),
)


def main(row: Row) -> None:
    for who, module, works, run, many_processes in RIVALS:
        if row.work not in works or not any(name in who for name in row.names):
            continue
        told: dict[str, Any] = {"who": who}
        if importlib.util.find_spec(module) is None:
            told["skipped"] = f"{module} is not installed"
        elif many_processes and row.num_envs > MOST_PROCESSES:
            told["skipped"] = f"a process an environment, and more than {MOST_PROCESSES}"
        else:
            try:
                told["steps_per_second"] = run(row)
            except Exception as error:  # noqa: BLE001 - one that breaks must not take the others' rows along
                told["skipped"] = f"{type(error).__name__}: {error}"
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Row(**json.loads(sys.argv[1])))
    sys.stdout.flush()
    # Threads of pools that were closed a moment ago need not be waited for.
    os._exit(0)
