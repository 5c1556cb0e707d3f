"""Everything that can be wrong with a config before its first step, found by making each part once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from trainer.envs.registry import make_recipe
from trainer.policies import make_policy
from trainer.vector import probe

if TYPE_CHECKING:
    from trainer.config import Config
    from trainer.records import EnvironmentFacts


def rehearse(config: Config) -> EnvironmentFacts:
    """Look at the environment and build the agent for it, without a step being made.

    Raises:
        EnvironmentMakeError, MissingExtraError: the environment cannot be made.
        ConfigError: the policy or its wrapper cannot be made, or does not fit the environment.
    """
    facts = probe(config)
    recipe = make_recipe(config.base.package, config.base.env_name, config.env)
    # Found out before: some environments calculate while they are made, which the device of no memory cannot.
    observation_layout, action_layout = recipe.observation_layout, recipe.action_layout
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        make_policy(config, observation_layout, action_layout)
    return facts
