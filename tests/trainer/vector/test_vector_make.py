"""Names, settings and backends: what is asked for and what is said when it cannot be."""

from __future__ import annotations

import importlib.util

import gymnasium
import pytest
import torch

from trainer.config import Config
from trainer.envs.atari import find_game
from trainer.envs.recipe import nearest
from trainer.errors import EnvironmentMakeError, InfeasibleConfigError, MissingExtraError, PufferError
from trainer.vector import list_environments, make_vector, probe


def make_config(package, name, env=None, **vec):
    return Config(base={"package": package, "env_name": name}, env=env or {}, vec={"num_envs": 4, **vec})


def complaint(config, kind=EnvironmentMakeError):
    with pytest.raises(kind) as caught:
        make_vector(config, "cpu")
    assert "\n" not in str(caught.value)
    with pytest.raises(kind):
        probe(config)
    return str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["breakout", "Breakout", "ALE/Breakout-v5", "BreakoutNoFrameskip-v4", "BREAKOUT", "ale/breakout-v5"],
)
def test_a_game_has_many_spellings(name):
    assert find_game(name) == "breakout"


@pytest.mark.parametrize(
    "name", ["space_invaders", "space-invaders", "SpaceInvaders", "ALE/SpaceInvaders-v5"]
)
def test_words_may_be_joined_by_anything(name):
    assert find_game(name) == "space_invaders"


@pytest.mark.parametrize(
    ("package", "name", "said"),
    [
        ("atari", "brekout", "breakout"),
        ("gymnasium", "CartPol-v1", "CartPole-v1"),
        ("gymnasium", "CartPole-v7", "CartPole-v1"),
        ("ocean", "brakout", "breakout"),
        ("ocean", "cart-pool", "cartpole"),
        ("procgen", "coin_run", "coinrun"),
        ("oceans", "breakout", "ocean"),
        ("atari", None, "env_name"),
        (None, "no_such_module:make", "no_such_module"),
        (None, "planted_environments:make_countdwn", "make_countdown"),
        (None, "planted_environments:make_nothing", "gymnasium"),
        (None, "planted_environments:make_partly_continuous", "discrete and partly continuous"),
        (None, "planted_environments:make_sequence", "no fixed size"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(package, name, said):
    assert said in complaint(make_config(package, name))


@pytest.mark.parametrize(
    ("package", "name", "env", "said"),
    [
        ("atari", "pong", {"framskip": 4}, "frameskip"),
        ("atari", "pong", {"frameskip": 0}, "At least 1"),
        ("atari", "pong", {"frameskip": "four"}, "It is int"),
        ("atari", "pong", {"frameskip": True}, "It is int"),
        ("atari", "pong", {"repeat_action_probability": 1.5}, "at most 1.0"),
        ("atari", "pong", {"stack": 4, "framestack": 4}, "two names of one setting"),
        ("atari", "pong", {"frameskip": None}, "It is int"),
        ("gymnasium", "Pendulum-v1", {"gravity": 9.8}, "g"),
        ("gymnasium", "CartPole-v1", {"sutton_reward": True}, "sutton_barto_reward"),
        ("ocean", "breakout", {"rows": 3}, "brick_rows"),
        ("ocean", "bandit", {"arms": 1}, "At least 2"),
        ("procgen", "bigfish", {"distribution_mode": "memory"}, "caveflyer"),
        ("procgen", "bigfish", {"distribution_mode": "eazy"}, "easy"),
        (None, "planted_environments:make_countdown", {"scal": 2.0}, "scale"),
        (None, "planted_environments:make_countdown", {"kind": "no such type"}, "cannot be made"),
    ],
)
def test_a_wrong_setting_is_an_error(package, name, env, said):
    assert said in complaint(make_config(package, name, env))


def test_settings_reach_the_environment():
    env = make_vector(make_config(None, "planted_environments:make_countdown", {"scale": 10.0}), "cpu")
    env.reset(0)
    env.recv()
    env.send(torch.full((4, 1), 3))
    assert env.recv().rewards.tolist() == pytest.approx([31.0] * 4)
    env.close()


def test_keys_without_capitals_find_their_argument():
    env = make_vector(
        make_config("gymnasium", "FrozenLake-v1", {"IS_SLIPPERY": False, "map_name": "4x4"}), "cpu"
    )
    assert env.observation_layout.shape == (16,)
    env.close()


@pytest.mark.parametrize(
    ("package", "name", "backend"),
    [
        ("atari", "pong", "PufferEnv"),
        ("gymnasium", "CartPole-v1", "PufferEnv"),
        ("gymnasium", "Acrobot-v1", "Serial"),
        ("ocean", "pong", "PufferEnv"),
        (None, "planted_environments:Meeting", "PufferEnv"),
        (None, "planted_environments:make_countdown", "Serial"),
    ],
)
def test_auto_takes_the_best_backend(package, name, backend):
    assert probe(make_config(package, name)).backend == backend


@pytest.fixture
def registered():
    """An id of Gymnasium's with a vector environment beside the single one."""
    gymnasium.register(
        "PlantedCountdown-v0",
        entry_point="planted_environments:make_countdown",
        vector_entry_point="planted_environments:CountdownVector",
    )
    yield "PlantedCountdown-v0"
    del gymnasium.registry["PlantedCountdown-v0"]


def test_a_registered_vector_environment_is_taken(registered):
    config = make_config("gymnasium", registered, {"scale": 2.0})
    assert probe(config).backend == "PufferEnv"
    native = make_vector(config, "cpu")
    single = make_vector(config.override({"vec.backend": "Serial"}), "cpu")
    for env in (native, single):
        env.reset(3)
        env.recv()
        env.send(torch.full((4, 1), 2))
    ours, theirs = native.recv(), single.recv()
    assert torch.equal(ours.observations, theirs.observations)
    assert torch.equal(ours.rewards, theirs.rewards)
    native.close()
    single.close()


def test_a_registered_vector_environment_that_lacks_a_setting_is_left_aside(registered):
    assert probe(make_config("gymnasium", registered, {"kind": "float64"})).backend == "Serial"


@pytest.mark.parametrize(
    ("package", "name", "backend", "said"),
    [
        ("gymnasium", "Acrobot-v1", "PufferEnv", "Serial, Multiprocessing, Ray"),
        ("ocean", "pong", "Multiprocessing", "PufferEnv"),
    ],
)
def test_a_wrong_backend_is_answered_with_the_right_ones(package, name, backend, said):
    assert said in complaint(make_config(package, name, backend=backend))


@pytest.mark.parametrize(
    ("vec", "said"),
    [
        ({"num_workers": 3}, "2, 4"),
        ({"num_workers": 2, "batch_size": 3}, "2, 4"),
        ({"num_workers": 2, "batch_size": 1}, "4 / 2 = 2"),
    ],
)
def test_workers_and_batches_must_divide_the_environments(vec, said):
    config = make_config(None, "planted_environments:make_countdown", backend="Multiprocessing", **vec)
    with pytest.raises(InfeasibleConfigError) as caught:
        make_vector(config, "cpu")
    assert said in str(caught.value)


NEEDS = [
    ("gymnasium", "Ant-v5", "mujoco"),
    ("gymnasium", "LunarLander-v3", "Box2D"),
    ("gymnasium", "MiniGrid-Empty-5x5-v0", "minigrid"),
    ("procgen", "coinrun", "procgen"),
    ("envpool", "Breakout-v5", "envpool"),
]


def test_a_missing_package_is_one_sentence_with_its_extra():
    for package, name, module in NEEDS:
        if importlib.util.find_spec(module) is None:
            said = complaint(make_config(package, name), MissingExtraError)
            assert "pip install 'puffer-sweep[" in said, module


def test_what_is_here_can_be_listed_and_searched():
    everything = list_environments()
    assert {"atari", "gymnasium", "ocean", "procgen", "envpool"} <= {listed.package for listed in everything}
    ready = {listed.package: listed.names for listed in everything if listed.extra is None}
    assert "breakout" in ready["ocean"]
    assert "breakout" in ready["atari"]
    assert "CartPole-v1" in ready["gymnasium"]
    assert [listed.package for listed in list_environments("ocean")] == ["ocean"]
    assert list_environments("ocean/pon")[0].names == ("pong",)
    assert all("pole" in name.lower() for listed in list_environments("*Pole*") for name in listed.names)
    assert list_environments("no such thing") == ()


def test_what_lacks_a_package_is_listed_with_its_extra(monkeypatch):
    here = importlib.util.find_spec
    gone = {"Box2D", "mujoco", "minigrid", "procgen", "envpool"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in gone else here(name))
    by_extra = {(one.package, one.extra): one.names for one in list_environments()}
    assert "LunarLander-v3" in by_extra["gymnasium", "box2d"]
    assert "Ant-v5" in by_extra["gymnasium", "mujoco"]
    assert "coinrun" in by_extra["procgen", "procgen"]
    assert by_extra["envpool", "envpool"] == ()
    assert "LunarLander-v3" not in by_extra["gymnasium", None]
    assert "CartPole-v1" in by_extra["gymnasium", None]


def test_nearest_ignores_capitals():
    assert nearest("cartpole-V1", ["CartPole-v1", "Other"]) == ["CartPole-v1"]


def test_every_error_here_is_for_people():
    assert issubclass(EnvironmentMakeError, PufferError)
