"""Rules of `[sweep.SECTION.KEY]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trainer.config import Config, ParameterSpec, load_config_file
from trainer.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def load(folder: Path, text: str) -> Config:
    path = folder / "own.ini"
    path.write_text(text)
    return load_config_file(path)


def section(name: str = "train.gamma", **keys: object) -> str:
    return f"[sweep.{name}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())


def spec(folder: Path, name: str = "train.gamma", **keys: object) -> ParameterSpec:
    return load(folder, section(name, **keys)).sweep.parameters[name]


def test_a_complete_parameter(tmp_path: Path) -> None:
    found = spec(tmp_path, distribution="logit_normal", min=0.8, max=0.9999, mean=0.98, scale="auto")
    assert (found.distribution, found.min, found.max, found.mean, found.scale) == (
        "logit_normal",
        0.8,
        0.9999,
        0.98,
        "auto",
    )
    assert found.place is not None
    assert found.place.line == 1 or found.place.line == 2
    assert (found.section, found.key, found.whole) == ("train", "gamma", False)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"distribution": "uniform", "min": 0.9, "max": 0.8}, r"min \(0.9\) is not below max \(0.8\)"),
        ({"distribution": "uniform", "min": 0.5, "max": 0.5}, "is not below"),
        ({"distribution": "uniform", "min": 0.5}, "max is missing"),
        ({"distribution": "uniform", "max": 0.5}, "min is missing"),
        ({"mean": 0.5}, "has no distribution"),
        ({"distribution": "logit_normal", "min": 0.8, "max": 1}, "bounds below 1"),
        ({"distribution": "logit_normal", "min": 1.5, "max": 2}, "bounds below 1"),
        ({"distribution": "log_normal", "min": 0, "max": 1}, "bounds above 0"),
        ({"distribution": "log_normal", "min": -0.01, "max": -0.001}, "bounds above 0"),
        ({"distribution": "unifrom", "min": 0, "max": 1}, "Did you mean uniform"),
        ({"distribution": "gaussian", "min": 0, "max": 1}, "does not take this value"),
        ({"distribution": "uniform", "min": 0, "max": 1, "mean": "half"}, "mean"),
        ({"distribution": "uniform", "min": 0, "max": 1, "step": 0}, "step"),
        ({"distribution": "uniform", "min": 0, "max": 1, "step": 2}, "at most max - min"),
        ({"distribution": "uniform", "min": 0, "max": 1, "step": "wide"}, "step"),
        ({"distribution": "log_normal", "min": 0.1, "max": 1, "step": 0.1}, "belongs to uniform"),
        ({"values": "[0.9, 0.99]", "step": 0.1}, "has no step"),
        ({"distribution": "uniform", "min": "low", "max": 1}, "min of train.gamma"),
        ({"distribution": "uniform", "min": 0, "max": "1e400"}, "max of train.gamma"),
        ({"distribution": "uniform", "min": "nan", "max": 1}, "min of train.gamma"),
        ({"distribution": "uniform", "min": "True", "max": 2}, "min of train.gamma"),
        ({"distribution": "uniform", "min": 0, "max": 1, "scale": "time"}, "belongs to log_normal"),
        ({"distribution": "uniform", "min": 0, "max": 1, "scale": "wide"}, "scale of train.gamma"),
        ({"distribution": "uniform", "min": 0, "max": 1, "scale": 0}, "scale must be above 0"),
        ({"distribution": "uniform", "min": 0, "max": 1, "scale": -1}, "scale must be above 0"),
        ({"distribution": "uniform", "min": 0, "max": 1, "values": "[0.1]"}, "not values"),
        ({"distribution": "uniform", "min": 0, "max": 1.5}, r"does not take this value.*1\.5.*<= 1"),
        ({"distribution": "uniform", "min": 0, "max": 1, "stride": 0.1}, "has no key 'stride'"),
        ({"distribution": "uniform", "min": 0, "max": 1, "maen": 0.1}, "Did you mean mean"),
        ({"distribution": "categorical"}, "needs its choices"),
        ({"distribution": "categorical", "values": "[]"}, "needs its choices"),
        ({"distribution": "categorical", "values": "[0.9, 0.9]"}, "stands twice"),
        ({"distribution": "categorical", "values": "[0.9, 1.9]"}, r"1\.9"),
        ({"distribution": "categorical", "values": "[0.9, [1]]"}, "values of train.gamma"),
        ({"distribution": "categorical", "values": "[0.9, 0.95]", "min": 0}, "has no min"),
        ({"distribution": "categorical", "values": "[0.9, 0.95]", "mean": 0.5}, "one of its values"),
        ({"distribution": "categorical", "values": "[0.9, 0.95]", "scale": 0.5}, "has no scale"),
    ],
)
def test_rules(tmp_path: Path, keys: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path, section(**keys))
    assert str(tmp_path / "own.ini") in str(caught.value)
    assert "line" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        ("train.gama", {"distribution": "uniform", "min": 0, "max": 1}, "Did you mean gamma"),
        ("trian.gamma", {"distribution": "uniform", "min": 0, "max": 1}, "Did you mean sweep.train"),
        ("base.package", {"values": "[a, b]"}, "cannot be swept"),
        ("sweep.seed", {"values": "[1, 2]"}, "cannot be swept"),
        ("train.optimizer", {"distribution": "uniform", "min": 0, "max": 1}, "is no number"),
        ("train.compile", {"distribution": "int_uniform", "min": 0, "max": 1}, "is no number"),
        ("train.update_epochs", {"distribution": "int_uniform", "min": 0.5, "max": 4}, "whole bounds"),
        ("train.update_epochs", {"distribution": "int_uniform", "min": 0, "max": 4}, "does not take this"),
        ("train.update_epochs", {"distribution": "uniform", "min": 1.2, "max": 1.9}, "fewer than two whole"),
        ("train.batch_size", {"distribution": "uniform_pow2", "min": 0.5, "max": 8}, "min of at least 1"),
        ("train.batch_size", {"distribution": "uniform_pow2", "min": 5, "max": 9}, "fewer than two powers"),
        ("train.gamma", {"distribution": "uniform", "min": -1, "max": 0.5}, "-1"),
    ],
)
def test_rules_of_the_setting(tmp_path: Path, name: str, keys: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, section(name, **keys))


def test_bounds_of_uniform_pow2_need_not_be_powers(tmp_path: Path) -> None:
    assert spec(tmp_path, "train.batch_size", distribution="uniform_pow2", min=1000, max=5000).min == 1000


def test_a_mean_an_ulp_outside_is_clipped_without_a_word(tmp_path: Path) -> None:
    config = load(tmp_path, section(distribution="logit_normal", min=0.6, max=0.995, mean=0.5999999999999999))
    assert config.sweep.parameters["train.gamma"].mean == 0.6
    assert config.notes == ()


def test_a_mean_further_out_is_clipped_and_said(tmp_path: Path) -> None:
    config = load(tmp_path, section(distribution="logit_normal", min=0.6, max=0.995, mean=0.999))
    assert config.sweep.parameters["train.gamma"].mean == 0.995
    assert len(config.notes) == 1
    assert "line 5" in config.notes[0]
    assert "0.999" in config.notes[0]


def test_values_alone_are_categorical(tmp_path: Path) -> None:
    found = spec(tmp_path, "train.optimizer", values="[adam, muon]")
    assert (found.distribution, found.values) == ("categorical", ("adam", "muon"))


def test_choices_as_literals_and_as_words(tmp_path: Path) -> None:
    assert spec(tmp_path, "train.bptt_horizon", values="[1, 2, 4]").values == (1, 2, 4)
    assert spec(tmp_path, "train.optimizer", values="adam, muon").values == ("adam", "muon")
    assert spec(tmp_path, "train.compile", values="True, False").values == (True, False)
    assert spec(tmp_path, "policy.activation", values="['relu', 'tanh']").values == ("relu", "tanh")


def test_whole_where_the_settings_type_is(tmp_path: Path) -> None:
    steps = {"distribution": "log_normal", "min": 3e7, "max": 1e10, "mean": 2e8, "scale": "time"}
    assert spec(tmp_path, "train.total_timesteps", **steps).whole
    frames = section("env.frameskip", distribution="uniform", min=1, max=10)
    assert not load(tmp_path, frames).sweep.parameters["env.frameskip"].whole
    assert load(tmp_path, "[env]\nframeskip = 4\n" + frames).sweep.parameters["env.frameskip"].whole
    assert not load(tmp_path, "[env]\nframeskip = 4.0\n" + frames).sweep.parameters["env.frameskip"].whole
    reward = section("env.reward", distribution="uniform", min=-1, max=0)
    assert not load(tmp_path, "[env]\nreward = -1\n" + reward).sweep.parameters["env.reward"].whole
    reward = section("env.reward", distribution="uniform", min=0.25, max=0.5)
    assert not load(tmp_path, "[env]\nreward = 0\n" + reward).sweep.parameters["env.reward"].whole
    assert not load(tmp_path, "[env]\nframeskip = True\n" + frames).sweep.parameters["env.frameskip"].whole


def test_thousands_in_bounds(tmp_path: Path) -> None:
    config = load(
        tmp_path, section("train.total_timesteps", distribution="uniform", min="1,048,576", max=1e9)
    )
    assert config.sweep.parameters["train.total_timesteps"].min == 1048576
    assert any("1048576" in note for note in config.notes)


def test_specs_compare_by_value_and_not_by_place(tmp_path: Path) -> None:
    text = section(distribution="uniform", min=0, max=1)
    first = load(tmp_path, text).sweep.parameters["train.gamma"]
    second = load(tmp_path, "\n\n" + text).sweep.parameters["train.gamma"]
    assert first == second
    assert hash(first) == hash(second)
    assert first.place != second.place
    assert first != spec(tmp_path, distribution="uniform", min=0.0, max=1)


def test_an_empty_section_sweeps_nothing_and_says_so(tmp_path: Path) -> None:
    config = load(tmp_path, "[sweep.train.gamma]\n#distribution = uniform\n")
    assert not config.sweep.parameters
    assert "sweeps nothing" in config.notes[0]


def test_a_defaults_scale_of_time_does_not_survive_another_distribution(tmp_path: Path) -> None:
    default = tmp_path / "default.ini"
    default.write_text(
        section("train.total_timesteps", distribution="log_normal", min=1e6, max=1e9, scale="time")
    )
    own = tmp_path / "own.ini"
    own.write_text(section("train.total_timesteps", distribution="uniform"))
    config = load_config_file(own, default_files=[default])
    assert config.sweep.parameters["train.total_timesteps"].scale == "auto"
    assert "scale = time does not fit" in config.notes[0]


def test_a_step_of_whole_numbers_is_whole(tmp_path: Path) -> None:
    assert spec(tmp_path, "train.update_epochs", distribution="int_uniform", min=1, max=9, step=2).step == 2
    with pytest.raises(ConfigError, match="whole"):
        spec(tmp_path, "train.update_epochs", distribution="int_uniform", min=1, max=9, step=1.5)
