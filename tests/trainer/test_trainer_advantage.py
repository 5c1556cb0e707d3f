"""Advantages against a float64 reference written step by step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.ppo.advantage import (
    Transitions,
    accumulate_by_doubling,
    accumulate_in_place,
    compute_advantages,
)


def reference(t: Transitions, values, ratios, gamma, lam, rho_clip, c_clip) -> np.ndarray:
    """One row at a time, one step at a time, in float64."""
    rewards, following = t.rewards.double().numpy(), t.following_values.double().numpy()
    cut, live = t.cut.numpy(), t.live.numpy()
    values, ratios = values.double().numpy(), ratios.double().numpy()
    steps, segments = rewards.shape
    result = np.zeros((steps, segments))
    for s in range(segments):
        carry = 0.0
        for i in reversed(range(steps)):
            is_last = i == steps - 1
            after = following[i, s] if is_last or cut[i, s] else values[i + 1, s]
            delta = min(ratios[i, s], rho_clip) * (rewards[i, s] + gamma * after - values[i, s])
            keep = 0.0 if is_last or cut[i, s] else gamma * lam * min(ratios[i, s], c_clip) * carry
            carry = delta + keep if live[i, s] else 0.0
            result[i, s] = carry
    return result


def random_case(seed: int, steps: int, segments: int) -> tuple[Transitions, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    shape = (steps, segments)
    terminated = torch.rand(shape, generator=g) < 0.1
    truncated = ~terminated & (torch.rand(shape, generator=g) < 0.1)
    live = torch.rand(shape, generator=g) > 0.05
    following = torch.randn(shape, generator=g) * ~terminated
    transitions = Transitions(
        torch.randn(shape, generator=g), following, terminated | truncated | ~live, live
    )
    return transitions, torch.randn(shape, generator=g), torch.rand(shape, generator=g) * 3


def coefficients(gamma=0.99, gae_lambda=0.95, rho_clip=1.0, c_clip=1.0):
    names = {"gamma": gamma, "gae_lambda": gae_lambda, "rho_clip": rho_clip, "c_clip": c_clip}
    return {name: torch.tensor(value) for name, value in names.items()}


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    steps=st.integers(1, 70),
    segments=st.integers(1, 9),
    gamma=st.floats(0.0, 1.0, width=32),
    lam=st.floats(0.0, 1.0, width=32),
    rho_clip=st.floats(0.125, 3.0, width=32),
    c_clip=st.floats(0.125, 3.0, width=32),
)
def test_equals_the_sequential_reference(seed, steps, segments, gamma, lam, rho_clip, c_clip) -> None:
    transitions, values, ratios = random_case(seed, steps, segments)
    expected = reference(transitions, values, ratios, gamma, lam, rho_clip, c_clip)
    got = compute_advantages(transitions, values, ratios, **coefficients(gamma, lam, rho_clip, c_clip))
    # A trace of ratios up to 3 grows without bound, so the error is measured against the size of the sums.
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(got.numpy() / scale, expected / scale, atol=2e-5)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), steps=st.integers(1, 130), segments=st.integers(1, 5))
def test_both_accumulations_agree(seed, steps, segments) -> None:
    g = torch.Generator().manual_seed(seed)
    deltas = torch.randn(steps, segments, generator=g, dtype=torch.float64)
    decays = torch.rand(steps, segments, generator=g, dtype=torch.float64)
    doubled = accumulate_by_doubling(deltas.clone(), decays)
    torch.testing.assert_close(accumulate_in_place(deltas.clone(), decays), doubled, rtol=1e-10, atol=1e-10)


def test_a_hand_computed_episode() -> None:
    """A step, a termination, and the first step of another episode that outlives the segment."""
    rewards = torch.tensor([[1.0], [2.0], [3.0]])
    values = torch.tensor([[0.5], [1.0], [2.0]])
    transitions = Transitions(
        rewards,
        torch.tensor([[0.0], [0.0], [4.0]]),
        torch.tensor([[False], [True], [False]]),
        torch.ones(3, 1, dtype=torch.bool),
    )
    got = compute_advantages(transitions, values, torch.ones(3, 1), **coefficients(0.5, 0.5))
    # A_2 = 3 + 0.5 * 4 - 2 = 3; A_1 = 2 - 1 = 1; A_0 = 1 + 0.5 * 1 - 0.5 + 0.25 * 1 = 1.25
    torch.testing.assert_close(got, torch.tensor([[1.25], [1.0], [3.0]]))


def test_a_truncation_bootstraps_from_the_final_observation_and_a_termination_does_not() -> None:
    shape = (1, 2)
    transitions = Transitions(
        torch.ones(shape),
        torch.tensor([[10.0, 0.0]]),
        torch.ones(shape, dtype=torch.bool),
        torch.ones(shape, dtype=torch.bool),
    )
    got = compute_advantages(transitions, torch.zeros(shape), torch.ones(shape), **coefficients(0.9))
    torch.testing.assert_close(got, torch.tensor([[10.0, 1.0]]))


@pytest.mark.parametrize("ratio", [0.25, 1.0, 4.0])
def test_the_clips_bound_what_large_ratios_do(ratio: float) -> None:
    transitions, values, _ = random_case(1, 8, 3)
    ratios = torch.full((8, 3), ratio)
    clipped = compute_advantages(transitions, values, ratios, **coefficients())
    expected = compute_advantages(transitions, values, ratios.clamp(max=1.0), **coefficients(1 * 0.99))
    torch.testing.assert_close(clipped, expected)


def test_inputs_stay_as_they_were() -> None:
    transitions, values, ratios = random_case(2, 6, 2)
    before = [t.clone() for t in (transitions.rewards, transitions.following_values, transitions.cut, values)]
    compute_advantages(transitions, values, ratios, **coefficients())
    after = [transitions.rewards, transitions.following_values, transitions.cut, values]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
