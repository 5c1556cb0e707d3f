"""Losses, normalisation, priorities and schedules against cases worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.envs.layout import ActionLayout
from trainer.policies import make_distribution
from trainer.ppo.loss import (
    LOSS_NAMES,
    LossCoefficients,
    LossInputs,
    normalise_advantages,
    ppo_loss,
    ppo_loss_gradients,
)
from trainer.ppo.prioritise import draw_segments, importance_weights, segment_probabilities
from trainer.ppo.schedule import learning_rate_at, prio_beta_at
from trainer.ppo.update import explained_variance


def coefficients(clip=0.2, value=0.5, value_clip=0.1, entropy=0.01) -> LossCoefficients:
    return LossCoefficients(
        *(torch.tensor(x, dtype=torch.float64) for x in (clip, value, value_clip, entropy))
    )


def column(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64).unsqueeze(1)


def test_a_hand_computed_minibatch() -> None:
    """Four steps: ratio inside, ratio above with gain, ratio above with loss, and a dead one."""
    inputs = LossInputs(
        log_probs=column(math.log(1.1), math.log(1.5), math.log(1.5), 5.0),
        entropies=column(0.5, 0.6, 0.7, 9.0),
        values=column(1.0, 2.0, 3.0, 9.0),
        old_log_probs=column(0.0, 0.0, 0.0, 0.0),
        old_values=column(1.05, 1.5, 3.0, 0.0),
        advantages=column(1.0, 2.0, -1.0, 7.0),
        returns=column(2.0, 2.5, 3.0, 0.0),
        live=column(1.0, 1.0, 1.0, 0.0),
    )
    loss, parts, ratios = ppo_loss(inputs, coefficients(), torch.tensor(3.0, dtype=torch.float64))
    named = dict(zip(LOSS_NAMES, parts.tolist(), strict=True))
    # The clip binds for the second step only: gains stop at 1.2, losses count in full.
    assert named["policy"] == pytest.approx((-1.1 - 2.4 + 1.5) / 3)
    # The second value has moved by more than the clip allows, and counts from 1.6.
    assert named["value"] == pytest.approx(0.5 * (1.0 + 0.81 + 0.0) / 3)
    assert named["entropy"] == pytest.approx(0.6)
    assert named["clip_fraction"] == pytest.approx(2 / 3)
    kl = (1.1 - 1 - math.log(1.1)) + 2 * (1.5 - 1 - math.log(1.5))
    assert named["kl"] == pytest.approx(kl / 3)
    assert named["total"] == pytest.approx(named["policy"] + 0.5 * named["value"] - 0.01 * 0.6)
    assert loss.item() == pytest.approx(named["total"])
    torch.testing.assert_close(ratios[:3], column(1.1, 1.5, 1.5))


def test_gradients_stop_where_the_clip_binds() -> None:
    log_probs = column(math.log(1.5), math.log(1.5), math.log(0.5)).requires_grad_()
    zero = column(0.0, 0.0, 0.0)
    inputs = LossInputs(log_probs, zero, zero, zero, zero, column(1.0, -1.0, -1.0), zero, zero + 1)
    ppo_loss(inputs, coefficients(), torch.tensor(3.0, dtype=torch.float64))[0].backward()
    assert log_probs.grad is not None
    torch.testing.assert_close(log_probs.grad, column(0.0, 0.5, 0.0))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), pieces=st.sampled_from([1, 2, 4]))
def test_pieces_add_up_to_the_whole(seed, pieces) -> None:
    g = torch.Generator().manual_seed(seed)

    def field() -> torch.Tensor:
        return torch.randn(5, 8, generator=g, dtype=torch.float64)

    inputs = LossInputs(*(field() for _ in range(7)), live=(torch.rand(5, 8, generator=g) > 0.2).double())
    weight = inputs.live.sum()
    whole = ppo_loss(inputs, coefficients(), weight)
    size = 8 // pieces
    parts = [
        ppo_loss(LossInputs(*(f[:, i : i + size] for f in inputs)), coefficients(), weight)
        for i in range(0, 8, size)
    ]
    torch.testing.assert_close(sum(p[0] for p in parts), whole[0], rtol=0, atol=1e-9)
    torch.testing.assert_close(sum(p[1] for p in parts), whole[1], rtol=0, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
def test_normalised_advantages_have_mean_zero_and_deviation_one_over_live_steps(seed, scale, shift) -> None:
    g = torch.Generator().manual_seed(seed)
    live = (torch.rand(6, 7, generator=g) > 0.3).double()
    live[0, :2] = 1.0
    raw = torch.randn(6, 7, generator=g, dtype=torch.float64) * scale + shift
    got = normalise_advantages(raw, live)
    kept = got[live > 0].numpy()
    expected = raw[live > 0].numpy()
    expected = (expected - expected.mean()) / (expected.std(ddof=1) + 1e-8)
    np.testing.assert_allclose(kept, expected, atol=1e-6)
    assert (got[live == 0] == 0).all()


def test_a_single_step_and_equal_advantages_normalise_to_zero() -> None:
    assert normalise_advantages(torch.ones(1, 1), torch.ones(1, 1)).item() == 0.0
    assert torch.equal(normalise_advantages(torch.full((2, 2), 3.0), torch.ones(2, 2)), torch.zeros(2, 2))


def test_hand_computed_priorities() -> None:
    advantages = torch.tensor([[1.0, -3.0], [0.0, 1.0]])
    # Sums of absolute values 1 and 4; with alpha 0.5 these weigh 1 and 2.
    probabilities = segment_probabilities(advantages, torch.tensor(0.5))
    torch.testing.assert_close(probabilities, torch.tensor([1 / 3, 2 / 3]), atol=1e-5, rtol=0)
    weights = importance_weights(probabilities, torch.tensor([0, 1]), torch.tensor(1.0))
    torch.testing.assert_close(weights, torch.tensor([1.5, 0.75]), atol=1e-4, rtol=0)
    halves = importance_weights(probabilities, torch.tensor([1]), torch.tensor(0.5))
    torch.testing.assert_close(halves, torch.tensor([0.75**0.5]), atol=1e-4, rtol=0)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), alpha=st.floats(0, 1, width=32), segments=st.integers(1, 40))
def test_priorities_are_probabilities(seed, alpha, segments) -> None:
    advantages = torch.randn(3, segments, generator=torch.Generator().manual_seed(seed))
    probabilities = segment_probabilities(advantages, torch.tensor(alpha))
    assert probabilities.sum().item() == pytest.approx(1.0, abs=1e-5)
    assert (probabilities > 0).all()
    expected = advantages.double().abs().sum(0) ** alpha + 1e-6
    np.testing.assert_allclose(probabilities.numpy(), (expected / expected.sum()).numpy(), rtol=1e-4)


def test_alpha_zero_and_no_advantage_at_all_are_uniform() -> None:
    uniform = torch.full((5,), 0.2)
    advantages = torch.arange(10.0).view(2, 5)
    torch.testing.assert_close(segment_probabilities(advantages, torch.tensor(0.0)), uniform)
    torch.testing.assert_close(segment_probabilities(torch.zeros(2, 5), torch.tensor(0.8)), uniform)
    ones = importance_weights(uniform, torch.arange(5), torch.tensor(0.7))
    torch.testing.assert_close(ones, torch.ones(5))


def test_what_is_not_finite_is_drawn_without_a_crash() -> None:
    advantages = torch.tensor([[float("nan"), 1.0, float("inf")]])
    probabilities = segment_probabilities(advantages, torch.tensor(0.8))
    assert probabilities.isfinite().all()
    assert len(draw_segments(probabilities, 2, torch.Generator())) == 2


def test_drawn_segments_differ_and_follow_their_probabilities() -> None:
    probabilities = torch.tensor([0.7, 0.1, 0.1, 0.1])
    generator = torch.Generator().manual_seed(0)
    draws = [draw_segments(probabilities, 2, generator).tolist() for _ in range(400)]
    assert all(len(set(draw)) == 2 and draw == sorted(draw) for draw in draws)
    # First drawn with 0.7, or second after one of the others: 0.7 + 3 * 0.1 * 0.7 / 0.9.
    share = sum(0 in draw for draw in draws) / len(draws)
    assert share == pytest.approx(0.933, abs=0.05)
    assert draw_segments(probabilities, 4, generator).tolist() == [0, 1, 2, 3]


def test_the_learning_rate_falls_along_a_cosine() -> None:
    def at(progress: float, ratio: float = 0.1) -> float:
        return learning_rate_at(progress, 2.0, anneal=True, min_ratio=ratio)

    assert at(0.0) == 2.0
    assert at(0.5) == pytest.approx(2.0 * (0.1 + 0.9 * 0.5))
    assert at(1.0) == pytest.approx(0.2)
    assert at(0.25) == pytest.approx(2.0 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 4))))
    assert learning_rate_at(0.9, 2.0, anneal=False, min_ratio=0.1) == 2.0


def test_the_correction_for_priorities_reaches_one() -> None:
    assert [prio_beta_at(progress, 0.2) for progress in (0.0, 0.5, 1.0, 1.5)] == pytest.approx(
        [0.2, 0.6, 1, 1]
    )


def test_explained_variance() -> None:
    returns = torch.tensor([[1.0, 2.0, 3.0, 50.0]])
    live = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    assert explained_variance(returns, returns, live).item() == pytest.approx(1.0)
    assert explained_variance(torch.zeros(1, 4), returns, live).item() == pytest.approx(0.0, abs=1e-6)
    assert explained_variance(-returns, returns, live).item() == pytest.approx(-3.0)
    assert explained_variance(returns, torch.ones(1, 4), live).item() == 0.0


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), spread=st.sampled_from([0.05, 0.3, 2.0]), kind=st.integers(0, 2))
def test_gradients_by_formula_equal_autograd(seed, spread, kind) -> None:
    layout = (
        ActionLayout("discrete", sizes=(5,)),
        ActionLayout("multi_discrete", sizes=(2, 4, 3)),
        ActionLayout("continuous", low=(-1.0, -1.0), high=(1.0, 1.0)),
    )[kind]
    g = torch.Generator().manual_seed(seed)
    distribution = make_distribution(layout)
    scores = torch.randn(4, 6, distribution.num_scores, generator=g, dtype=torch.float64).requires_grad_()
    actions = distribution.sample(
        scores.detach().flatten(0, 1), distribution.draw_noise((24,), g).double()
    ).view(4, 6, -1)

    def noise() -> torch.Tensor:
        return torch.randn(4, 6, generator=g, dtype=torch.float64) * spread

    values = noise().requires_grad_()
    with torch.no_grad():
        old_log_probs = distribution.log_probs(scores, actions) + noise()
        old_values = values + noise()
    fixed = {
        "old_log_probs": old_log_probs,
        "old_values": old_values,
        "advantages": noise() / spread,
        "returns": noise() / spread,
        "live": (torch.rand(4, 6, generator=g) > 0.2).double(),
    }
    weight = torch.tensor(30.0, dtype=torch.float64)
    log_probs, entropies = distribution.log_probs_and_entropies(scores, actions)
    loss, parts, ratios = ppo_loss(LossInputs(log_probs, entropies, values, **fixed), coefficients(), weight)
    loss.backward()
    with torch.no_grad():
        log_probs, entropies, to_scores = distribution.pull_back(scores, actions)
        got = ppo_loss_gradients(LossInputs(log_probs, entropies, values, **fixed), coefficients(), weight)
        score_gradients = to_scores(got.log_probs, got.entropies)
    torch.testing.assert_close(got.parts, parts)
    torch.testing.assert_close(got.ratios, ratios)
    torch.testing.assert_close(got.values, values.grad)
    torch.testing.assert_close(score_gradients, scores.grad)
