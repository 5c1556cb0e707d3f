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


# Mean score of the last fifth of a run, of the policy as it explores. `config/ocean/` says what is perfect.
SOLVED = {
    "acrobot": -100.0,
    "bandit": 0.99,
    "breakout": 20.0,
    "cartpole": 475.0,
    "continuous": 0.97,
    "memory": 0.95,
    "mountain_car": -150.0,
    "multiagent": 0.95,
    "password": 0.99,
    "pendulum": -200.0,
    "pong": 4.0,
    "snake": 15.0,
    "spaces": 0.95,
    "squared": 0.95,
    "stochastic": 0.88,
}


def test_every_one_has_a_score_to_reach():
    assert set(SOLVED) == set(ENVIRONMENTS)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", sorted(SOLVED))
def test_each_is_solved_by_its_config(name):
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
    last = scores[-max(1, len(scores) // 5) :]
    assert sum(last) / len(last) >= SOLVED[name]
