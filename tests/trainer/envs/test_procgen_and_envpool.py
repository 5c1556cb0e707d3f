"""Native packages that are not always there; run in an environment of their own where they are."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from trainer import load_config, record, train
from trainer.envs.procgen import GAMES, ProcgenRecipe
from trainer.envs.shard import Slots

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


@pytest.mark.procgen
@pytest.mark.parametrize("game", GAMES)
def test_all_sixteen_games_of_procgen_play_and_repeat(game):
    assert len(GAMES) == 16
    recipe = ProcgenRecipe(game, {"num_levels": 5, "start_level": 2})
    played = play(recipe)
    assert played[0].shape == (4, 3, 64, 64)
    assert play(recipe, num_threads=1)[-1].tolist() == played[-1].tolist()


@pytest.mark.procgen
@pytest.mark.parametrize("mode", ["hard", "exploration"])
def test_settings_reach_procgen(mode):
    """Another mode shows other levels, and one level is one level."""
    easy = play(ProcgenRecipe("coinrun", {}), steps=1)[0]
    other = play(ProcgenRecipe("coinrun", {"distribution_mode": mode}), steps=1)[0]
    assert not np.array_equal(easy, other)
    single = play(ProcgenRecipe("coinrun", {"num_levels": 1, "start_level": 7}), steps=1)[0]
    assert (single == single[0]).all()


@pytest.mark.procgen
def test_the_config_trains_on_procgen_and_is_filmed(tmp_path):
    """The shipped file, a few steps of it: what a user starts is what is tested."""
    settings = {
        "train.device": "cpu",
        "vec.num_envs": 8,
        "train.batch_size": 128,
        "train.bptt_horizon": 16,
        "train.minibatch_size": 64,
        "train.max_minibatch_size": 64,
        "train.total_timesteps": 256,
        "train.update_epochs": 1,
    }
    config = load_config("coinrun").override(settings)
    result = train(config, folder=tmp_path)
    assert result.agent_steps == 256
    film = record(config, result.checkpoint, tmp_path / "film.mp4", episodes=1, seed=3)
    assert film.path.stat().st_size == film.num_bytes > 1000


@needs_envpool
@pytest.mark.slow
@pytest.mark.parametrize("task", ["CartPole-v1", "Pendulum-v1", "Breakout-v5"])
def test_envpool_plays_and_repeats(task):
    from trainer.envs.envpool import EnvpoolRecipe

    recipe = EnvpoolRecipe(task, {"max_episode_steps": 20})
    played = play(recipe)
    ends = np.stack(played[4::5]) | np.stack(played[5::5])
    live = np.stack(played[3::5])
    assert ends.any()
    np.testing.assert_array_equal(live[1:], ~ends[:-1])
