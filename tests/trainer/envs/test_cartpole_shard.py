"""CartPole by arrays is CartPole by objects, to the last bit."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from trainer.envs.gymnasium import GymnasiumRecipe
from trainer.envs.shard import Slots

NUM_ENVS = 7


def play(shard, steps, seed=4):
    """What every step leaves in the slots; the last observations only of rows that were truncated."""
    slots = Slots.allocate(NUM_ENVS, shard.observation_layout)
    shard.reset(seed, slots)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        shard.step(rng.integers(0, 2, (NUM_ENVS, 1)), slots)
        final = slots.final_observations[slots.truncated].copy()
        names = ("observations", "rewards", "terminated", "truncated", "live", "ended")
        told = [slots.returns[slots.ended].copy(), slots.lengths[slots.ended].copy()]
        yield [getattr(slots, name).copy() for name in names] + [final, *told]


@pytest.mark.parametrize(
    "values", [{}, {"max_episode_steps": 15}, {"sutton_barto_reward": True, "max_episode_steps": 25}]
)
def test_every_step_of_thousands_is_the_same(values):
    recipe = GymnasiumRecipe("CartPole-v1", values)
    arrays, objects = recipe.make_shard(NUM_ENVS, native=True), recipe.make_shard(NUM_ENVS)
    ends = 0
    # Enough for every environment to begin more episodes than are drawn at a time.
    for mine, theirs in zip(play(arrays, 1200), play(objects, 1200), strict=True):
        for one, other in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(one, other)
        ends += len(mine[-1])
    assert ends > 40 * NUM_ENVS
    arrays.close()
    objects.close()


def test_a_reset_begins_anew():
    shard = GymnasiumRecipe("CartPole-v1", {}).make_shard(NUM_ENVS, native=True)
    first, second = list(play(shard, 60)), list(play(shard, 60))
    for one, other in zip(first, second, strict=True):
        for mine, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_it_is_gymnasiums_own_limit_that_truncates():
    shard = GymnasiumRecipe("CartPole-v1", {}).make_shard(NUM_ENVS, native=True)
    limit = gymnasium.spec("CartPole-v1").max_episode_steps
    slots = Slots.allocate(NUM_ENVS, shard.observation_layout)
    shard.reset(0, slots)
    for step in range(1, limit + 1):
        # Balancing by hand: push to where the pole falls.
        lean = slots.observations @ np.float32([0.1, 0.3, 2.0, 1.0])
        shard.step((lean > 0).astype(np.int64)[:, None], slots)
        assert slots.truncated.all() == (step == limit)
    assert slots.lengths.tolist() == [limit] * NUM_ENVS
