"""Environments of envpool: C++, with a pool of threads of its own.

Facts about it that this module is built around: the seed is given when the pool is made, so a reset with
another seed makes a new one; environment i is seeded with `seed + i`; the step after an episode's end only
resets, and is handed out as a dummy; rows come back in the order of `env_id`.
"""

from __future__ import annotations

import importlib.util
import warnings
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.envs.recipe import NATIVE, SERIAL, Recipe, check_env_keys, match_keys, unknown_environment
from trainer.envs.shard import NOTHING_TO_REPORT, Array, EpisodeCounter, Report, Shard
from trainer.envs.spaces import ActionCodec, ObservationCodec
from trainer.errors import EnvironmentMakeError, MissingExtraError, Place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer.envs.layout import ActionLayout, ObservationLayout
    from trainer.envs.shard import Slots

# Settings that are ours to give, and those that would change what the arrays hold.
_OWN_KEYS = frozenset(
    {
        "num_envs",
        "batch_size",
        "num_threads",
        "max_num_players",
        "thread_affinity_offset",
        "base_path",
        "seed",
    }
    | {"env_seed", "gym_reset_return_info", "reward_threshold"}
)


def environment_names() -> list[str]:
    """Everything that envpool has.

    Raises:
        MissingExtraError: envpool is not installed.
    """
    if importlib.util.find_spec("envpool") is None:
        raise MissingExtraError("envpool", extra="envpool", purpose="Environments of envpool")
    with warnings.catch_warnings():
        # Importing it imports old gym, which complains about its own age.
        warnings.simplefilter("ignore")
        import envpool
    return sorted(envpool.list_all_envs())


class EnvpoolRecipe(Recipe):
    """One of envpool's tasks with its settings.

    The learner's rewards are clipped by `reward_clipping` (ours, so that scores stay raw), not by envpool.
    """

    backends = (NATIVE, SERIAL)

    def __init__(self, env_name: str, values: Mapping[str, Any]) -> None:
        names = environment_names()
        task = env_name.removeprefix("envpool/").removeprefix("ALE/")
        if task not in names:
            raise unknown_environment("envpool", env_name, names)
        self.task = task
        self.name = f"envpool/{task}"
        given = dict(values)
        self.reward_clipping = bool(given.pop("reward_clipping", False))
        keys = self._keys()
        self.env_keys = (*keys, "reward_clipping")
        check_env_keys(given, keys, self.name)
        self.values = match_keys(given, keys)

    def _keys(self) -> tuple[str, ...]:
        import envpool

        spec = envpool.make_spec(self.task)
        return tuple(key for key in spec.config._fields if key not in _OWN_KEYS)

    def make_pool(self, num_envs: int, num_threads: int, seed: int) -> Any:
        """A pool that returns all environments at once.

        Raises:
            EnvironmentMakeError: envpool refused the settings.
        """
        environment_names()
        import envpool

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return envpool.make(
                    self.task,
                    env_type="gymnasium",
                    num_envs=num_envs,
                    num_threads=max(1, min(num_threads, num_envs)),
                    seed=seed % (2**31 - 1),
                    **self.values,
                )
        except Exception as error:
            raise EnvironmentMakeError(
                f"{self.name} cannot be made: {type(error).__name__}: {error}.",
                place=Place(section="env"),
                value=self.values or None,
            ) from error

    @cached_property
    def _codecs(self) -> tuple[ObservationCodec, ActionCodec]:
        pool = self.make_pool(1, 1, 0)
        try:
            with warnings.catch_warnings():
                # Its spaces are made of float64 bounds, about which Gymnasium complains.
                warnings.simplefilter("ignore")
                seen, done = pool.observation_space, pool.action_space
            return ObservationCodec(seen, self.name), ActionCodec(done, self.name)
        finally:
            pool.close()

    @property
    def observation_layout(self) -> ObservationLayout:
        """From the task's observation space."""
        return self._codecs[0].layout

    @property
    def action_layout(self) -> ActionLayout:
        """From the task's action space."""
        return self._codecs[1].layout

    @property
    def codec(self) -> ObservationCodec:
        """Between the task's observations and rows."""
        return self._codecs[0]

    def make_shard(self, num_envs: int, *, num_threads: int = 1, native: bool = False) -> Shard:
        """One pool; Serial steps it with one thread."""
        return EnvpoolShard(self, num_envs, num_threads if native else 1)


class EnvpoolShard(Shard):
    """One pool, synchronous."""

    def __init__(self, recipe: EnvpoolRecipe, num_envs: int, num_threads: int) -> None:
        self.num_envs = num_envs
        self.cursor = np.full(1, -1, np.int64)
        self.action_layout = recipe.action_layout
        self._recipe = recipe
        self._num_threads = num_threads
        self._pool: Any = None
        self._counter = EpisodeCounter(num_envs)
        self._ended = np.zeros(num_envs, np.bool_)
        if not recipe.codec.plain:
            raise EnvironmentMakeError(
                f"{recipe.name} has nested observations, which are not known here.",
                value=str(recipe.codec.space),
                remedy="Use the package gymnasium for this environment.",
            )

    @property
    def observation_layout(self) -> ObservationLayout:
        """From the task's observation space."""
        return self._recipe.observation_layout

    def reset(self, seed: int, slots: Slots) -> None:
        """A new pool with the seed."""
        self.close()
        self._pool = self._recipe.make_pool(self.num_envs, self._num_threads, seed)
        observations, _ = self._pool.reset()
        slots.observations[...] = observations
        slots.begin()
        self._counter.begin()
        self._ended.fill(False)

    def step(self, actions: Array, slots: Slots) -> Report:
        """Step every environment, or let it reset after an episode's end."""
        if self.action_layout.kind == "discrete":
            choices = actions[:, 0].astype(np.int32)
        else:
            choices = actions.astype(self._pool.action_space.dtype, copy=False)
        observations, rewards, terminated, truncated, _ = self._pool.step(choices)
        np.logical_not(self._ended, out=slots.live)
        slots.observations[...] = observations
        slots.rewards[:] = np.clip(rewards, -1, 1) if self._recipe.reward_clipping else rewards
        slots.terminated[:] = terminated
        np.greater(truncated, terminated, out=slots.truncated)
        if slots.truncated.any():
            slots.final_observations[slots.truncated] = observations[slots.truncated]
        self._ended = slots.terminated | slots.truncated
        self._counter.count(rewards, self._ended, slots, slots.live)
        return NOTHING_TO_REPORT

    def close(self) -> None:
        """End the pool's threads."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None
