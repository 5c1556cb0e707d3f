"""A user's own environment by import path: `my_module:make_env`.

The callable is given the settings of `[env]` and returns one environment: Gymnasium's single interface, one
of Gymnasium's vector environments, PettingZoo's parallel interface, or PufferLib's native one.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium

from trainer.envs.batched_shard import BatchedShard, is_batched
from trainer.envs.parallel_shard import ParallelShard, is_parallel
from trainer.envs.python_shard import PythonShard
from trainer.envs.recipe import (
    MULTIPROCESSING,
    NATIVE,
    RAY,
    SERIAL,
    Recipe,
    check_env_keys,
    constructor_keys,
    match_keys,
    suggestion,
)
from trainer.errors import EnvironmentMakeError, Place, PufferError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainer.envs.layout import ActionLayout, ObservationLayout
    from trainer.envs.shard import Shard

_PLACE = Place(section="base", key="env_name")


def import_callable(path: str) -> Callable[..., Any]:
    """The callable behind `module:attribute`; modules in the current directory are found too.

    Raises:
        EnvironmentMakeError: no such module or attribute, or the module fails when it is imported.
    """
    module_name, _, attribute = path.partition(":")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        # A console script does not look where it is called, which is where people keep their module.
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise EnvironmentMakeError(
            f"The module {module_name} cannot be imported: {type(error).__name__}: {error}.",
            place=_PLACE,
            value=path,
            remedy="It must be in the current directory, on PYTHONPATH or installed.",
        ) from error
    found = getattr(module, attribute, None)
    if not callable(found):
        names = [name for name in vars(module) if name[0] != "_" and callable(getattr(module, name))]
        raise EnvironmentMakeError(
            f"The module {module_name} ({module.__file__}) has no callable {attribute!r}.",
            place=_PLACE,
            value=path,
            remedy=suggestion(attribute, names, "callables"),
        )
    return found  # type: ignore[no-any-return]


class UserRecipe(Recipe):
    """One callable with its settings."""

    backends: tuple[str, ...] = (SERIAL, MULTIPROCESSING, RAY)

    def __init__(self, path: str, values: Mapping[str, Any]) -> None:
        self.name = self._path = path
        maker = import_callable(path)
        self.env_keys = constructor_keys(maker)
        if self.env_keys is not None:
            check_env_keys(values, self.env_keys, path)
        self.values = match_keys(values, inspect.signature(maker).parameters)
        shard = self._probe
        self.agents_per_env = shard[2]
        if shard[3]:
            self.backends = (NATIVE, SERIAL, MULTIPROCESSING, RAY)

    def make_env(self, render_mode: str | None = None) -> Any:
        """One environment.

        Raises:
            EnvironmentMakeError: the callable failed or returned no environment.
        """
        maker = import_callable(self._path)
        values = dict(self.values)
        if render_mode is not None and "render_mode" in inspect.signature(maker).parameters:
            values["render_mode"] = render_mode
        try:
            return maker(**values)
        except PufferError:
            raise
        except Exception as error:
            raise EnvironmentMakeError(
                f"{self.name} cannot be made: {type(error).__name__}: {error}.",
                place=Place(section="env"),
                value=self.values or None,
                remedy="Check the settings against the callable's own parameters.",
            ) from error

    @cached_property
    def _probe(self) -> tuple[ObservationLayout, ActionLayout, int, bool]:
        """Layouts, agents, and whether it is a multi-agent or batched environment."""
        env = self.make_env()
        shard = self._wrap([env])
        try:
            layout = shard.observation_layout
            return layout, shard.action_layout, shard.agents_per_env, not isinstance(env, gymnasium.Env)
        finally:
            shard.close()

    def __getstate__(self) -> dict[str, Any]:
        # A worker makes its own; the observation layout would make it import torch.
        return {key: value for key, value in self.__dict__.items() if key != "_probe"}

    def _wrap(self, envs: list[Any]) -> Shard:
        if isinstance(envs[0], gymnasium.Env):
            return PythonShard(envs, self.name)
        if is_batched(envs[0]):
            return BatchedShard(envs, self.name)
        if is_parallel(envs[0]):
            return ParallelShard(envs, self.name)
        raise EnvironmentMakeError(
            f"{self.name} returned no environment.",
            place=_PLACE,
            value=type(envs[0]).__name__,
            rule="It returns a gymnasium Env or VectorEnv, a PettingZoo ParallelEnv or a PufferEnv.",
        )

    def make_filmed(self) -> tuple[Shard, Callable[[], Any] | None, float]:
        """One environment that draws itself, its picture and its speed; no picture where it cannot draw."""
        env = self.make_env("rgb_array")
        draws = getattr(env, "render_mode", None) == "rgb_array"
        speed = float((getattr(env, "metadata", None) or {}).get("render_fps") or 30)
        return self._wrap([env]), env.render if draws else None, speed

    @property
    def observation_layout(self) -> ObservationLayout:
        """From one environment that was made to look at."""
        return self._probe[0]

    @property
    def action_layout(self) -> ActionLayout:
        """From one environment that was made to look at."""
        return self._probe[1]

    def make_shard(self, num_envs: int, *, num_threads: int = 1, native: bool = False) -> Shard:  # noqa: ARG002
        """The callable's environments behind the interface that they have."""
        return self._wrap([self.make_env() for _ in range(num_envs)])
