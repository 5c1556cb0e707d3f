"""Which environments of our own there are, and how they are put on a device."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from trainer.envs.recipe import NATIVE, Recipe, unknown_environment
from trainer.envs.settings import env_key_names, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from trainer.envs.layout import ActionLayout, ObservationLayout
    from trainer.envs.ocean.batch import BatchEnvironment

# Name → (module, class). Modules need torch and are imported when one is made.
ENVIRONMENTS: Mapping[str, tuple[str, str]] = {
    "acrobot": ("classic", "Acrobot"),
    "bandit": ("sanity", "Bandit"),
    "breakout": ("breakout", "Breakout"),
    "cartpole": ("classic", "Cartpole"),
    "continuous": ("sanity", "Continuous"),
    "memory": ("sanity", "Memory"),
    "mountain_car": ("classic", "MountainCar"),
    "multiagent": ("sanity", "Multiagent"),
    "password": ("sanity", "Password"),
    "pendulum": ("classic", "Pendulum"),
    "pong": ("pong", "Pong"),
    "snake": ("snake", "Snake"),
    "spaces": ("sanity", "Spaces"),
    "squared": ("sanity", "Squared"),
    "stochastic": ("sanity", "Stochastic"),
}


def find_environment(env_name: str) -> type[BatchEnvironment]:
    """The class of an environment: `cartpole`, `mountain-car`, `ocean/pong`, `puffer_breakout`.

    Raises:
        EnvironmentMakeError: no such environment; names the nearest.
    """
    name = env_name.lower().removeprefix("ocean/").removeprefix("puffer_").replace("-", "_")
    if name not in ENVIRONMENTS:
        raise unknown_environment("ocean", env_name, ENVIRONMENTS)
    module, kind = ENVIRONMENTS[name]
    found: type[BatchEnvironment] = getattr(import_module(f"trainer.envs.ocean.{module}"), kind)
    return found


class OceanRecipe(Recipe):
    """One of our environments with its settings."""

    backends = (NATIVE,)

    def __init__(self, env_name: str, values: Mapping[str, Any]) -> None:
        self.kind = find_environment(env_name)
        self.name = env_name if env_name.startswith("ocean/") else f"ocean/{env_name}"
        self.env_keys = env_key_names(self.kind.Settings)
        self.settings = read_settings(self.kind.Settings, values, self.name)
        self.agents_per_env = self.kind.agents

    def make_batch(self, num_envs: int, device: torch.device) -> BatchEnvironment:
        """All environments at once, on a device."""
        return self.kind(num_envs, device, self.settings)

    @cached_property
    def _layouts(self) -> tuple[ObservationLayout, ActionLayout]:
        import torch

        one = self.make_batch(1, torch.device("cpu"))
        return one.observation_layout, one.action_layout

    @property
    def observation_layout(self) -> ObservationLayout:
        """Of one agent."""
        return self._layouts[0]

    @property
    def action_layout(self) -> ActionLayout:
        """Of one agent."""
        return self._layouts[1]

    def make_shard(self, num_envs: int, *, num_threads: int = 1, native: bool = False) -> NoReturn:
        """Never called: tensors live in the trainer's process.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(f"{self.name} runs on PufferEnv only ({num_envs}, {num_threads}, {native})")
