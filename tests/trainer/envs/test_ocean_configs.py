"""Every environment of ours has a config, and the quick ones are solved by it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trainer import train
from trainer.config import load_config, load_config_file, resolve
from trainer.envs.ocean.recipe import ENVIRONMENTS
from trainer.envs.procgen import GAMES
from trainer.records import Directive
from trainer.vector import probe

CONFIGS = Path(__file__).parents[3] / "config"


@pytest.mark.parametrize("name", sorted(ENVIRONMENTS))
def test_there_is_a_config_that_fits(name):
    config = load_config_file(CONFIGS / "ocean" / f"{name}.ini")
    assert config.base.package == "ocean"
    assert config.base.env_name == name
    facts = probe(config)
    resolution = resolve(config, facts, cuda_available=False)
    assert resolution.config.vec.backend == "PufferEnv"
    assert config.sweep.parameters
    assert load_config(f"ocean/{name}").base.env_name == name


def test_procgens_config_lists_all_games():
    for game in GAMES:
        config = load_config_file(CONFIGS / "procgen.ini", env_name=game)
        assert config.base.env_name == game


SOLVED = {
    "bandit": 0.99,
    "multiagent": 0.9,
    "password": 0.99,
    "squared": 0.95,
    "cartpole": 450.0,
    "stochastic": 0.85,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SOLVED))
def test_quick_ones_are_solved(name):
    config = load_config_file(CONFIGS / "ocean" / f"{name}.ini").override({"train.device": "cpu"})
    scores = []

    def watch(progress):
        if progress.score is not None:
            scores.append(progress.score)
        return Directive.CONTINUE

    threads = torch.get_num_threads()
    try:
        train(config, watch)
    finally:
        torch.set_num_threads(threads)
    assert sum(scores[-5:]) / 5 >= SOLVED[name]
