"""The search space of a config: centre, first points, clipping, encoding, what may not change."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.errors import SearchError
from sweeper.space import SearchSpace
from trainer.config import Config

SECTIONS = {
    "train.learning_rate": {"distribution": "log_normal", "min": 1e-5, "max": 0.1, "mean": 0.01},
    "train.gamma": {"distribution": "logit_normal", "min": 0.8, "max": 0.9999, "mean": 0.98},
    "train.update_epochs": {"distribution": "int_uniform", "min": 1, "max": 8},
    "train.minibatch_size": {"distribution": "uniform_pow2", "min": 1024, "max": 65536},
    "train.optimizer": {"distribution": "categorical", "values": ["adam", "muon", "rms"][:2]},
    "train.total_timesteps": {"distribution": "log_normal", "min": 3e7, "max": 1e10, "scale": "time"},
}


def make_config(sections=SECTIONS, **values):
    named = {f"sweep.{name}.{key}": value for name, keys in sections.items() for key, value in keys.items()}
    return Config().override({**named, **{key.replace("__", "."): value for key, value in values.items()}})


@pytest.fixture(scope="module")
def space():
    return SearchSpace.from_config(make_config())


def test_trial_0_is_the_config_as_written_and_trial_1_the_means(space):
    first, second = space.first_points()
    assert first.source == "config"
    assert first.values["train.learning_rate"] == 0.015
    assert second.source == "means"
    assert second.values["train.learning_rate"] == 0.01
    assert second.values["train.gamma"] == 0.98
    assert second.values["train.update_epochs"] == first.values["train.update_epochs"]


def test_without_means_the_config_is_the_only_first_point():
    space = SearchSpace.from_config(
        make_config({"train.ent_coef": {"distribution": "uniform", "min": 0, "max": 1}})
    )
    assert [point.source for point in space.first_points()] == ["config"]


def test_whole_numbers_follow_the_key(space):
    assert space["train.total_timesteps"].integer
    assert isinstance(space["train.total_timesteps"].from_unit(0.3), int)
    assert not space["train.learning_rate"].integer
    assert space["train.total_timesteps"].scale == pytest.approx(0.11932, abs=1e-5)


def test_a_config_outside_its_own_space_is_clipped_and_said():
    space = SearchSpace.from_config(make_config(train__learning_rate=0.5))
    assert space.written["train.learning_rate"] == 0.1
    assert any("learning_rate" in note and "outside" in note for note in space.notes)


def test_an_auto_value_leaves_the_middle_as_the_centre():
    sections = {"train.batch_size": {"distribution": "uniform_pow2", "min": 1024, "max": 16384}}
    space = SearchSpace.from_config(make_config(sections))
    assert space.written["train.batch_size"] == 4096
    assert any("no number" in note for note in space.notes)


def test_a_value_on_the_command_line_leaves_the_space():
    space = SearchSpace.from_config(make_config().override({"train.gamma": 0.9}, origin="command line"))
    assert "train.gamma" not in space.names
    assert "train.learning_rate" in space.names


def test_sweep_only_names_what_is_searched():
    space = SearchSpace.from_config(make_config(sweep__sweep_only=("gamma", "train.update_epochs")))
    assert space.names == ("train.gamma", "train.update_epochs")


def test_nothing_to_search_is_an_error():
    with pytest.raises(SearchError, match="nothing to search"):
        SearchSpace.from_config(Config())


@given(st.lists(st.floats(0, 1), min_size=7, max_size=7))
def test_decoding_gives_points_of_the_space_that_encode_back(space, point):
    values = space.decode(point)
    assert space.contains(values)
    again = space.decode(space.encode(values))
    assert again == pytest.approx(values) or {k: v for k, v in again.items() if isinstance(v, str)}
    assert np.allclose(space.snap(np.array([point])), space.encode(values), atol=1e-6)


def test_clipping_keeps_what_fits_and_says_what_does_not(space):
    clipped = space.clip({**space.centre(), "train.gamma": 1.5, "env.other": 3})
    assert space.contains(clipped.values)
    assert clipped.values["train.gamma"] == pytest.approx(0.9999)
    assert any("outside" in note for note in clipped.notes)
    assert any("env.other" in note for note in clipped.notes)
    del (missing := dict(space.centre()))["train.gamma"]
    assert space.clip(missing).values["train.gamma"] == space.written["train.gamma"]


def test_overrides_with_a_point_of_the_space_are_valid(space):
    config = make_config()
    for z in (0.0, 0.3, 1.0):
        values = {p.name: p.from_unit(z) for p in space.parameters}
        assert config.override(values).get("train.gamma") == values["train.gamma"]


def test_differences_name_what_changed(space):
    before = json.loads(json.dumps(space.description()))
    assert space.differences(before) == ()
    wider = {**SECTIONS, "train.gamma": {**SECTIONS["train.gamma"], "max": 0.999}}
    del wider["train.update_epochs"]
    lines = SearchSpace.from_config(make_config(wider)).differences(before)
    assert any("train.gamma" in line and "0.999" in line for line in lines)
    assert any("train.update_epochs" in line for line in lines)


def test_moving_the_mean_does_not_change_the_space(space):
    moved = {**SECTIONS, "train.gamma": {**SECTIONS["train.gamma"], "mean": 0.9}}
    assert SearchSpace.from_config(make_config(moved)).differences(space.description()) == ()


def test_a_step_leaves_only_its_multiples():
    sections = {"train.gae_lambda": {"distribution": "uniform", "min": 0.6, "max": 0.97, "step": 0.1}}
    space = SearchSpace.from_config(make_config(sections, train__gae_lambda=0.9))
    (parameter,) = space.parameters
    assert parameter.high == 0.9
    assert parameter.all_values() == (0.6, 0.7, 0.8, 0.9)
    assert parameter.from_unit(0.4) == 0.7
    assert space.written == {"train.gae_lambda": 0.9}
    assert not parameter.contains(0.75)
    assert space.description()["train.gae_lambda"]["step"] == 0.1


def test_a_config_between_two_steps_is_moved_and_said():
    sections = {"train.gae_lambda": {"distribution": "uniform", "min": 0.6, "max": 0.9, "step": 0.1}}
    space = SearchSpace.from_config(make_config(sections, train__gae_lambda=0.78))
    assert space.written == {"train.gae_lambda": 0.8}
    assert any("between the steps" in note for note in space.notes)


def test_a_study_without_a_step_cannot_go_on_with_one(space):
    stepped = {**SECTIONS, "train.update_epochs": {**SECTIONS["train.update_epochs"], "step": 7}}
    assert space.differences(SearchSpace.from_config(make_config(stepped)).description())
