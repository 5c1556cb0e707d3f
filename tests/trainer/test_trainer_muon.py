"""Muon against a float64 reference, and what it leaves to Adam."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trainer.optimizers import symmetric
from trainer.optimizers.muon import (
    COEFFICIENTS,
    GRAM_ASPECT,
    NUM_NEWTON_SCHULZ_STEPS,
    Muon,
    _iterate_on_gram,
    orthogonalise,
)


def reference(matrix: torch.Tensor) -> torch.Tensor:
    """The definition: the quintic applied to the singular values, in float64."""
    u, s, vh = torch.linalg.svd(matrix.double(), full_matrices=False)
    s = s / torch.linalg.vector_norm(matrix.double())
    a, b, c = COEFFICIENTS
    for _ in range(NUM_NEWTON_SCHULZ_STEPS):
        s = a * s + b * s**3 + c * s**5
    return u @ torch.diag(s) @ vh


def matrix_with_spectrum(seed: int, rows: int, columns: int, decay: float) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    smaller = min(rows, columns)
    u = torch.linalg.qr(torch.randn(rows, smaller, generator=g, dtype=torch.float64)).Q
    v = torch.linalg.qr(torch.randn(columns, smaller, generator=g, dtype=torch.float64)).Q
    return ((u * decay ** torch.arange(smaller)) @ v.mT).float()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    rows=st.integers(1, 48),
    columns=st.integers(1, 160),
    decay=st.sampled_from([1.0, 0.9, 0.7, 0.5]),
)
def test_orthogonalise_equals_the_float64_reference(seed, rows, columns, decay) -> None:
    matrix = matrix_with_spectrum(seed, rows, columns, decay)
    torch.testing.assert_close(orthogonalise(matrix).double(), reference(matrix), rtol=0, atol=1e-3)


def test_the_error_on_a_layer_of_the_usual_size_is_small() -> None:
    matrix = torch.randn(128, 1024, generator=torch.Generator().manual_seed(0))
    error = (orthogonalise(matrix).double() - reference(matrix)).abs().max()
    assert error < 1e-4


@pytest.mark.parametrize("decay", [1.0, 0.99, 0.9, 0.7])
@pytest.mark.parametrize("shape", [(256, 512), (257, 1031), (512, 3136), (1030, 258)])
def test_products_by_half_equal_whole_ones(shape, decay) -> None:
    matrix = matrix_with_spectrum(7, *shape, decay)
    wide = matrix.mT if shape[0] > shape[1] else matrix
    assert symmetric.pays(wide, GRAM_ASPECT)
    factor = symmetric.left_factor(wide, 1e-8, COEFFICIENTS, NUM_NEWTON_SCHULZ_STEPS)
    plain = _iterate_on_gram(wide.double() / torch.linalg.vector_norm(wide.double()))
    torch.testing.assert_close((factor @ wide).double(), plain, rtol=0, atol=1e-4)
    whole = plain.mT if shape[0] > shape[1] else plain
    torch.testing.assert_close(orthogonalise(matrix).double(), whole, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", [(256, 600), (600, 256), (300, 300)])
def test_a_step_taken_by_the_product_is_the_step(shape) -> None:
    layer = nn.Linear(shape[1], shape[0], bias=False)
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.randn(shape, generator=torch.Generator().manual_seed(5))
    Muon(layer, learning_rate=0.05, betas=(0.9, 0.99), eps=1e-8).step()
    expected = 0.05 * max(1.0, shape[0] / shape[1]) ** 0.5 * reference(layer.weight.grad)
    torch.testing.assert_close((before - layer.weight).double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(32, 200), (200, 32), (40, 40)])
def test_singular_values_end_near_one(shape) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonalise(matrix))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_a_zero_gradient_leaves_the_weights() -> None:
    assert torch.equal(orthogonalise(torch.zeros(4, 9)), torch.zeros(4, 9))
    assert torch.equal(orthogonalise(torch.zeros(256, 512)), torch.zeros(256, 512))


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 3, 3)
        self.dense = nn.Linear(5, 7)
        self.head = nn.Linear(7, 2)
        self.head.adam_only = True


def test_matrices_and_kernels_go_to_muon_and_the_rest_to_adam() -> None:
    policy = Small()
    optimizer = Muon(policy, learning_rate=0.1, betas=(0.9, 0.99), eps=1e-8)
    kinds = {group["kind"]: {id(p) for p in group["params"]} for group in optimizer.param_groups}
    assert kinds["muon"] == {id(policy.convolution.weight), id(policy.dense.weight)}
    assert kinds["adam"] == {
        id(p) for p in (policy.convolution.bias, policy.dense.bias, policy.head.weight, policy.head.bias)
    }


def test_two_steps_by_hand() -> None:
    """Momentum m ← βm + (1-β)g, direction (1-β)g + βm, and Adam beside it as torch has it."""
    torch.manual_seed(0)
    policy, beta, rate = Small(), 0.9, 0.05
    twin = nn.Linear(7, 2)
    twin.load_state_dict({"weight": policy.head.weight, "bias": policy.head.bias})
    muon = Muon(policy, learning_rate=rate, betas=(beta, 0.99), eps=1e-8)
    adam = torch.optim.Adam(twin.parameters(), lr=rate, betas=(beta, 0.99), eps=1e-8)
    expected = policy.dense.weight.detach().double()
    momentum = torch.zeros_like(expected)
    for seed in range(2):
        g = torch.Generator().manual_seed(seed)
        for parameter in policy.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=g)
        for parameter, other in zip(policy.head.parameters(), twin.parameters(), strict=True):
            other.grad = parameter.grad.clone()
        gradient = policy.dense.weight.grad.double()
        momentum = beta * momentum + (1 - beta) * gradient
        direction = (1 - beta) * gradient + beta * momentum
        expected = expected - rate * (7 / 5) ** 0.5 * reference(direction)
        muon.step()
        adam.step()
    torch.testing.assert_close(policy.dense.weight.double(), expected, rtol=0, atol=1e-4)
    for parameter, other in zip(policy.head.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(parameter, other)


def test_state_survives_saving() -> None:
    def run(optimizer: Muon, policy: Small, seeds: range) -> None:
        for seed in seeds:
            g = torch.Generator().manual_seed(seed)
            for parameter in policy.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=g)
            optimizer.step()

    torch.manual_seed(0)
    first = Small()
    second = Small()
    second.load_state_dict(first.state_dict())
    one = Muon(first, learning_rate=0.1, betas=(0.9, 0.99), eps=1e-8)
    run(one, first, range(4))
    two = Muon(second, learning_rate=0.1, betas=(0.9, 0.99), eps=1e-8)
    run(two, second, range(2))
    three = Muon(second, learning_rate=0.1, betas=(0.9, 0.99), eps=1e-8)
    three.load_state_dict(two.state_dict())
    run(three, second, range(2, 4))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
