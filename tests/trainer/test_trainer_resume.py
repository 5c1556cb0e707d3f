"""A run that is interrupted after any epoch and resumed ends with the bits of one that was left alone."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
import torch

from trainer import load_config, train
from trainer.checkpoint import checkpoint_path, load_checkpoint
from trainer.records import Directive

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.config import Config

NUM_EPOCHS = 5
EVERYDAY = ("memory", "breakout", "continuous", "multiagent")
SLOW = (
    "acrobot", "bandit", "cartpole", "mountain_car", "password", "pendulum", "pong", "snake", "spaces", "squared",
    "stochastic",
)  # fmt: skip


def small(name: str, device: str, **settings) -> Config:
    config = load_config(f"ocean/{name}")
    agents = 4 if name == "multiagent" else 8
    return config.override(
        {
            "vec.num_envs": agents,
            "train.device": device,
            "train.num_threads": 1,
            "train.bptt_horizon": 16,
            "train.batch_size": "auto",
            "train.minibatch_size": 64,
            "train.max_minibatch_size": 64,
            "train.total_timesteps": 128 * NUM_EPOCHS,
            "train.checkpoint_interval": 1,
            **settings,
        }
    )


def check_every_epoch(config: Config, folder: Path) -> None:
    """Take a run's checkpoint of each epoch, go on from it, and compare what becomes of it."""
    kept = []

    def keep(progress) -> Directive:
        # The checkpoint before this epoch: the newest few alone stay in the run's own folder.
        if progress.epoch > 1:
            source = checkpoint_path(folder / "whole", progress.epoch - 1)
            kept.append(shutil.copy(source, folder / source.name))
        return Directive.CONTINUE

    whole = train(config, keep, folder=folder / "whole")
    assert len(kept) == NUM_EPOCHS - 1
    expected = load_checkpoint(whole.checkpoint)
    for path in kept:
        resumed = train(config, folder=folder / f"from-{path.stem}", resume_from=path)
        assert resumed.agent_steps == whole.agent_steps
        compare(load_checkpoint(resumed.checkpoint), expected)


def compare(got, expected) -> None:
    """Weights, optimiser, random states, rows and environments, to the bit."""
    assert (got.epoch, got.agent_steps) == (expected.epoch, expected.agent_steps)
    for part in ("agent", "optimizer", "random", "collector", "vector"):
        assert identical(getattr(got, part), getattr(expected, part)), part


def identical(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(identical(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(identical(x, y) for x, y in zip(a, b, strict=True))
    return a == b


@pytest.mark.parametrize("name", [*EVERYDAY, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_ocean_resumes_to_the_bit_after_any_epoch(tmp_path, name, device) -> None:
    check_every_epoch(small(name, device), tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        {"base.rnn_name": "LSTMWrapper", "train.optimizer": "muon"},
        {"policy.normalize_observations": True, "train.precision": "bfloat16", "train.optimizer": "adam"},
        {"train.cpu_offload": True, "train.prio_alpha": 0.8, "train.minibatch_size": 32},
        {"policy.separate_critic": True, "train.batch_size": 256, "train.total_timesteps": 256 * NUM_EPOCHS},
    ],
    ids=["lstm and muon", "statistics and bfloat16", "offload and priorities", "rounds"],
)
def test_so_it_does_with_every_kind_of_state(tmp_path, settings, device) -> None:
    check_every_epoch(small("cartpole", device, **settings), tmp_path)


def test_all_of_ocean_is_in_one_of_the_lists() -> None:
    from trainer.config import files

    folder = files.shipped_folder() / "ocean"
    assert sorted(path.stem for path in folder.glob("*.ini")) == sorted([*EVERYDAY, *SLOW])


def test_an_environment_without_state_goes_on_with_new_episodes(tmp_path) -> None:
    """Everything else is as it was, and the same checkpoint leads to the same run again."""
    config = load_config("CartPole-v1").override(
        {
            "vec.num_envs": 4,
            "vec.backend": "Serial",
            "train.device": "cpu",
            "train.num_threads": 1,
            "train.bptt_horizon": 16,
            "train.minibatch_size": 64,
            "train.max_minibatch_size": 64,
            "train.total_timesteps": 64 * 4,
            "train.checkpoint_interval": 1,
        }
    )
    first = train(config, lambda progress: Directive.PAUSE, folder=tmp_path / "first")
    saved = load_checkpoint(first.checkpoint)
    assert saved.vector is None
    ends, rates = [], []
    for attempt in ("a", "b"):
        result = train(
            config,
            lambda p: rates.append(p.metrics["learning_rate"]) or Directive.CONTINUE,
            folder=tmp_path / attempt,
            resume_from=first.checkpoint,
        )
        assert (result.epochs, result.agent_steps) == (4, 256)
        ends.append(load_checkpoint(result.checkpoint))
    compare(*ends)
    # The schedule goes on where it was.
    assert len(rates) == 6
    assert rates[0] < config.train.learning_rate
