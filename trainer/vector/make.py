"""Chooses the backend and puts an environment on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from trainer.envs.ocean.recipe import OceanRecipe
from trainer.envs.recipe import MULTIPROCESSING, NATIVE, RAY, SERIAL, Recipe, suggestion
from trainer.envs.registry import make_recipe
from trainer.errors import EnvironmentMakeError, InfeasibleConfigError, Place
from trainer.machine import multiplies_bfloat16
from trainer.records import EnvironmentFacts
from trainer.vector.actors import RayVectorEnv
from trainer.vector.local import LocalVectorEnv
from trainer.vector.parts import PartsVectorEnv
from trainer.vector.processes import MultiprocessingVectorEnv
from trainer.vector.tensors import TensorVectorEnv

if TYPE_CHECKING:
    from trainer.config import Config
    from trainer.config.sections import VecSection
    from trainer.vector.base import VectorEnv

BACKENDS = (SERIAL, MULTIPROCESSING, RAY, NATIVE)


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
        can_step_half=backend in (MULTIPROCESSING, RAY) or _in_halves_for_cuda(config, recipe, backend),
        observation=recipe.observation_layout.describe(),
        action=recipe.action_layout.describe(),
        env_keys=recipe.env_keys,
        native_bfloat16=multiplies_bfloat16(),
    )


def make_vector(config: Config, device: torch.device | str, num_threads: int | None) -> VectorEnv:
    """See `trainer.vector.make_vector`."""
    recipe = make_recipe(config.base.package, config.base.env_name, config.env)
    backend = choose_backend(recipe, config.vec.backend)
    where = torch.device(device)
    num_envs = config.vec.num_envs
    if backend == MULTIPROCESSING:
        num_workers, batch_envs = divide(config.vec)
        return MultiprocessingVectorEnv(
            recipe,
            num_envs,
            num_workers,
            batch_envs,
            where,
            zero_copy=config.vec.zero_copy,
            timeout_seconds=config.vec.timeout_seconds,
        )
    if backend == RAY:
        num_workers, batch_envs = divide(config.vec)
        return RayVectorEnv(
            recipe, num_envs, num_workers, batch_envs, where, timeout_seconds=config.vec.timeout_seconds
        )
    if isinstance(recipe, OceanRecipe):
        return TensorVectorEnv(recipe.make_batch(num_envs, where), timeout_seconds=config.vec.timeout_seconds)
    native = backend == NATIVE
    threads = num_threads or torch.get_num_threads()
    if native and config.vec.batch_size not in ("auto", num_envs):
        _, batch_envs = divide(config.vec.model_copy(update={"num_workers": "auto"}))
        return PartsVectorEnv(
            recipe,
            num_envs,
            batch_envs,
            where,
            num_threads=threads,
            timeout_seconds=config.vec.timeout_seconds,
        )
    shard = recipe.make_shard(num_envs, num_threads=threads if native else 1, native=native)
    return LocalVectorEnv(shard, where, backend, timeout_seconds=config.vec.timeout_seconds)


def _in_halves_for_cuda(config: Config, recipe: Recipe, backend: str) -> bool:
    """Whether the host's cores would wait for a GPU's actions, and the GPU for the environments on them."""
    name = config.train.device
    on_cuda = name.startswith("cuda") or (name == "auto" and torch.cuda.is_available())
    return on_cuda and backend == NATIVE and not isinstance(recipe, OceanRecipe)


def divide(vec: VecSection) -> tuple[int, int]:
    """Workers and environments per batch.

    Raises:
        InfeasibleConfigError: they do not divide the environments.
    """
    num_envs = vec.num_envs
    num_workers = num_envs if vec.num_workers == "auto" else vec.num_workers
    batch_envs = num_envs if vec.batch_size == "auto" else vec.batch_size
    if num_envs % num_workers:
        raise _indivisible(
            "num_workers", num_workers, f"{num_envs} environments do not divide among them", num_envs
        )
    if num_envs % batch_envs:
        raise _indivisible("batch_size", batch_envs, f"it does not divide {num_envs} environments", num_envs)
    per_worker = num_envs // num_workers
    if batch_envs % per_worker:
        raise InfeasibleConfigError(
            "A batch must be made by whole workers.",
            place=Place(section="vec", key="batch_size"),
            value=batch_envs,
            rule=f"A multiple of num_envs / num_workers = {num_envs} / {num_workers} = {per_worker}.",
            remedy=f"Set it to {max(1, batch_envs // per_worker) * per_worker} or change num_workers.",
        )
    return num_workers, batch_envs


def _indivisible(key: str, value: int, what: str, num_envs: int) -> InfeasibleConfigError:
    divisors = [one for one in range(1, num_envs + 1) if num_envs % one == 0]
    near = sorted(sorted(divisors, key=lambda one: abs(one - value))[:2])
    return InfeasibleConfigError(
        f"The number does not fit: {what}.",
        place=Place(section="vec", key=key),
        value=value,
        remedy=f"Nearest that fit: {', '.join(map(str, near))}.",
    )
