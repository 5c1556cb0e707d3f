"""Gymnasium's environments that need packages of their own: they play, repeat, and break as any other."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from trainer.config import Config
from trainer.vector import list_environments, make_vector, probe

pytestmark = pytest.mark.slow

CASES = [
    ("box2d", "Box2D", "LunarLander-v3", (8,), "discrete 4"),
    ("box2d", "Box2D", "BipedalWalker-v3", (24,), "continuous 4"),
    ("mujoco", "mujoco", "HalfCheetah-v5", (17,), "continuous 6"),
    ("mujoco", "mujoco", "Ant-v5", (105,), "continuous 8"),
    ("minigrid", "minigrid", "MiniGrid-Empty-5x5-v0", (151,), "discrete 7"),
    ("minigrid", "minigrid", "BabyAI-GoToRedBall-v0", (151,), "discrete 7"),
]


@pytest.mark.parametrize(("extra", "module", "name", "shape", "action"), CASES)
def test_it_plays_the_same_in_this_process_and_in_workers(
    extra, module, name, shape, action, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its warnings to a file where it runs
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"the extra {extra} is not installed")
    played = {}
    for backend in ("Serial", "Multiprocessing"):
        config = Config(
            base={"package": "gymnasium", "env_name": name},
            vec={"num_envs": 4, "num_workers": 2, "backend": backend},
        )
        facts = probe(config)
        assert str(shape) in facts.observation
        assert facts.action == action
        env = make_vector(config, "cpu")
        try:
            played[backend] = play(env)
        finally:
            env.close()
    for one, other in zip(*played.values(), strict=True):
        assert torch.equal(one, other)


def play(env, steps=40):
    generator = torch.Generator().manual_seed(1)
    env.reset(5)
    seen = []
    for _ in range(steps):
        batch = env.recv()
        seen += [batch.observations.clone(), batch.rewards.clone(), batch.terminated.clone()]
        layout = env.action_layout
        if layout.kind == "continuous":
            actions = torch.randn((4, layout.width), generator=generator)
        else:
            actions = torch.randint(0, layout.sizes[0], (4, 1), generator=generator)
        env.send(actions)
    return seen


@pytest.mark.parametrize(("extra", "module", "name"), [case[:3] for case in CASES])
def test_it_is_listed_where_it_can_be_made(extra, module, name):
    (listed,) = list_environments(f"gymnasium/{name}")
    assert name in listed.names or importlib.util.find_spec(module) is None
