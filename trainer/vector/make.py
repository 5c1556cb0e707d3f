"""Chooses the backend and puts an environment on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from trainer.envs.recipe import NATIVE, Recipe, suggestion
from trainer.envs.registry import make_recipe
from trainer.errors import EnvironmentMakeError, Place
from trainer.records import EnvironmentFacts
from trainer.vector.local import LocalVectorEnv

if TYPE_CHECKING:
    from trainer.config import Config
    from trainer.vector.base import VectorEnv

BACKENDS = ("Serial", "PufferEnv")


def choose_backend(recipe: Recipe, asked: str) -> str:
    """The backend that is asked for, or the best for `auto`.

    Raises:
        EnvironmentMakeError: the environment does not run on it; says on which it does.
    """
    place = Place(section="vec", key="backend")
    offered = [name for name in recipe.backends if name in BACKENDS]
    if asked.lower() == "auto":
        return offered[0]
    by_lower = {name.lower(): name for name in BACKENDS}
    name = by_lower.get(asked.lower())
    if name is None:
        raise EnvironmentMakeError(
            "There is no such backend.",
            place=place,
            value=asked,
            remedy=suggestion(asked, BACKENDS, "backends"),
        )
    if name not in offered:
        raise EnvironmentMakeError(
            f"{recipe.name} does not run on this backend.",
            place=place,
            value=asked,
            rule=f"It runs on: {', '.join(offered)} (the best first).",
            remedy="Leave it at auto.",
        )
    return name


def probe(config: Config) -> EnvironmentFacts:
    """See `trainer.vector.probe`."""
    recipe = make_recipe(config.base.package, config.base.env_name, config.env)
    backend = choose_backend(recipe, config.vec.backend)
    return EnvironmentFacts(
        agents_per_env=recipe.agents_per_env,
        backend=backend,
        can_step_half=False,
        observation=recipe.observation_layout.describe(),
        action=recipe.action_layout.describe(),
        env_keys=recipe.env_keys,
    )


def make_vector(config: Config, device: torch.device | str, num_threads: int | None) -> VectorEnv:
    """See `trainer.vector.make_vector`."""
    recipe = make_recipe(config.base.package, config.base.env_name, config.env)
    backend = choose_backend(recipe, config.vec.backend)
    native = backend == NATIVE
    threads = num_threads or torch.get_num_threads()
    shard = recipe.make_shard(config.vec.num_envs, num_threads=threads if native else 1, native=native)
    return LocalVectorEnv(shard, torch.device(device), backend)
