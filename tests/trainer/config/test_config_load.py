"""Loading, merging, looking up, overriding, dumping."""

from __future__ import annotations

import multiprocessing
import pickle
from pathlib import Path

import pytest

from trainer.config import (
    COMMAND_LINE,
    DEFAULT,
    FILE,
    Config,
    dump_config,
    load_config,
    load_config_file,
    parse_overrides,
)
from trainer.config.files import find_config
from trainer.errors import ConfigError, UnknownNameError

SWEPT = "[sweep.train.gamma]\ndistribution = logit_normal\nmin = 0.8\nmax = 0.9999\nmean = 0.98\n"


def write(folder: Path, text: str, name: str = "own.ini") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_file_is_merged_over_the_default_key_by_key(tmp_path: Path) -> None:
    config = load_config_file(write(tmp_path, "[train]\ngamma = 0.9\n[env]\nframeskip = 4\n" + SWEPT))
    assert config.train.gamma == 0.9
    assert config.train.gae_lambda == 0.90
    assert config.env == {"frameskip": 4}
    assert list(config.sweep.parameters) == ["train.gamma"]
    assert config.get("train.gamma") == 0.9
    assert config.get("env.frameskip") == 4
    assert config.get("sweep.train.gamma.max") == 0.9999


def test_origins(tmp_path: Path) -> None:
    path = write(tmp_path, "[train]\n\ngamma = 0.9\n")
    config = load_config_file(path, overrides=parse_overrides(["--train.ent-coef", "0.5"]))
    gamma = config.origin("train.gamma")
    assert (gamma.kind, gamma.place.file, gamma.place.line) == (FILE, str(path), 3)
    assert str(gamma) == f"{path}:3"
    assert config.origin("train.ent_coef").kind == COMMAND_LINE
    assert config.origin("train.vf_coef").kind == DEFAULT
    assert str(config.override({"train.vf_coef": 1.0}).origin("train.vf_coef")) == "code"
    assert str(config.override({"train.vf_coef": 1.0}, origin="sweep").origin("train.vf_coef")) == "sweep"


def test_without_the_default_the_schema_fills_in(tmp_path: Path) -> None:
    path = write(tmp_path, "[train]\ngamma = 0.9\n")
    assert load_config_file(path, fill_in_default=False) == load_config_file(path)


def test_another_default_file_takes_the_place_of_ours(tmp_path: Path) -> None:
    default = write(tmp_path, "[train]\ngamma = 0.9\n" + SWEPT, "theirs.ini")
    own = write(tmp_path, "[sweep.train.gamma]\nmean = 0.99\n")
    config = load_config_file(own, default_files=[default])
    assert config.sweep.parameters["train.gamma"].mean == 0.99
    assert config.origin("train.gamma").kind == DEFAULT
    with pytest.raises(ConfigError, match=r"train\.gamma has no distribution"):
        load_config_file(own)


def test_keys_are_case_insensitive_and_values_are_not(tmp_path: Path) -> None:
    config = load_config_file(write(tmp_path, "[train]\nGamma = 0.9\n[base]\nPOLICY_NAME = MyPolicy\n"))
    assert config.train.gamma == 0.9
    assert config.base.policy_name == "MyPolicy"


# --- several environments in one file ------------------------------------------------------------------

SEVERAL = (
    "[base]\npackage = gymnasium\nenv_name = CartPole-v1 Pendulum-v1\n"
    "[train]\ngamma = 0.98\nent_coef = 0.0\n[Pendulum-v1:train]\ngamma = 0.9\n"
    "[Pendulum-v1:sweep.train.clip_coef]\ndistribution = uniform\nmin = 0.1\nmax = 0.3\n"
)


def test_sections_for_one_of_several_environments(tmp_path: Path) -> None:
    path = write(tmp_path, SEVERAL)
    first, second = load_config_file(path), load_config_file(path, env_name="pendulum-v1")
    assert (first.base.env_name, first.train.gamma, dict(first.sweep.parameters)) == ("CartPole-v1", 0.98, {})
    assert (second.base.env_name, second.train.gamma) == ("Pendulum-v1", 0.9)
    assert second.train.ent_coef == 0.0
    assert list(second.sweep.parameters) == ["train.clip_coef"]


def test_the_environment_is_picked_on_the_command_line(tmp_path: Path) -> None:
    path = write(tmp_path, SEVERAL)
    picked = load_config_file(path, overrides=parse_overrides(["--env-name", "Pendulum-v1"]))
    assert picked.train.gamma == 0.9
    pinned = load_config_file(
        path, overrides=parse_overrides(["--env_name=Pendulum-v1", "--train.gamma", "0.5"])
    )
    assert pinned.train.gamma == 0.5


def test_an_environment_that_the_file_does_not_list_is_said_aloud(tmp_path: Path) -> None:
    config = load_config_file(write(tmp_path, SEVERAL), env_name="CartPole-v2")
    assert config.base.env_name == "CartPole-v2"
    assert any("did you mean CartPole-v1" in note for note in config.notes)


def test_a_section_for_an_environment_that_is_not_listed(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean \[Pendulum-v1:train\]"):
        load_config_file(write(tmp_path, SEVERAL + "[Pendulum-v2:train]\ngamma = 0.5\n"))


# --- looking up by name ------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "config"


def test_a_file_for_one_beats_a_file_for_many(folder: Path) -> None:
    write(folder, "[base]\npackage = ours\nenv_name = alpha beta\n", "many.ini")
    write(folder, "[base]\npackage = ours\nenv_name = alpha\n", "alone/alpha.ini")
    assert find_config("alpha") == (Path("config/alone/alpha.ini"), "alpha")
    assert find_config("Beta") == (Path("config/many.ini"), "beta")
    assert load_config("beta").base.env_name == "beta"


def test_the_package_decides(folder: Path) -> None:
    write(folder, "[base]\npackage = one\nenv_name = alpha\n", "one.ini")
    write(folder, "[base]\npackage = two\nenv_name = alpha\n", "two.ini")
    assert find_config("two/alpha")[0] == Path("config/two.ini")
    with pytest.raises(ConfigError, match=r"one\.ini, .*two\.ini.*one/alpha or two/alpha"):
        load_config("alpha")


def test_names_with_a_slash_of_their_own(folder: Path) -> None:
    write(folder, "[base]\npackage = gymnasium\nenv_name = ALE/Pong-v5\n", "pong.ini")
    assert find_config("ALE/Pong-v5")[1] == "ALE/Pong-v5"
    assert find_config("gymnasium/ALE/Pong-v5")[1] == "ALE/Pong-v5"


def test_shipped_files_are_found_from_anywhere(folder: Path) -> None:
    assert load_config("atari/breakout").base.package == "atari"
    assert load_config("atari/pong").base.env_name == "pong"
    assert load_config("gymnasium/CartPole-v1").base.policy_name == "Policy"


def test_a_broken_neighbour_does_not_keep_others_from_being_found(folder: Path) -> None:
    write(folder, "no section at all\n", "broken.ini")
    write(folder, "[base]\nenv_name = alpha\n", "good.ini")
    assert load_config("alpha").base.env_name == "alpha"


def test_a_misspelt_name_gets_the_nearest(folder: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean breakout"):
        load_config("brekout")


def test_a_path_always_wins(folder: Path) -> None:
    path = write(folder.parent, "[train]\ngamma = 0.5\n", "breakout.ini")
    assert load_config(str(path)).train.gamma == 0.5


# --- the command line ------------------------------------------------------------------------------


def test_overrides_of_every_kind() -> None:
    given = parse_overrides(
        [
            *("--train.learning-rate", "1e-3", "--train.ent_coef=2e-4", "--train.compile", "False"),
            *("--env.size", "[84, 84]", "--env.shift", "-1e-3", "--rnn-name", "None"),
            *("--sweep.train.gamma.max", "0.999", "--policy-name", "my_module:MyPolicy"),
        ]
    )
    assert {override.name: override.value for override in given} == {
        "train.learning_rate": 1e-3,
        "train.ent_coef": 2e-4,
        "train.compile": False,
        "env.size": [84, 84],
        "env.shift": -1e-3,
        "base.rnn_name": None,
        "sweep.train.gamma.max": 0.999,
        "base.policy_name": "my_module:MyPolicy",
    }


def test_the_last_of_two_counts() -> None:
    assert [o.value for o in parse_overrides(["--train.gamma", "0.1", "--train.gamma", "0.2"])] == [0.2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--train.gama", "1"], "Did you mean gamma"),
        (["--gamma", "1"], r"Did you mean train\.gamma"),
        (["--trian.gamma", "1"], "Did you mean train"),
        (["--train.gamma"], "has no value"),
        (["--train.gamma", "--train.ent-coef", "1"], "has no value"),
        (["0.9"], "is no option"),
        (["--sweep.train.gamma.maxi", "1"], "Did you mean max"),
        (["--sweep.train.gama.max", "1"], "Did you mean gamma"),
        (["--sweep.base.package.max", "1"], "Settings of train, env, policy, rnn, vec can"),
    ],
)
def test_wrong_options(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_overrides(arguments)


def test_a_value_on_the_command_line_pins_its_key(tmp_path: Path) -> None:
    config = load_config_file(write(tmp_path, SWEPT), overrides=parse_overrides(["--train.gamma", "0.9"]))
    assert dict(config.sweep.parameters) == {}
    assert any("train.gamma" in note and "not swept" in note for note in config.notes)


def test_nested_sections_are_reached(tmp_path: Path) -> None:
    config = load_config_file(
        write(tmp_path, SWEPT), overrides=parse_overrides(["--sweep.train.gamma.max", "0.999"])
    )
    assert config.sweep.parameters["train.gamma"].max == 0.999


def test_a_bad_value_on_the_command_line_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"command line, \[train\] gamma.*'2'.*<= 1"):
        load_config_file(write(tmp_path, ""), overrides=parse_overrides(["--train.gamma", "2"]))


# --- in code --------------------------------------------------------------------------------------------


def test_override_returns_a_new_config_and_mutates_nothing() -> None:
    config = Config()
    values = {"train.gamma": 0.5, "env.sizes": [1, 2]}
    changed = config.override(values)
    values["env.sizes"].append(3)
    assert (changed.train.gamma, changed.env["sizes"]) == (0.5, [1, 2])
    assert config == Config()
    with pytest.raises((TypeError, ValueError)):
        config.train.gamma = 0.1  # type: ignore[misc]
    with pytest.raises(TypeError):
        changed.env["x"] = 1  # type: ignore[index]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train.gamma": 2}, "<= 1"),
        ({"train.gama": 0.5}, "Did you mean gamma"),
        ({"train.gamma": float("nan")}, "NaN"),
        ({"train.gamma": True}, "a number"),
        ({"train.num_threads": 1.5}, "a whole number"),
        ({"train.compile": "yes"}, "True or False"),
        ({"env.x": object()}, "object is not a number"),
        ({"env.not a name": 1}, "cannot be a keyword argument"),
        ({"train.learning_rate": float("inf")}, "> 0"),
    ],
)
def test_override_validates(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config().override(values)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Config().override({"train.gamma": 2, "train.vf_ceof": 1, "vec.backend": "Serail"})
    told = str(caught.value)
    assert "vf_coef" in told
    assert "Serial" in told
    assert "gamma" in told


def test_whole_floats_are_whole_numbers() -> None:
    steps = Config().override({"train.total_timesteps": 2e5}).train.total_timesteps
    assert (steps, type(steps)) == (200_000, int)


def test_sweep_only_by_full_name_and_last_part(tmp_path: Path) -> None:
    two = SWEPT + "[sweep.env.gamma_ray]\ndistribution = uniform\nmin = 0\nmax = 1\n"
    path = write(tmp_path, "[sweep]\nsweep_only = gamma\n" + two)
    config = load_config_file(path)
    assert list(config.sweep.parameters) == ["train.gamma"]
    assert list(config.sweep.unswept) == ["env.gamma_ray"]
    assert list(config.override({"sweep.sweep_only": ["env.gamma_ray"]}).sweep.parameters) == [
        "env.gamma_ray"
    ]
    assert len(config.override({"sweep.sweep_only": None}).sweep.parameters) == 2
    with pytest.raises(UnknownNameError, match="Did you mean gamma"):
        config.override({"sweep.sweep_only": "gama"})


def test_dumping_and_loading_is_the_identity(tmp_path: Path) -> None:
    for name in ("breakout", "Pendulum-v1"):
        config = load_config(name)
        path = write(tmp_path, dump_config(config))
        assert load_config_file(path) == config
        assert load_config_file(path, fill_in_default=False) == config


def _gamma_and_origin(config: Config) -> tuple[float, str, bool]:
    return (
        config.train.gamma,
        str(config.origin("train.gamma")),
        config == load_config("atari/breakout").override({"train.gamma": 0.5}),
    )


def test_a_config_pickles_and_crosses_a_spawn() -> None:
    config = load_config("atari/breakout").override({"train.gamma": 0.5})
    again = pickle.loads(pickle.dumps(config))
    assert again == config
    assert again.origin("train.gamma") == config.origin("train.gamma")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pickle.loads(pool.apply(pickle.dumps, (config,))) == config
    assert _gamma_and_origin(again) == (0.5, "code", True)


def test_unknown_names_are_refused_by_get() -> None:
    with pytest.raises(UnknownNameError, match="gamma"):
        Config().get("train.gama")
    with pytest.raises(UnknownNameError, match="is not set"):
        Config().get("env.frameskip")
