"""Procgen's sixteen games by its own vector environment, in C++ with threads.

Facts about it that this module is built around: it has no reset, so a reset makes it anew; all its games draw
their levels from one seed; a step that ends an episode hands out the next one's first observation at once; an
episode that runs out of time ends like any other, so that nothing is ever truncated; its arrays are always the
same memory, written to while its threads step.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.envs.layout import ActionLayout, ObservationLayout
from trainer.envs.recipe import NATIVE, SERIAL, Recipe, unknown_environment
from trainer.envs.settings import env_key_names, read_settings
from trainer.envs.shard import QUIET, Array, EpisodeCounter, OverlappingShard, Report, any_true
from trainer.errors import EnvironmentMakeError, MissingExtraError, Place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer.envs.shard import Slots

GAMES = (
    "bigfish", "bossfight", "caveflyer", "chaser", "climber", "coinrun", "dodgeball", "fruitbot",
    "heist", "jumper", "leaper", "maze", "miner", "ninja", "plunder", "starpilot",
)  # fmt: skip
NUM_ACTIONS = 15
SIZE = 64
_MODES = ("easy", "hard", "extreme", "memory", "exploration")
_EXTREME = frozenset({"chaser", "dodgeball", "leaper", "starpilot"})
_MEMORY = frozenset({"caveflyer", "dodgeball", "heist", "jumper", "maze", "miner"})
_EXPLORATION = frozenset({"coinrun", "caveflyer", "leaper", "jumper", "maze", "heist", "climber", "ninja"})
_LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ProcgenSettings:
    """The `[env]` keys of Procgen.

    Attributes:
        start_level: the first level's seed.
        num_levels: how many levels there are; 0 for no limit.
        distribution_mode: easy, hard, extreme, memory or exploration; not every game has every one.
        use_sequential_levels: go on to the next level instead of ending the episode.
        center_agent: whether the picture follows the agent.
        use_backgrounds: pictures behind the levels instead of black.
        use_monochrome_assets: plain colours instead of drawings.
        restrict_themes: one theme a game.
        use_generated_assets: random drawings.
        paint_vel_info: show the agent's speed in a corner.
        reward_clipping: whether the learner's rewards are clipped to [-1, 1]; scores never are.
    """

    start_level: int = field(default=0, metadata={"min": 0, "max": _LARGEST_SEED})
    num_levels: int = field(default=0, metadata={"min": 0, "max": _LARGEST_SEED})
    distribution_mode: str = field(default="easy", metadata={"choices": _MODES})
    use_sequential_levels: bool = False
    center_agent: bool = True
    use_backgrounds: bool = True
    use_monochrome_assets: bool = False
    restrict_themes: bool = False
    use_generated_assets: bool = False
    paint_vel_info: bool = False
    reward_clipping: bool = False


class ProcgenRecipe(Recipe):
    """One game with one set of settings."""

    backends = (NATIVE, SERIAL)
    env_keys = env_key_names(ProcgenSettings)

    def __init__(self, env_name: str, values: Mapping[str, Any]) -> None:
        game = env_name.lower().removeprefix("procgen/").removeprefix("procgen-").removeprefix("procgen_")
        self.game = game.removesuffix("-v0")
        if self.game not in GAMES:
            raise unknown_environment("procgen", env_name, GAMES)
        self.name = f"procgen/{self.game}"
        self.settings = read_settings(ProcgenSettings, values, self.name)
        self._check_mode()
        if importlib.util.find_spec("procgen") is None:
            raise MissingExtraError("procgen", extra="procgen", purpose="Procgen environments")

    def _check_mode(self) -> None:
        mode = self.settings.distribution_mode
        having = {"extreme": _EXTREME, "memory": _MEMORY, "exploration": _EXPLORATION}.get(mode)
        if having is not None and self.game not in having:
            raise EnvironmentMakeError(
                f"{self.name} has no such mode.",
                place=Place(section="env", key="distribution_mode"),
                value=mode,
                rule=f"Games that have it: {', '.join(sorted(having))}.",
            )
        if mode == "exploration" and (self.settings.num_levels or self.settings.start_level):
            raise EnvironmentMakeError(
                "The exploration mode plays one level that is fixed.",
                place=Place(section="env", key="distribution_mode"),
                remedy="Leave start_level and num_levels at 0.",
            )

    @property
    def observation_layout(self) -> ObservationLayout:
        """Colours first."""
        import torch

        return ObservationLayout((3, SIZE, SIZE), torch.uint8, 0.0, 255.0)

    @property
    def action_layout(self) -> ActionLayout:
        """The same fifteen for every game."""
        return ActionLayout("discrete", sizes=(NUM_ACTIONS,))

    def make_games(self, num_envs: int, num_threads: int, seed: int, render_mode: str | None = None) -> Any:
        """Procgen's vector environment, seeded.

        gym3 hands out copies of its arrays, and Procgen's constructor does not pass on the argument against it.
        """
        from procgen import ProcgenGym3Env

        class Games(ProcgenGym3Env):  # type: ignore[misc] # a package without types
            """Procgen's own arrays, which its threads write to between `go` and `arrive`."""

            def go(self, actions: Array) -> None:
                self._ac["action"][...] = actions
                self._c_lib.libenv_act(self._c_env)

            def arrive(self) -> None:
                self._c_lib.libenv_observe(self._c_env)

            def arrays(self) -> tuple[Array, Array, Array, Array]:
                """Pictures (B, H, W, 3), rewards, whether an episode begins, whether the one before was solved."""
                return self._ob["rgb"], self._rew, self._first, self._info["prev_level_complete"]

        settings = self.settings
        levels: dict[str, int] = {"start_level": settings.start_level, "num_levels": settings.num_levels}
        return Games(
            num=num_envs,
            env_name=self.game,
            # Procgen's own threads beside the main one; with none, the main thread steps all games.
            num_threads=num_threads if num_threads > 1 else 0,
            rand_seed=seed % _LARGEST_SEED,
            distribution_mode=settings.distribution_mode,
            use_sequential_levels=settings.use_sequential_levels,
            center_agent=settings.center_agent,
            use_backgrounds=settings.use_backgrounds,
            use_monochrome_assets=settings.use_monochrome_assets,
            restrict_themes=settings.restrict_themes,
            use_generated_assets=settings.use_generated_assets,
            paint_vel_info=settings.paint_vel_info,
            render_mode=render_mode,
            **({} if settings.distribution_mode == "exploration" else levels),
        )

    def make_shard(self, num_envs: int, *, num_threads: int = 1, native: bool = False) -> ProcgenShard:
        """All games in one vector environment; Serial steps them in one thread."""
        return ProcgenShard(self, num_envs, num_threads if native else 1)


class ProcgenShard(OverlappingShard):
    """One of Procgen's vector environments, on the memory that its threads write to."""

    always_finite = True

    def __init__(self, recipe: ProcgenRecipe, num_envs: int, num_threads: int) -> None:
        self.num_envs = num_envs
        self.cursor = np.full(1, -1, np.int64)
        self.action_layout = recipe.action_layout
        self._recipe = recipe
        self._clip = recipe.settings.reward_clipping
        self._num_threads = min(num_threads, num_envs)
        self._games: Any = None
        self._arrays: tuple[Array, Array, Array, Array]
        self._turned: Array
        self.render_mode: str | None = None
        self._no_rewards = np.zeros(num_envs, np.float32).tobytes()
        self._was_paid = self._was_loud = True
        self._counter = EpisodeCounter(num_envs)

    @property
    def observation_layout(self) -> ObservationLayout:
        """Colours first."""
        return self._recipe.observation_layout

    def picture(self) -> Array:
        """(512, 512, 3) uint8 of the first game, where `render_mode` is rgb_array."""
        picture: Array = self._games.get_info()[0]["rgb"]
        return picture

    def reset(self, seed: int, slots: Slots) -> None:
        """Make the games anew."""
        self.close()
        self._games = self._recipe.make_games(self.num_envs, self._num_threads, seed, self.render_mode)
        self._games.arrive()
        self._arrays = self._games.arrays()
        # Colours first, as another view of Procgen's own pictures.
        self._turned = np.moveaxis(self._arrays[0], -1, 1)
        self._put(slots)
        slots.begin()
        self._was_paid = self._was_loud = True
        self._counter.begin()

    def begin(self, actions: Array) -> None:
        """Procgen's threads take over; without any, the games step here and now."""
        self._games.go(actions[:, 0])

    def finish(self, slots: Slots) -> Report:
        """Wait for Procgen's threads."""
        self._games.arrive()
        _, rewards, first, complete = self._arrays
        self._put(slots)
        is_paid = rewards.tobytes() != self._no_rewards
        if is_paid or self._was_paid:
            self._was_paid = is_paid
            slots.rewards[...] = np.clip(rewards, -1, 1) if self._clip else rewards
        is_loud = any_true(first)
        if not (is_loud or self._was_loud):
            self._counter.pass_time(rewards if is_paid else None)
            return QUIET
        self._was_loud = is_loud
        slots.terminated[...] = first
        if not self._counter.count(rewards, slots.terminated, slots):
            return QUIET
        rows = slots.terminated.nonzero()[0].tolist()
        return Report({row: {"level_complete": float(complete[row])} for row in rows})

    def _put(self, slots: Slots) -> None:
        if slots.replaceable:
            slots.observations = self._turned
        else:
            slots.observations[...] = self._turned

    def close(self) -> None:
        """Free the games."""
        if self._games is not None:
            self._games.close()
            self._games = None
