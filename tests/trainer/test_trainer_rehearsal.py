"""What a config gets wrong is found before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trainer.config import load_config
from trainer.errors import ConfigError, EnvironmentMakeError, UnknownNameError
from trainer.rehearsal import rehearse


def test_facts_come_back() -> None:
    facts = rehearse(load_config("CartPole-v1"))
    assert facts.agents_per_env == 1
    assert "discrete" in facts.action


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    rehearse(load_config("CartPole-v1"))
    assert torch.equal(before, torch.get_rng_state())


def test_a_setting_that_the_policy_does_not_take() -> None:
    with pytest.raises(UnknownNameError, match=r"\[policy\] hiden_size.*hidden_size"):
        rehearse(load_config("CartPole-v1").override({"policy.hiden_size": 64}))


def test_a_policy_that_does_not_fit_the_observations() -> None:
    with pytest.raises(ConfigError, match="Convolutional"):
        rehearse(load_config("CartPole-v1").override({"base.policy_name": "Convolutional"}))


def test_a_misspelt_environment() -> None:
    with pytest.raises(EnvironmentMakeError, match="CartPole-v1"):
        rehearse(load_config("CartPole-v1").override({"base.env_name": "CartPol-v1"}))


OCEAN = sorted(path.stem for path in (Path(__file__).parents[2] / "config" / "ocean").glob("*.ini"))


@pytest.mark.parametrize("name", OCEAN)
def test_every_ocean_environment_can_be_rehearsed(name):
    assert rehearse(load_config(f"ocean/{name}")).backend == "PufferEnv"
