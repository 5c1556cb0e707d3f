"""The advantage kernel, in Triton's interpreter on the CPU and compiled on CUDA, against a sequential reference."""

from __future__ import annotations

import importlib
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.cuda.advantage import advantages_by_kernel, advantages_by_scan, choose_advantages
from trainer.ppo.advantage import Transitions

KERNEL = "trainer.cuda.advantage_kernel"


@pytest.fixture(scope="module")
def interpreter():
    """Triton's interpreter, for this module's import of the kernel alone."""
    pytest.importorskip("triton", reason="Triton is not installed")
    if torch.cuda.is_available():
        pytest.skip("with a CUDA device the kernel itself is tested")
    patch = pytest.MonkeyPatch()
    patch.setenv("TRITON_INTERPRET", "1")
    sys.modules.pop(KERNEL, None)
    importlib.import_module(KERNEL)
    yield
    patch.undo()
    sys.modules.pop(KERNEL, None)


def draw_case(steps: int, segments: int, seed: int, dtype=torch.float32, device="cpu"):
    g = torch.Generator().manual_seed(seed)

    def numbers() -> torch.Tensor:
        return torch.randn(steps, segments, generator=g, dtype=torch.float64).to(device, dtype)

    def flags(share: float) -> torch.Tensor:
        return (torch.rand(steps, segments, generator=g) < share).to(device)

    live = flags(0.9)
    cut = flags(0.2) | ~live
    transitions = Transitions(numbers(), numbers(), cut, live)
    coefficients = {
        name: torch.tensor(value, dtype=dtype, device=device)
        for name, value in zip(
            ("gamma", "gae_lambda", "rho_clip", "c_clip"),
            torch.rand(4, generator=g, dtype=torch.float64).tolist(),
            strict=True,
        )
    }
    return transitions, numbers(), numbers().exp(), coefficients


def reference(transitions: Transitions, values, ratios, coefficients) -> torch.Tensor:
    """By the definition, one number after the other, in float64."""
    gamma, lam, rho_clip, c_clip = (float(value) for value in coefficients.values())
    rewards, following = transitions.rewards.double(), transitions.following_values.double()
    values, ratios = values.double(), ratios.double()
    result = torch.zeros(values.shape, dtype=torch.float64)
    steps, segments = values.shape
    for s in range(segments):
        later = 0.0
        for t in range(steps - 1, -1, -1):
            goes_on = t + 1 < steps and not transitions.cut[t, s]
            after = values[t + 1, s] if goes_on else following[t, s]
            delta = min(ratios[t, s], rho_clip) * (rewards[t, s] + gamma * after - values[t, s])
            own = float(delta) if transitions.live[t, s] else 0.0
            later = own + (gamma * lam * min(float(ratios[t, s]), c_clip) * later if goes_on else 0.0)
            result[t, s] = later
    return result


@settings(max_examples=25)
@given(steps=st.integers(1, 9), segments=st.sampled_from([1, 2, 7, 64, 65]), seed=st.integers(0, 2**31))
@pytest.mark.usefixtures("interpreter")
def test_the_interpreted_kernel_equals_the_definition(steps: int, segments: int, seed: int) -> None:
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-4)):
        transitions, values, ratios, coefficients = draw_case(steps, segments, seed, dtype)
        mine = advantages_by_kernel(transitions, values, ratios, **coefficients)
        expected = reference(transitions, values, ratios, coefficients)
        torch.testing.assert_close(mine.double(), expected, rtol=tolerance, atol=tolerance)
        scan = advantages_by_scan(transitions, values, ratios, **coefficients)
        torch.testing.assert_close(scan.double(), expected, rtol=tolerance, atol=tolerance)


def test_without_a_device_the_scan_is_taken() -> None:
    function, sentence = choose_advantages(torch.device("cpu"))
    assert function is advantages_by_scan
    assert "no CUDA device" in sentence


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("steps", "segments"), [(1, 1), (64, 65), (128, 4096), (3, 100_000)])
def test_the_compiled_kernel_equals_the_cpu(steps: int, segments: int, dtype: torch.dtype) -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    host = draw_case(steps, segments, 3, torch.float64)
    device = draw_case(steps, segments, 3, dtype, "cuda")
    expected = advantages_by_scan(host[0], host[1], host[2], **host[3])
    tolerance = 1e-12 if dtype is torch.float64 else 1e-4
    for function in (advantages_by_kernel, advantages_by_scan):
        mine = function(device[0], device[1], device[2], **device[3])
        assert mine.dtype is dtype
        torch.testing.assert_close(mine.cpu().double(), expected, rtol=tolerance, atol=tolerance)
