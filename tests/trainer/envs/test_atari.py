"""Atari on ALE's vector environment: what is ours of it."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.envs.atari import AtariRecipe
from trainer.envs.shard import FaultyEnvironmentError, Slots

NOOP, FIRE, RIGHT, LEFT = range(4)


def play(recipe, steps, num_envs=3, seed=1, num_threads=2, choose=None):
    """Step with random or chosen actions; returns the slots' arrays by name, stacked over time."""
    shard = recipe.make_shard(num_envs, num_threads=num_threads)
    rng = np.random.default_rng(0)
    slots = Slots.allocate(num_envs, shard.observation_layout)
    shard.reset(seed, slots)
    seen = {
        name: [] for name in ("observations", "rewards", "terminated", "live", "ended", "returns", "lengths")
    }
    try:
        for step in range(steps):
            if choose is None:
                actions = rng.integers(0, shard.action_layout.sizes[0], (num_envs, 1))
            else:
                actions = np.full((num_envs, 1), choose(step))
            shard.step(actions, slots)
            for name, values in seen.items():
                values.append(getattr(slots, name).copy())
    finally:
        shard.close()
    return {name: np.stack(values) for name, values in seen.items()}


def test_the_score_is_the_games_whatever_the_learner_gets():
    """Space Invaders pays 5 to 30 a hit: clipped rewards are 1, the score is not."""
    raw = play(AtariRecipe("space_invaders", {"reward_clipping": False, "max_frames": 1000}), 400)
    clipped = play(AtariRecipe("space_invaders", {"reward_clipping": True, "max_frames": 1000}), 400)
    assert raw["rewards"].max() >= 5
    np.testing.assert_array_equal(clipped["rewards"], np.clip(raw["rewards"], -1, 1))
    assert raw["ended"].any()
    np.testing.assert_array_equal(clipped["ended"], raw["ended"])
    np.testing.assert_array_equal(clipped["returns"][raw["ended"]], raw["returns"][raw["ended"]])
    for row in range(3):
        end = int(np.argmax(raw["ended"][:, row]))
        if raw["ended"][end, row]:
            assert raw["returns"][end, row] == raw["rewards"][: end + 1, row].sum()
            assert raw["lengths"][end, row] == end + 1


def test_a_lost_life_ends_the_learners_episode_and_not_the_game():
    whole = play(
        AtariRecipe("breakout", {"episodic_life": False, "fire_reset": False}), 200, choose=lambda _: FIRE
    )
    lives = play(
        AtariRecipe("breakout", {"episodic_life": True, "fire_reset": False}), 200, choose=lambda _: FIRE
    )
    np.testing.assert_array_equal(lives["observations"], whole["observations"])
    np.testing.assert_array_equal(lives["ended"], whole["ended"])
    np.testing.assert_array_equal(lives["returns"], whole["returns"])
    ends_of_games = whole["terminated"].sum()
    assert ends_of_games >= 3
    # Five lives: four ends of episodes for every game's end, and those that are under way.
    assert lives["terminated"].sum() >= 5 * ends_of_games
    assert (lives["terminated"] | ~whole["terminated"]).all()
    assert lives["live"].all()


def test_fire_is_pressed_after_a_lost_life_in_a_dummy_step():
    played = play(
        AtariRecipe("breakout", {"episodic_life": True, "fire_reset": True}), 250, choose=lambda _: NOOP
    )
    lost = played["terminated"] & ~played["ended"]
    assert lost.any()
    np.testing.assert_array_equal(played["live"][1:], ~lost[:-1])
    # Nobody else presses FIRE here, and still game after game is lost, ball after ball.
    assert played["ended"].any()
    for row in range(3):
        ends = np.flatnonzero(played["ended"][:, row])
        if len(ends):
            assert played["lengths"][ends[0], row] == played["live"][: ends[0] + 1, row].sum()


def test_threads_and_splits_change_nothing():
    recipe = AtariRecipe("pong", {})
    together = play(recipe, 30, num_envs=3, num_threads=3)
    alone = play(recipe, 30, num_envs=3, num_threads=1)
    for name, values in together.items():
        np.testing.assert_array_equal(values, alone[name], err_msg=name)


@pytest.mark.parametrize("action", [-1, 6])
def test_an_action_that_the_game_lacks_is_a_fault_and_no_hang(action):
    shard = AtariRecipe("pong", {}).make_shard(2)
    slots = Slots.allocate(2, shard.observation_layout)
    shard.reset(0, slots)
    with pytest.raises(FaultyEnvironmentError, match="outside 0 … 5"):
        shard.step(np.array([[0], [action]]), slots)
    shard.close()


@pytest.mark.parametrize(
    ("values", "shape", "num_actions"),
    [
        ({}, (4, 84, 84), 3),
        ({"stack": 2, "size": 32}, (2, 32, 32), 3),
        ({"stack": 2, "grayscale": False}, (6, 84, 84), 3),
        ({"full_action_space": True}, (4, 84, 84), 18),
    ],
)
def test_layouts_follow_the_settings(values, shape, num_actions):
    recipe = AtariRecipe("freeway", values)
    assert recipe.observation_layout.shape == shape
    assert recipe.action_layout.sizes == (num_actions,)
    played = play(recipe, 3)
    assert played["observations"].shape[2:] == shape


def test_colours_come_frame_by_frame():
    grey = play(AtariRecipe("freeway", {"stack": 2}), 3)["observations"]
    colour = play(AtariRecipe("freeway", {"stack": 2, "grayscale": False}), 3)["observations"]
    for frame in range(2):
        channels = colour[-1][:, 3 * frame : 3 * frame + 3].astype(float)
        mixed = np.tensordot([0.299, 0.587, 0.114], channels, axes=(0, 1))
        assert np.abs(mixed - grey[-1][:, frame]).mean() < 12
