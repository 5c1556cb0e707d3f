"""Many environments stepped at once: `make_vector` for training, `probe` for what must be known before.

Nothing is imported until one of them is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from trainer.config import Config
    from trainer.envs.listing import Listed
    from trainer.records import EnvironmentFacts
    from trainer.vector.base import VectorEnv
    from trainer.vector.rendering import RenderedEnv

__all__ = ["list_environments", "make_render_env", "make_vector", "probe"]


def make_vector(
    config: Config, device: torch.device | str = "cpu", *, num_threads: int | None = None
) -> VectorEnv:
    """Make the environments that a config asks for.

    Args:
        config: `base`, `env` and `vec` are read.
        device: where batches go and actions come from.
        num_threads: threads for natively vectorised environments; None for as many as torch computes with.

    Raises:
        EnvironmentMakeError: an unknown environment, setting or backend.
        MissingExtraError: a package is not installed.
    """
    from trainer.vector.make import make_vector as make

    return make(config, device, num_threads)


def probe(config: Config) -> EnvironmentFacts:
    """Find out what must be known of an environment before its config can be resolved. Makes at most one.

    Raises:
        EnvironmentMakeError: an unknown environment, setting or backend.
        MissingExtraError: a package is not installed.
    """
    from trainer.vector.make import probe as look

    return look(config)


def list_environments(pattern: str | None = None) -> tuple[Listed, ...]:
    """What environments there are on this machine, by package; see `trainer.envs.listing`."""
    from trainer.envs.listing import list_environments as find

    return find(pattern)


def make_render_env(config: Config) -> RenderedEnv:
    """One environment with a camera; see `trainer.vector.rendering`.

    Raises:
        EnvironmentMakeError: the environment cannot be made, or cannot draw itself.
        MissingExtraError: a package is not installed.
    """
    from trainer.vector.rendering import make_render_env as make

    return make(config)
