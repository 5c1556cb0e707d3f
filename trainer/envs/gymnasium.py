"""Any environment that Gymnasium has registered, all at once where that can be done.

CartPole is stepped by an array program of ours; an environment that registers a vector environment, by that;
all others one by one.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from functools import cached_property
from typing import TYPE_CHECKING, Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator

from trainer.envs.batched_shard import BatchedShard
from trainer.envs.cartpole_shard import CartpoleShard
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
    nearest,
    unknown_environment,
)
from trainer.envs.spaces import ActionCodec, ObservationCodec
from trainer.errors import EnvironmentMakeError, MissingExtraError, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainer.envs.layout import ActionLayout, ObservationLayout
    from trainer.envs.shard import Shard

# Packages that register their environments when they are imported: id prefix → (module, our extra).
_REGISTRARS = {
    "ALE/": ("ale_py", "atari"),
    "MiniGrid-": ("minigrid", "minigrid"),
    "BabyAI-": ("minigrid", "minigrid"),
}
# What `gymnasium.make` needs for its own environments: part of the entry point → (module, our extra).
_EXTRAS = {"box2d": ("Box2D", "box2d"), "mujoco": ("mujoco", "mujoco")}
_UNLISTED = ("ALE/", "phys2d/", "tabular/", "GymV21", "GymV26")
_FIRST_MUJOCO_VERSION = 4
# Settings of `gymnasium.make` itself, beside those of the environment's constructor.
_MAKE_KEYS = ("max_episode_steps",)
# Vector environments on JAX, which would have to be compiled at every start.
_VECTORS_LEFT_ASIDE = ("gymnasium.envs.phys2d", "gymnasium.envs.tabular")
_CARTPOLE = "gymnasium.envs.classic_control.cartpole:CartPoleEnv"


def _load_creator(entry_point: str | Callable[..., Any]) -> Callable[..., Any]:
    """What makes an environment, imported without what other packages have to say of their own age.

    Where warnings are errors, that of SWIG's types would end the interpreter while Box2D is imported.
    """
    if not isinstance(entry_point, str):
        return entry_point
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        creator: Callable[..., Any] = load_env_creator(entry_point)
    return creator


def registered_ids() -> list[str]:
    """Every id that can be made by name, as far as their packages are installed or Gymnasium's own.

    Without ALE's games, which are the package atari's, what only JAX could make, wrappers of other libraries,
    and MuJoCo's environments of before its own Python package.
    """
    for module, _ in _REGISTRARS.values():
        if importlib.util.find_spec(module) is not None:
            importlib.import_module(module)
    return sorted(
        spec.id
        for spec in gymnasium.registry.values()
        if not spec.id.startswith(_UNLISTED)
        and not (".mujoco" in str(spec.entry_point) and (spec.version or 0) < _FIRST_MUJOCO_VERSION)
    )


def missing_extra(name: str) -> str | None:
    """The extra that a registered id needs and that is not installed."""
    entry_point = str(gymnasium.registry[name].entry_point)
    for part, (module, extra) in _EXTRAS.items():
        if f".{part}" in entry_point and importlib.util.find_spec(module) is None:
            return extra
    return None


def find_spec(name: str) -> EnvSpec:
    """The registered environment of that id; `Breakout` without a version is the newest one.

    Raises:
        EnvironmentMakeError: nothing of that name is registered; names the nearest.
        MissingExtraError: the package that registers it is not installed.
    """
    for prefix, (module, extra) in _REGISTRARS.items():
        if name.startswith(prefix) and importlib.util.find_spec(module) is None:
            raise MissingExtraError(module, extra=extra, purpose=f"Environments called {prefix}…")
        if name.startswith(prefix):
            importlib.import_module(module)
    spec = gymnasium.registry.get(name)
    if spec is not None:
        return spec
    versions = [
        one for one in gymnasium.registry.values() if f"{one.namespace}/{one.name}".endswith(f"/{name}")
    ]
    versions = [one for one in versions if one.namespace is None] or versions
    if versions and "-v" not in name:
        return max(versions, key=lambda one: one.version or 0)
    error = unknown_environment("gymnasium", name, gymnasium.registry)
    close = nearest(name, gymnasium.registry, 5)
    if close:
        error.remedy = f"Nearest names: {', '.join(close)}."
        error.args = (error.paragraph(),)
    raise error


class GymnasiumRecipe(Recipe):
    """One registered id with its constructor's arguments."""

    def __init__(self, env_name: str, values: Mapping[str, Any]) -> None:
        self._id = find_spec(env_name).id
        self.name = self._id
        self.env_keys = self._keys()
        if self.env_keys is not None:
            check_env_keys(values, self.env_keys, self.name)
        self.values = match_keys(values, self.env_keys or ())
        several = (SERIAL, MULTIPROCESSING, RAY)
        self._is_cartpole = self._spec().entry_point == _CARTPOLE
        has_vector = self._is_cartpole or self._has_vector_environment()
        self.backends = (NATIVE, *several) if has_vector else several

    def _keys(self) -> tuple[str, ...] | None:
        entry_point = self._spec().entry_point
        assert entry_point is not None
        try:
            creator = _load_creator(entry_point)
        except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
            raise self._missing(error) from error
        keys = constructor_keys(creator)
        return None if keys is None else keys + _MAKE_KEYS

    def _spec(self) -> EnvSpec:
        return find_spec(self._id)

    def _has_vector_environment(self) -> bool:
        entry_point = self._spec().vector_entry_point
        if entry_point is None or str(entry_point).startswith(_VECTORS_LEFT_ASIDE):
            return False
        keys = constructor_keys(_load_creator(entry_point))
        return keys is None or all(key in keys for key in self.values)

    def make_env(self, render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
        """One environment with Gymnasium's time limit around it.

        Raises:
            EnvironmentMakeError: its constructor refused the settings.
            MissingExtraError: a package that it needs is not installed.
        """
        self._spec()
        drawn: dict[str, Any] = {} if render_mode is None else {"render_mode": render_mode}
        try:
            return gymnasium.make(self._id, disable_env_checker=True, **drawn, **self.values)
        except gymnasium.error.DependencyNotInstalled as error:
            raise self._missing(error) from error
        except Exception as error:
            raise EnvironmentMakeError(
                f"{self.name} cannot be made: {type(error).__name__}: {error}.",
                place=Place(section="env"),
                value=self.values or None,
                remedy="Check the settings against the environment's own documentation.",
            ) from error

    def _missing(self, error: Exception) -> MissingExtraError | EnvironmentMakeError:
        entry_point = str(self._spec().entry_point)
        for part, (_, extra) in _EXTRAS.items():
            if f".{part}" in entry_point:
                return MissingExtraError(extra, extra=extra, purpose=f"{self.name} and its kind")
        return EnvironmentMakeError(f"{self.name} needs a package that is not installed: {error}.")

    def _make_vector(self, num_envs: int) -> gymnasium.vector.VectorEnv[Any, Any, Any]:
        """The vector environment that is registered beside the single one.

        Its environments may draw from one generator seeded with the first one's seed; then its trajectories
        are not those of environments made one by one.
        """
        return gymnasium.make_vec(
            self._id, num_envs=num_envs, vectorization_mode="vector_entry_point", **self.values
        )

    def make_filmed(self) -> tuple[Shard, Callable[[], Any] | None, float]:
        """One environment that draws itself, its picture and its speed; no picture where it cannot draw."""
        entry_point = self._spec().entry_point
        assert entry_point is not None
        creator = _load_creator(entry_point)
        if "rgb_array" not in getattr(creator, "metadata", {}).get("render_modes", ()):
            return self.make_shard(1), None, 15.0
        env = self.make_env("rgb_array")
        return PythonShard([env], self.name), env.render, float(env.metadata.get("render_fps") or 30)

    @cached_property
    def _codecs(self) -> tuple[ObservationCodec, ActionCodec]:
        env = self.make_env()
        try:
            return ObservationCodec(env.observation_space, self.name), ActionCodec(
                env.action_space, self.name
            )
        finally:
            env.close()

    @property
    def observation_layout(self) -> ObservationLayout:
        """From the environment's observation space."""
        return self._codecs[0].layout

    @property
    def action_layout(self) -> ActionLayout:
        """From the environment's action space."""
        return self._codecs[1].layout

    def __getstate__(self) -> dict[str, Any]:
        # Codecs hold closures; a worker makes its own.
        return {key: value for key, value in self.__dict__.items() if key != "_codecs"}

    def make_shard(self, num_envs: int, *, num_threads: int = 1, native: bool = False) -> Shard:  # noqa: ARG002
        """All at once for the native backend, single ones for all others."""
        if native and self._is_cartpole:
            values = dict(self.values)
            limit = values.pop("max_episode_steps", self._spec().max_episode_steps)
            return CartpoleShard(num_envs, self.observation_layout, int(limit), **values)
        if native:
            return BatchedShard([self._make_vector(num_envs)], self.name, num_envs)
        return PythonShard([self.make_env() for _ in range(num_envs)], self.name)
