"""Learning curves stay where they were: within three deviations of five seeds."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path

import pytest

from trainer import load_config, train
from trainer.envs.ocean.recipe import ENVIRONMENTS
from trainer.records import Directive

CURVES = json.loads((Path(__file__).parent / "curves.json").read_text())

# A tiny spread among five seeds says little about the sixth, so that deviations have a floor: a share of the
# mean, and what the points of the curve have in common (their shares' root mean square, up to a fifth).
FLOOR = 0.03


def strays(name: str, curve: list[float]) -> list[str]:
    """Where a curve leaves the band of a scenario."""
    kept = CURVES[name]
    found = []
    shares = [
        deviation / max(abs(mean), 1e-9)
        for mean, deviation in zip(kept["mean"], kept["deviation"], strict=True)
    ]
    typical = math.sqrt(statistics.fmean(share**2 for share in shares))
    for i, (value, mean, deviation) in enumerate(zip(curve, kept["mean"], kept["deviation"], strict=True)):
        width = 3 * max(deviation, min(typical, 0.2) * abs(mean), FLOOR * abs(mean))
        if not abs(value - mean) <= width:
            found.append(f"point {i}: {value:.3f} is not within {width:.3f} of {mean:.3f}")
    return found


@pytest.mark.parametrize("name", ["cartpole adam", "recall lstm", "recall without memory"])
def test_a_fresh_seed_learns_as_before(curve_of, name) -> None:
    assert strays(name, curve_of(name, seed=11)) == []


QUICK_OCEAN = ("ocean bandit", "ocean multiagent", "ocean password", "ocean stochastic")


@pytest.mark.parametrize("name", QUICK_OCEAN)
def test_environments_of_our_own_are_learnt_as_before(curve_of, name) -> None:
    assert strays(name, curve_of(name, seed=11)) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", sorted(name for name in CURVES if name.startswith("ocean ") and name not in QUICK_OCEAN)
)
def test_longer_ones_of_our_own_are_learnt_as_before(curve_of, name) -> None:
    assert strays(name, curve_of(name, seed=12)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cartpole muon", "cartpole priorities", "catch pictures"])
def test_a_fresh_seed_learns_as_before_with_everything_else(curve_of, name) -> None:
    assert strays(name, curve_of(name, seed=12)) == []


@pytest.mark.slow
@pytest.mark.timeout(900)  # minutes where a processor only emulates bfloat16
@pytest.mark.parametrize("name", ["cartpole adam", "recall lstm", "catch pictures"])
def test_bfloat16_learns_as_float32_does(curve_of, name) -> None:
    assert strays(name, curve_of(name, seed=13, train__precision="bfloat16")) == []


def test_every_environment_of_our_own_has_its_curve() -> None:
    assert {f"ocean {name}" for name in ENVIRONMENTS} == {
        name for name in CURVES if name.startswith("ocean ")
    }


@pytest.mark.slow
@pytest.mark.timeout(900)  # minutes where a processor only emulates bfloat16
@pytest.mark.parametrize("name", ["cartpole adam", "recall lstm", "catch pictures"])
def test_bfloat16_by_autocast_learns_as_float32_does(curve_of, name, monkeypatch) -> None:
    """The way of policies that do not promise to take their weights' format."""
    from trainer.policies.convolutional import Convolutional
    from trainer.policies.default import Policy

    monkeypatch.setattr(Policy, "casts_inputs", False)
    monkeypatch.setattr(Convolutional, "casts_inputs", False)
    assert strays(name, curve_of(name, seed=14, train__precision="bfloat16")) == []


def test_memory_solves_what_no_policy_without_it_can() -> None:
    assert CURVES["recall lstm"]["mean"][-1] > 0.97
    assert max(CURVES["recall without memory"]["mean"]) < 0.55


def test_a_broken_advantage_leaves_the_band(curve_of, monkeypatch) -> None:
    """So the bands are narrow enough to notice."""
    from trainer.ppo import update

    real = update.compute_advantages
    monkeypatch.setattr(update, "compute_advantages", lambda *a, **k: -real(*a, **k))
    assert strays("recall lstm", curve_of("recall lstm", seed=11)) != []


@pytest.mark.slow
@pytest.mark.parametrize(("rnn", "low", "high"), [("LSTMWrapper", 0.97, 1.0), (None, 0.4, 0.6)])
def test_the_memory_task_of_ocean_needs_a_memory(rnn, low, high) -> None:
    config = load_config("ocean/memory").override(
        {
            "base.rnn_name": rnn,
            "train.device": "cpu",
            "train.num_threads": 1,
            "train.total_timesteps": 120_000,
        }
    )
    scores = []
    train(config, lambda progress: scores.append(progress.score) or Directive.CONTINUE)
    assert low <= sum(scores[-10:]) / 10 <= high


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["cartpole adam", *QUICK_OCEAN, "ocean cartpole", "ocean memory"])
def test_a_gpu_learns_as_before(curve_of, name) -> None:
    assert strays(name, curve_of(name, seed=11, train__device="cuda:0")) == []


@pytest.mark.gpu
@pytest.mark.parametrize("casts_inputs", [True, False])
@pytest.mark.parametrize("name", ["cartpole adam", "ocean memory"])
def test_bfloat16_on_a_gpu_learns_as_float32_does(curve_of, name, casts_inputs, monkeypatch) -> None:
    """By weights that are cast, and by autocast."""
    from trainer.policies.default import Policy

    monkeypatch.setattr(Policy, "casts_inputs", casts_inputs)
    changes = {"train__device": "cuda:0", "train__precision": "bfloat16"}
    assert strays(name, curve_of(name, seed=15, **changes)) == []
