"""One environment with a camera: the same numbers for the policy, and a picture a step for people."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch

from trainer.envs.atari import AtariRecipe
from trainer.envs.gymnasium import GymnasiumRecipe
from trainer.envs.ocean.pictures import frames_per_second, picture_of
from trainer.envs.ocean.recipe import OceanRecipe
from trainer.envs.procgen import ProcgenRecipe
from trainer.envs.registry import make_recipe
from trainer.envs.shard import Slots
from trainer.envs.user import UserRecipe
from trainer.errors import MissingExtraError
from trainer.vector.local import LocalVectorEnv
from trainer.vector.tensors import TensorVectorEnv

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.config import Config
    from trainer.envs.shard import Array, Report, Shard
    from trainer.vector.base import VectorEnv

_CELL = 24
"""Pixels a side of one cell of a grid that is drawn."""
_COLOURS = np.array(
    [(240, 240, 240), (230, 80, 60), (90, 130, 200), (240, 180, 60), (110, 190, 110), (170, 120, 200)],
    np.uint8,
)


class RenderedEnv:
    """A vector environment of one environment, and what it looks like.

    Attributes:
        vector: step it like any other; the camera follows.
        frames_per_second: for a video at the speed of the game.
    """

    def __init__(self, vector: VectorEnv, picture: Callable[[], Array], frames_per_second: float) -> None:
        self.vector = vector
        self.frames_per_second = frames_per_second
        self._picture = picture

    def frame(self) -> Array:
        """(H, W, 3) uint8 of the state that the last batch shows.

        Raises:
            MissingExtraError: the package that the environment draws with is not installed.
        """
        try:
            return np.ascontiguousarray(self._picture())
        except gymnasium.error.DependencyNotInstalled as error:
            package = "mujoco" if "mujoco" in str(error).lower() else "pygame"
            extra = "mujoco" if package == "mujoco" else "video"
            raise MissingExtraError(package, extra=extra, purpose="Pictures of this environment") from error

    def close(self) -> None:
        """Close the environment."""
        self.vector.close()


class _FilmedShard:
    """A shard of one Atari game beside a second one that sees colours: same seed, same actions, same game."""

    def __init__(self, played: Shard, camera: Shard) -> None:
        self._played, self._camera = played, camera
        self.slots = Slots.allocate(1, camera.observation_layout)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._played, name)

    def reset(self, seed: int, slots: Slots) -> None:
        self._played.reset(seed, slots)
        self._camera.reset(seed, self.slots)

    def step(self, actions: Array, slots: Slots) -> Report:
        report = self._played.step(actions, slots)
        self._camera.step(actions, self.slots)
        return report

    def close(self) -> None:
        self._played.close()
        self._camera.close()


def make_render_env(config: Config) -> RenderedEnv:
    """One environment of a config, on the CPU, with a camera.

    Atari is filmed in colour and with its own rewards, Procgen in its large picture; Gymnasium's environments draw
    themselves, ours are drawn from their state (`trainer.envs.ocean.pictures`), of everything else the observation.

    Raises:
        EnvironmentMakeError: the environment cannot be made, or cannot draw itself.
        MissingExtraError: a package is not installed.
    """
    recipe = make_recipe(config.base.package, config.base.env_name, config.env)
    cpu = torch.device("cpu")
    if isinstance(recipe, OceanRecipe):
        batch = recipe.make_batch(1, cpu)
        tensors = TensorVectorEnv(batch)

        def picture() -> Array:
            drawn = picture_of(batch)
            return draw_observation(tensors.peek()[0].numpy()) if drawn is None else drawn

        return RenderedEnv(tensors, picture, frames_per_second(batch))
    if isinstance(recipe, AtariRecipe):
        # The rewards that people see are the game's own, not what the learner is given.
        recipe.settings = replace(recipe.settings, reward_clipping=False)
        filmed: Any = _FilmedShard(recipe.make_shard(1), recipe.make_camera())
        local = LocalVectorEnv(filmed, cpu, "PufferEnv")
        speed = 60.0 / recipe.settings.frameskip
        return RenderedEnv(local, lambda: np.moveaxis(filmed.slots.observations[0], 0, -1), speed)
    if isinstance(recipe, ProcgenRecipe):
        games = recipe.make_shard(1)
        games.render_mode = "rgb_array"
        return RenderedEnv(LocalVectorEnv(games, cpu, "PufferEnv"), games.picture, 15.0)
    if isinstance(recipe, GymnasiumRecipe | UserRecipe):
        shard, drawn_by_itself, speed = recipe.make_filmed()
        if drawn_by_itself is not None:
            return RenderedEnv(LocalVectorEnv(shard, cpu, "Serial"), drawn_by_itself, speed)
    else:
        shard, speed = recipe.make_shard(1), 15.0
    plain = LocalVectorEnv(shard, cpu, "Serial")
    return RenderedEnv(plain, lambda: draw_observation(plain.peek()[0]), speed)


def draw_observation(observation: Array) -> Array:
    """A picture of an observation: pictures as they are, planes of flags in colours, vectors as bars.

    Args:
        observation: (C, H, W), (H, W) or (N,).

    Returns:
        (H', W', 3) uint8.
    """
    if observation.ndim == 1:
        return _bars(observation.astype(np.float64))
    planes = observation if observation.ndim == 3 else np.stack((observation > 0, observation < 0))
    if planes.dtype == np.uint8 and planes.max(initial=0) > 1:
        picture = planes[-1] if len(planes) != 3 else np.moveaxis(planes, 0, -1)
        coloured = picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2)
        return np.repeat(np.repeat(coloured, 4, axis=0), 4, axis=1)
    grid = np.full((*planes.shape[1:], 3), 24, np.uint8)
    for number, plane in enumerate(planes[::-1]):
        grid[plane > 0] = _COLOURS[(len(planes) - 1 - number) % len(_COLOURS)]
    return np.repeat(np.repeat(grid, _CELL, axis=0), _CELL, axis=1)


def _bars(values: Array) -> Array:
    height, width = 240, max(240, 12 * len(values)) // len(values) * len(values)
    picture = np.full((height, width, 3), 24, np.uint8)
    bar = width // len(values)
    lengths = (np.tanh(values) * (height // 2 - 4)).astype(int)
    for place, length in enumerate(lengths):
        top, bottom = sorted((height // 2, height // 2 - int(length)))
        colour = _COLOURS[4] if length > 0 else _COLOURS[1]
        picture[top : bottom + 1, place * bar + 1 : (place + 1) * bar - 1] = colour
    return picture
