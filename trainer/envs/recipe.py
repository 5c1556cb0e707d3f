"""A recipe: what a backend must know to put an environment to work, small enough to send to a worker."""

from __future__ import annotations

import difflib
import inspect
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from trainer.errors import EnvironmentMakeError, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from trainer.envs.layout import ActionLayout, ObservationLayout
    from trainer.envs.shard import Shard

SERIAL, MULTIPROCESSING, RAY, NATIVE = "Serial", "Multiprocessing", "Ray", "PufferEnv"


class Recipe(ABC):
    """How to make shards of one environment with one set of settings. Pickles.

    Attributes:
        name: the environment's name as a person would write it.
        agents_per_env: agents in each environment.
        backends: the backends it can run on, the best first.
        env_keys: names that `[env]` may hold; None where any name goes.
    """

    name: str
    agents_per_env: int = 1
    backends: tuple[str, ...]
    env_keys: tuple[str, ...] | None = None

    @property
    @abstractmethod
    def observation_layout(self) -> ObservationLayout:
        """One agent's observation. May make an environment to find out, once."""

    @property
    @abstractmethod
    def action_layout(self) -> ActionLayout:
        """One agent's action. May make an environment to find out, once."""

    @abstractmethod
    def make_shard(self, num_envs: int, *, num_threads: int = 1, native: bool = False) -> Shard:
        """Make environments.

        Args:
            num_envs: how many.
            num_threads: threads a natively vectorised environment may step with.
            native: whether the PufferEnv backend asks, where that makes a difference.

        Raises:
            EnvironmentMakeError: an environment's constructor failed.
            MissingExtraError: its package is not installed.
        """


def nearest(name: str, valid: Iterable[str], count: int = 3) -> list[str]:
    """The valid names most like `name`, compared without case."""
    by_lower = {one.lower(): one for one in valid}
    return [by_lower[one] for one in difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=0.5)]


def suggestion(name: str, valid: Collection[str], noun: str) -> str:
    """A remedy sentence: the nearest names, or all of a short list."""
    close = nearest(name, valid)
    if close:
        return f"Nearest {noun}: {', '.join(close)}."
    listed = sorted(valid)
    shown = ", ".join(listed[:12]) + (" …" if len(listed) > 12 else "")
    return f"Known {noun}: {shown}." if listed else f"It takes no {noun}."


def check_env_keys(settings: Mapping[str, Any], valid: Collection[str], environment: str) -> None:
    """Refuse `[env]` keys that an environment does not take.

    Raises:
        EnvironmentMakeError: naming the key and the nearest valid one.
    """
    known = {name.lower() for name in valid}
    for key in settings:
        if key.lower() not in known:
            raise EnvironmentMakeError(
                f"{environment} takes no setting {key!r}.",
                place=Place(section="env", key=key),
                remedy=suggestion(key, valid, "settings"),
            )


def unknown_environment(package: str, name: str, valid: Collection[str]) -> EnvironmentMakeError:
    """The error for an environment that a package does not have."""
    return EnvironmentMakeError(
        f"The package {package} has no environment {name!r}.",
        place=Place(section="base", key="env_name"),
        remedy=suggestion(name, valid, "names") + f" `puffer-sweep envs {package}` lists them.",
    )


def constructor_keys(entry_point: Callable[..., Any] | type) -> tuple[str, ...] | None:
    """Names of the keyword arguments that a constructor takes; None where it takes any."""
    parameters = inspect.signature(entry_point).parameters.values()
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
        return None
    return tuple(one.name for one in parameters if one.name not in ("self", "render_mode"))


def match_keys(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Settings under the names that a constructor knows: an INI's keys have lost their capitals."""
    by_lower = {name.lower(): name for name in names}
    return {by_lower.get(key.lower(), key): value for key, value in values.items()}
