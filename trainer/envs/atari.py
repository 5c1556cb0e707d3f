"""Atari games through ALE's own vector environment: threads in C++, preprocessing included.

Facts about ALE's vector environment (0.11 to 0.12) that this module is built around:

- With `reward_clipping` it never tells the raw reward, so clipping is done here and scores stay the game's
  own.
- Its `episodic_life` starts a whole new game at every lost life. Here a lost life ends the learner's episode
  while the game goes on (`life_loss_info`), so that the score is still that of whole games.
- `final_obs` holds garbage in rows whose episode goes on.
- An action out of range kills a worker thread's step and `recv` then waits for ever: actions are checked
  here.
- Without `num_threads` it takes as many threads as the machine has, whoever else runs there.
- Episode limits count frames, not steps.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.envs.layout import ActionLayout, ObservationLayout
from trainer.envs.recipe import MULTIPROCESSING, NATIVE, RAY, SERIAL, Recipe, unknown_environment
from trainer.envs.settings import env_key_names, read_settings
from trainer.envs.shard import (
    NOTHING_TO_REPORT,
    QUIET,
    Array,
    EpisodeCounter,
    FaultyEnvironmentError,
    OverlappingShard,
    Report,
    Shard,
    Slots,
    any_true,
)
from trainer.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Mapping

ALIASES = {"framestack": "stack", "use_fire_reset": "fire_reset", "stack_num": "stack"}
_LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True, slots=True)
class AtariSettings:
    """The `[env]` keys of Atari.

    Attributes:
        frameskip: frames for which an action is repeated.
        repeat_action_probability: chance that the emulator repeats the last action instead (sticky actions).
        stack: frames in an observation.
        noop_max: idle frames at most at the start of an episode, drawn evenly.
        episodic_life: whether a lost life ends the learner's episode; the game goes on and the score is the
            game's.
        reward_clipping: whether the learner's rewards are clipped to [-1, 1]; scores never are.
        full_action_space: all 18 actions instead of those that the game uses.
        fire_reset: press FIRE at the start of an episode in games that need it.
        max_frames: frames after which an episode is truncated.
        size: height and width of the observation in pixels.
        grayscale: one channel a frame instead of three.
        maxpool: brightest of the last two frames, against flicker.
    """

    frameskip: int = field(default=4, metadata={"min": 1, "max": 1000})
    repeat_action_probability: float = field(default=0.0, metadata={"min": 0.0, "max": 1.0})
    stack: int = field(default=4, metadata={"min": 1, "max": 64})
    noop_max: int = field(default=30, metadata={"min": 0, "max": 10_000})
    episodic_life: bool = False
    reward_clipping: bool = True
    full_action_space: bool = False
    fire_reset: bool = True
    max_frames: int = field(default=108_000, metadata={"min": 1, "max": _LARGEST_SEED})
    size: int = field(default=84, metadata={"min": 16, "max": 1024})
    grayscale: bool = True
    maxpool: bool = True


def game_names() -> list[str]:
    """Every game whose ROM is installed, as in `space_invaders`.

    Raises:
        MissingExtraError: ale-py is not installed.
    """
    _require_ale()
    from ale_py import roms

    return sorted(roms.get_all_rom_ids())


def find_game(name: str) -> str:
    """A game's ROM name from any usual spelling: breakout, Breakout, space-invaders, ALE/SpaceInvaders-v5.

    Raises:
        EnvironmentMakeError: no such game; names the nearest.
    """
    games = game_names()
    stem = re.sub(r"^ALE/", "", name, flags=re.IGNORECASE)
    stem = re.sub(r"-v\d+$", "", stem)
    stem = re.sub(r"(-ram|NoFrameskip|Deterministic)$", "", stem)
    wanted = re.sub(r"[^a-z0-9]", "", stem.lower())
    for game in games:
        if game.replace("_", "") == wanted:
            return game
    raise unknown_environment("atari", name, games)


def _require_ale() -> None:
    if importlib.util.find_spec("ale_py") is None:
        raise MissingExtraError("ale_py", extra="atari", purpose="Atari environments")


class AtariRecipe(Recipe):
    """One game with one set of settings."""

    backends = (NATIVE, MULTIPROCESSING, SERIAL, RAY)
    env_keys = env_key_names(AtariSettings, ALIASES)

    def __init__(self, env_name: str, values: Mapping[str, Any]) -> None:
        self.game = find_game(env_name)
        self.name = f"atari/{self.game}"
        self.settings = read_settings(AtariSettings, values, self.name, ALIASES)

    @property
    def observation_layout(self) -> ObservationLayout:
        """Frames, oldest first; colours are channels of their frame."""
        import torch

        channels = self.settings.stack * (1 if self.settings.grayscale else 3)
        return ObservationLayout((channels, self.settings.size, self.settings.size), torch.uint8, 0.0, 255.0)

    @cached_property
    def action_layout(self) -> ActionLayout:
        """The game's own actions, or all 18."""
        import ale_py
        from ale_py import roms

        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        emulator = ale_py.ALEInterface()
        path = roms.get_rom_path(self.game)
        assert path is not None, self.game
        emulator.loadROM(path)
        actions = (
            emulator.getLegalActionSet()
            if self.settings.full_action_space
            else emulator.getMinimalActionSet()
        )
        return ActionLayout("discrete", sizes=(len(actions),))

    def make_shard(self, num_envs: int, *, num_threads: int = 1, native: bool = False) -> Shard:  # noqa: ARG002
        """One ALE vector environment with exactly `num_threads` threads."""
        return AtariShard(self, num_envs, num_threads)

    @property
    def camera_layout(self) -> ObservationLayout:
        """Of the picture that `make_camera` sees."""
        import torch

        return ObservationLayout((3, 210, 160), torch.uint8, 0.0, 255.0)

    def make_camera(self) -> Shard:
        """One game in colour and full size, which plays the same as the policy's for the same seed."""
        return AtariShard(self, 1, 1, camera=True)


class AtariShard(OverlappingShard):
    """One ALE vector environment. Shards seeded `seed + i` equal one environment of all their sizes."""

    always_finite = True

    def __init__(self, recipe: AtariRecipe, num_envs: int, num_threads: int, *, camera: bool = False) -> None:
        from ale_py import Action
        from ale_py.vector_env import AtariVectorEnv
        from gymnasium.vector import AutoresetMode

        settings = recipe.settings
        height, width = (210, 160) if camera else (settings.size, settings.size)
        stack = 1 if camera else settings.stack
        grayscale = settings.grayscale and not camera
        self.num_envs = num_envs
        self.cursor = np.full(1, -1, np.int64)
        self._env: AtariVectorEnv | None = AtariVectorEnv(
            recipe.game,
            num_envs,
            num_threads=max(1, min(num_threads, num_envs)),
            autoreset_mode=AutoresetMode.SAME_STEP,
            max_num_frames_per_episode=settings.max_frames,
            repeat_action_probability=settings.repeat_action_probability,
            full_action_space=settings.full_action_space,
            img_height=height,
            img_width=width,
            grayscale=grayscale,
            stack_num=stack,
            frameskip=settings.frameskip,
            maxpool=settings.maxpool,
            noop_max=settings.noop_max,
            episodic_life=False,
            life_loss_info=settings.episodic_life,
            reward_clipping=False,
            use_fire_reset=settings.fire_reset,
        )
        self._emulators: Any = self._env.ale
        self._strengths = np.ones(num_envs, np.float32)
        self._clip = settings.reward_clipping
        self._counts_lives = settings.episodic_life
        self._grayscale = grayscale
        self._camera = camera
        actions = list(self._env.ale.get_action_set())
        self._recipe = recipe
        self.action_layout = ActionLayout("discrete", sizes=(len(actions),))
        # After a lost life the ball of some games waits for FIRE; the press is a dummy step, not the
        # learner's.
        presses = settings.episodic_life and settings.fire_reset and Action.FIRE in actions
        self._fire = actions.index(Action.FIRE) if presses else -1
        self._num_actions = len(actions)
        self._must_fire = np.zeros(num_envs, np.bool_)
        self._dummy: Array | None = None
        self._no_rewards = np.zeros(num_envs, np.int32).tobytes()
        self._was_paid = self._was_loud = True
        self._started = np.zeros(num_envs, np.int64)
        self._counter = EpisodeCounter(num_envs)

    @property
    def observation_layout(self) -> ObservationLayout:
        """Frames, oldest first."""
        return self._recipe.camera_layout if self._camera else self._recipe.observation_layout

    def reset(self, seed: int, slots: Slots) -> None:
        """Begin all games anew."""
        assert self._env is not None
        seeds = (np.arange(self.num_envs, dtype=np.int64) + seed) % _LARGEST_SEED
        observations, info = self._env.reset(seed=seeds)
        self._put(slots, observations)
        slots.begin()
        self._counter.begin()
        self._must_fire = np.zeros(self.num_envs, np.bool_)
        self._dummy = None
        self._was_paid = self._was_loud = True
        self._started = info["frame_number"] - info["episode_frame_number"]

    def begin(self, actions: Array) -> None:
        """Hand the actions to ALE's threads. ALE's own method would look at them again and make new strengths."""
        assert self._env is not None
        choices = actions.reshape(-1)
        numbers = choices.tolist()
        if min(numbers) < 0 or max(numbers) >= self._num_actions:
            wrong = next(row for row, one in enumerate(numbers) if not 0 <= one < self._num_actions)
            raise FaultyEnvironmentError(
                wrong,
                f"was given an action outside 0 … {self._num_actions - 1}",
                action=str(numbers[wrong]),
            )
        self._dummy = self._must_fire if self._fire >= 0 and any_true(self._must_fire) else None
        if self._dummy is not None:
            choices = np.where(self._dummy, self._fire, choices)
        self._emulators.send(choices, self._strengths)

    def finish(self, slots: Slots) -> Report:
        """Wait for ALE's threads, without the interpreter's lock."""
        observations, raw_rewards, terminated, truncated, info = self._emulators.recv()
        if self._grayscale and slots.replaceable:
            slots.observations = observations
        else:
            self._put(slots, observations)
        is_paid = raw_rewards.tobytes() != self._no_rewards
        if is_paid or self._was_paid:
            self._was_paid = is_paid
            # ALE's rewards are whole numbers, so that their sign is what clipping leaves of them.
            slots.rewards[...] = np.sign(raw_rewards) if self._clip else raw_rewards
        is_loud = self._dummy is not None or any_true(terminated) or any_true(truncated)
        if is_loud or self._was_loud:
            self._was_loud = is_loud
            self._tell_ends(slots, raw_rewards, terminated, truncated, info)
            return NOTHING_TO_REPORT
        self._counter.pass_time(raw_rewards if is_paid else None)
        return QUIET

    def _tell_ends(
        self,
        slots: Slots,
        raw_rewards: Array,
        terminated: Array,
        truncated: Array,
        info: Mapping[str, Array],
    ) -> None:
        """All that a step without any end, after another such, leaves as it is."""
        dummy = self._dummy
        slots.terminated[...] = terminated
        slots.truncated[...] = truncated
        slots.live[...] = True if dummy is None else ~dummy
        if any_true(truncated):
            rows = truncated.nonzero()[0]
            slots.final_observations[rows] = self._channels_first(info["final_obs"][rows])
        ended = terminated | truncated
        if self._counts_lives:
            # A game that was begun anew has another first frame; a lost life alone leaves it as it is.
            started = info["frame_number"] - info["episode_frame_number"]
            ended = started != self._started
            self._started = started
            if self._fire >= 0:
                self._must_fire = terminated & ~ended
        self._counter.count(raw_rewards, ended, slots, None if dummy is None else slots.live)

    def _put(self, slots: Slots, observations: Array) -> None:
        """ALE hands out a new array every step, so its own can be passed on without a copy."""
        observations = self._channels_first(observations)
        if slots.replaceable:
            slots.observations = observations
        else:
            slots.observations[...] = observations

    def _channels_first(self, frames: Array) -> Array:
        if self._grayscale:
            return frames
        count, stack, height, width = frames.shape[:4]
        return np.ascontiguousarray(np.moveaxis(frames, -1, 2)).reshape(count, stack * 3, height, width)

    def close(self) -> None:
        """Join ALE's threads."""
        self._env = self._emulators = None
