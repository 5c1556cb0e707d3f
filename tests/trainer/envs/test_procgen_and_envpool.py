"""Native packages that are not always there; run in an environment of their own where they are."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from trainer.envs.procgen import GAMES, ProcgenRecipe
from trainer.envs.shard import Slots

needs_procgen = pytest.mark.skipif(
    importlib.util.find_spec("procgen") is None, reason="the extra procgen is not installed"
)
needs_envpool = pytest.mark.skipif(
    importlib.util.find_spec("envpool") is None, reason="the extra envpool is not installed"
)
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def play(recipe, steps=60, seed=3, num_threads=2):
    shard = recipe.make_shard(4, num_threads=num_threads, native=True)
    slots = Slots.allocate(4, shard.observation_layout)
    seen = []
    try:
        for _ in range(2):
            shard.reset(seed, slots)
            rng = np.random.default_rng(0)
            played = [slots.observations.copy()]
            for _ in range(steps):
                layout = shard.action_layout
                if layout.kind == "continuous":
                    actions = rng.uniform(-1, 1, (4, layout.width)).astype(np.float32)
                else:
                    actions = rng.integers(0, layout.sizes[0], (4, 1))
                shard.step(actions, slots)
                played += [slots.observations.copy(), slots.rewards.copy(), slots.live.copy()]
                played += [slots.terminated.copy(), slots.truncated.copy()]
            seen.append(played)
    finally:
        shard.close()
    for first, second in zip(*seen, strict=True):
        np.testing.assert_array_equal(first, second)
    return seen[0]


@needs_procgen
@pytest.mark.parametrize("game", GAMES)
def test_all_sixteen_games_of_procgen_play_and_repeat(game):
    assert len(GAMES) == 16
    recipe = ProcgenRecipe(game, {"num_levels": 5, "start_level": 2})
    played = play(recipe)
    assert played[0].shape == (4, 3, 64, 64)
    assert play(recipe, num_threads=1)[-1].tolist() == played[-1].tolist()


@needs_envpool
@pytest.mark.parametrize("task", ["CartPole-v1", "Pendulum-v1", "Breakout-v5"])
def test_envpool_plays_and_repeats(task):
    from trainer.envs.envpool import EnvpoolRecipe

    recipe = EnvpoolRecipe(task, {"max_episode_steps": 20})
    played = play(recipe)
    ends = np.stack(played[4::5]) | np.stack(played[5::5])
    live = np.stack(played[3::5])
    assert ends.any()
    np.testing.assert_array_equal(live[1:], ~ends[:-1])
