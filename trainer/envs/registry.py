"""From `[base] package` and `env_name` to a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer.envs.recipe import Recipe, suggestion
from trainer.errors import EnvironmentMakeError, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def _atari(env_name: str, values: Mapping[str, Any]) -> Recipe:
    from trainer.envs.atari import AtariRecipe

    return AtariRecipe(env_name, values)


def _gymnasium(env_name: str, values: Mapping[str, Any]) -> Recipe:
    from trainer.envs.gymnasium import GymnasiumRecipe

    return GymnasiumRecipe(env_name, values)


def _ocean(env_name: str, values: Mapping[str, Any]) -> Recipe:
    from trainer.envs.ocean.recipe import OceanRecipe

    return OceanRecipe(env_name, values)


def _procgen(env_name: str, values: Mapping[str, Any]) -> Recipe:
    from trainer.envs.procgen import ProcgenRecipe

    return ProcgenRecipe(env_name, values)


def _envpool(env_name: str, values: Mapping[str, Any]) -> Recipe:
    from trainer.envs.envpool import EnvpoolRecipe

    return EnvpoolRecipe(env_name, values)


def _user(env_name: str, values: Mapping[str, Any]) -> Recipe:
    from trainer.envs.user import UserRecipe

    return UserRecipe(env_name, values)


def is_import_path(env_name: str) -> bool:
    """Whether a name is `module:attribute`: a user's own environment."""
    module, colon, attribute = env_name.partition(":")
    return bool(colon) and all(part.isidentifier() for part in (*module.split("."), attribute))


PACKAGES: Mapping[str, Callable[[str, Mapping[str, Any]], Recipe]] = {
    "atari": _atari,
    "envpool": _envpool,
    "gymnasium": _gymnasium,
    "ocean": _ocean,
    "procgen": _procgen,
}


def make_recipe(package: str | None, env_name: str | None, values: Mapping[str, Any]) -> Recipe:
    """Find an environment and check its settings.

    Args:
        package: `[base] package`.
        env_name: `[base] env_name`, one name.
        values: `[env]`.

    Raises:
        EnvironmentMakeError: an unknown package, environment or setting.
        MissingExtraError: the package's Python package is not installed.
    """
    if env_name and is_import_path(env_name):
        return _user(env_name, values)
    maker = PACKAGES.get(package or "")
    if maker is None:
        raise EnvironmentMakeError(
            "There is no such package of environments.",
            place=Place(section="base", key="package"),
            value=package,
            remedy=suggestion(package or "", PACKAGES, "packages"),
        )
    if not env_name:
        raise EnvironmentMakeError(
            "No environment is named.",
            place=Place(section="base", key="env_name"),
            remedy=f"Name one; `puffer-sweep envs {package}` lists them.",
        )
    return maker(env_name, values)
