"""Our classic control against Gymnasium's."""

from __future__ import annotations

import math

import gymnasium
import numpy as np
import pytest
import torch

from trainer.envs.ocean.classic import Acrobot, Cartpole, MountainCar, Pendulum

CPU = torch.device("cpu")


def random_states(name, rng, count):
    spans = {
        "CartPole-v1": [(-2.5, 2.5), (-3, 3), (-0.25, 0.25), (-3, 3)],
        "Pendulum-v1": [(-10, 10), (-8, 8)],
        "Acrobot-v1": [
            (-math.pi, math.pi),
            (-math.pi, math.pi),
            (-4 * math.pi, 4 * math.pi),
            (-9 * math.pi, 9 * math.pi),
        ],
        "MountainCar-v0": [(-1.2, 0.6), (-0.07, 0.07)],
    }[name]
    return np.stack([rng.uniform(low, high, count) for low, high in spans], axis=1)


def random_actions(env, rng, count):
    if isinstance(env.action_space, gymnasium.spaces.Discrete):
        return rng.integers(0, env.action_space.n, (count, 1))
    return rng.uniform(-2.0, 2.0, (count, 1))


PAIRS = [
    ("CartPole-v1", Cartpole),
    ("Pendulum-v1", Pendulum),
    ("Acrobot-v1", Acrobot),
    ("MountainCar-v0", MountainCar),
]


def make_ours(kind, count, dtype):
    return kind(count, CPU, kind.Settings(), dtype)


def step_gymnasium(env, state, action):
    """One step of a bare Gymnasium environment from a given state, all in float64."""
    env.state = np.array(state)
    if hasattr(env, "steps_beyond_terminated"):
        env.steps_beyond_terminated = None
    given = int(action[0]) if isinstance(env.action_space, gymnasium.spaces.Discrete) else action
    _, reward, terminated, _, _ = env.step(given)
    return np.asarray(env.state, float), float(np.squeeze(reward)), terminated


@pytest.mark.parametrize(("name", "kind"), PAIRS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_one_step_from_random_states(name, kind, dtype, tolerance):
    rng = np.random.default_rng(0)
    count = 10_000
    env = gymnasium.make(name).unwrapped
    env.reset(seed=0)
    # Both start from the same numbers: those that the type can hold.
    states = torch.from_numpy(random_states(name, rng, count)).to(dtype)
    actions = torch.from_numpy(random_actions(env, rng, count))
    if actions.dtype == torch.float64:
        actions = actions.float()
    ours = make_ours(kind, count, dtype)
    ours.state.copy_(states.t())
    outcome = ours.advance(actions)
    expected = [
        step_gymnasium(env, state, action)
        for state, action in zip(states.double().numpy(), actions.double().numpy(), strict=True)
    ]
    wanted = torch.tensor(np.stack([state for state, _, _ in expected]))
    found = ours.state.t().double()
    difference = (found - wanted).abs()
    if name == "Acrobot-v1":
        # An angle of half a turn is the same on either side.
        difference[:, :2] = torch.minimum(difference[:, :2], (difference[:, :2] - 2 * math.pi).abs())
    scale = wanted.abs().clamp(min=1.0)
    assert float((difference / scale).max()) < tolerance
    near = borderline(name, wanted, tolerance * 10)
    assert torch.equal(outcome.terminated[~near], torch.tensor([end for _, _, end in expected])[~near])
    rewards = torch.tensor([reward for _, reward, _ in expected], dtype=torch.float64)
    relative = (outcome.rewards.double() - rewards).abs() / rewards.abs().clamp(min=1.0)
    assert float(relative[~near].max()) < tolerance


def borderline(name, states, margin):
    """States so near to an episode's end that float32 may see it otherwise."""
    if name == "CartPole-v1":
        limit = 12 * 2 * math.pi / 360
        return ((states[:, 0].abs() - 2.4).abs() < margin) | ((states[:, 2].abs() - limit).abs() < margin)
    if name == "Acrobot-v1":
        height = -states[:, 0].cos() - (states[:, 0] + states[:, 1]).cos()
        return (height - 1.0).abs() < margin
    if name == "MountainCar-v0":
        return (states[:, 0] - 0.5).abs() < margin
    return torch.zeros(len(states), dtype=torch.bool)


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_whole_episodes_in_float64(name, kind):
    rng = np.random.default_rng(1)
    env = gymnasium.make(name)
    for seed in range(5):
        env.reset(seed=seed)
        ours = make_ours(kind, 1, torch.float64)
        ours.state.copy_(torch.from_numpy(np.asarray(env.unwrapped.state, float))[:, None])
        over, steps = False, 0
        while not over:
            # The double pendulum is chaotic: rounding in the last place grows tenfold every few dozen steps.
            drift = 1e-3 if name == "Acrobot-v1" and steps > 60 else 1e-9
            steps += 1
            action = random_actions(env, rng, 1)
            if action.dtype == np.float64:
                action = action.astype(np.float32).astype(np.float64)
            given = int(action[0, 0]) if action.dtype == np.int64 else action[0]
            seen, reward, terminated, truncated, _ = env.step(given)
            outcome = ours.advance(torch.from_numpy(action))
            np.testing.assert_allclose(
                ours.observe()[0].numpy(), seen, rtol=max(drift, 1e-5), atol=max(drift, 1e-6)
            )
            np.testing.assert_allclose(
                ours.state[:, 0].numpy(), np.asarray(env.unwrapped.state, float), rtol=drift, atol=drift
            )
            assert float(outcome.rewards[0]) == pytest.approx(float(np.squeeze(reward)), rel=1e-9)
            assert bool(outcome.terminated[0]) == terminated
            over = terminated or truncated


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_starts_are_drawn_from_gymnasiums_ranges(name, kind):
    ours = make_ours(kind, 4096, torch.float64)
    ours.draws.begin(0)
    ours.start(torch.arange(4096))
    env = gymnasium.make(name).unwrapped
    theirs = []
    for seed in range(500):
        env.reset(seed=seed)
        theirs.append(np.asarray(env.state, float))
    theirs = np.stack(theirs)
    found = ours.state.t().numpy()
    np.testing.assert_allclose(found.min(0), theirs.min(0), atol=0.05 * max(1.0, np.ptp(theirs)))
    np.testing.assert_allclose(found.max(0), theirs.max(0), atol=0.05 * max(1.0, np.ptp(theirs)))


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_time_limits_and_layouts_are_gymnasiums(name, kind):
    env = gymnasium.make(name)
    ours = make_ours(kind, 1, torch.float32)
    assert ours.max_steps == env.spec.max_episode_steps
    assert ours.observation_layout.shape == env.observation_space.shape
    if isinstance(env.action_space, gymnasium.spaces.Discrete):
        assert ours.action_layout.sizes == (env.action_space.n,)
    else:
        assert ours.action_layout.low == tuple(env.action_space.low)
        assert ours.action_layout.high == tuple(env.action_space.high)
