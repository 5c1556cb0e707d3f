"""Transforms of a parameter: check values, round trips, bounds."""

from __future__ import annotations

import math

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.parameter import (
    Parameter,
    from_one_hot,
    last_step,
    one_hot,
    power_bounds,
    unit_scale,
    whole_bounds,
)
from trainer.errors import ConfigError


def make(kind, low, high, *, integer=False, choices=()):
    return Parameter("train.x", kind, float(low), float(high), integer, tuple(choices), low)


@st.composite
def numeric_parameters(draw):
    kind = draw(st.sampled_from(["uniform", "int_uniform", "uniform_pow2", "log_normal", "logit_normal"]))
    if kind == "uniform_pow2":
        low = draw(st.integers(0, 20))
        return make(kind, 2**low, 2 ** draw(st.integers(low + 1, 33)), integer=True)
    if kind == "logit_normal":
        low = draw(st.floats(-5, 0.98))
        return make(kind, low, draw(st.floats(low + 1e-3 * (1 - low), 1 - 1e-9)))
    if kind == "log_normal":
        low = draw(st.floats(1e-12, 1e6))
        whole = draw(st.booleans())
        low = float(math.ceil(low)) if whole else low
        high = low * draw(st.floats(1.01, 1e8))
        return make(kind, low, float(math.ceil(high) + 1) if whole else high, integer=whole)
    low = draw(st.floats(-1e6, 1e6))
    whole = kind == "int_uniform" or draw(st.booleans())
    low = float(math.floor(low)) if whole else low
    high = low + draw(st.floats(1e-3, 1e6))
    if draw(st.booleans()):
        return stepped(kind, round(low, 3), draw(st.integers(1, 500)), draw(st.integers(1, 40)), whole=whole)
    return make(kind, low, float(math.ceil(high)) if whole else high, integer=whole)


def stepped(kind, low, thousandths, count, *, whole):
    step = float(thousandths) if whole else thousandths / 1000
    low = float(math.floor(low)) if whole else low
    return Parameter(
        "train.x", kind, low, last_step(low, low + count * step, step), whole, (), low, step=step
    )


def test_the_check_values_of_log_normal():
    steps = make("log_normal", 3e7, 1e10)
    assert steps.normalised(2e8) == pytest.approx(-0.346850, abs=5e-7)
    assert unit_scale("time", 3e7, 1e10) == pytest.approx(0.119320, abs=5e-7)
    assert make("log_normal", 3e7, 1e11).from_unit(0.5) == pytest.approx(1.73205e9, rel=1e-5)


def test_the_check_values_of_logit_normal():
    gamma = make("logit_normal", 0.8, 0.9999)
    assert gamma.normalised(0.98) == pytest.approx(-0.394128, abs=5e-7)
    assert gamma.from_unit(0.5) == pytest.approx(0.995528, abs=5e-7)


@given(numeric_parameters(), st.floats(0, 1))
def test_values_stay_inside_their_bounds_and_come_back(parameter, z):
    value = parameter.from_unit(z)
    assert parameter.low <= value <= parameter.high
    assert parameter.contains(value)
    assert isinstance(value, int) == parameter.integer
    again = parameter.from_unit(parameter.to_unit(value))
    assert again == (
        value
        if parameter.integer
        else pytest.approx(value, rel=1e-6, abs=1e-6 * (parameter.high - parameter.low))
    )


@given(numeric_parameters(), st.floats(0, 1), st.floats(0, 1))
def test_the_order_of_the_unit_interval_is_kept(parameter, a, b):
    low, high = sorted((a, b))
    assert parameter.from_unit(low) <= parameter.from_unit(high)


@given(numeric_parameters(), st.floats(0, 1))
def test_optuna_accepts_every_value_and_every_search_coordinate(parameter, z):
    value = parameter.from_unit(z)
    distribution = parameter.distribution()
    assert distribution._contains(distribution.to_internal_repr(value))
    search = parameter.search_distribution()
    coordinate = parameter.to_search(value)
    assert search._contains(search.to_internal_repr(coordinate))
    back = parameter.from_search(coordinate)
    assert back == (
        value
        if parameter.integer
        else pytest.approx(value, rel=1e-6, abs=1e-6 * (parameter.high - parameter.low))
    )


@given(numeric_parameters(), st.floats(0, 1))
def test_snapping_is_idempotent(parameter, z):
    once = parameter.snap(np.array([z]))
    assert parameter.snap(once) == pytest.approx(once, abs=1e-9)


@pytest.mark.parametrize("value", [-math.inf, -1e30, 1e30, math.inf])
def test_values_outside_go_to_the_nearer_end(value):
    assert make("uniform", -1, 2).to_unit(value) == (0.0 if value < 0 else 1.0)


def test_nan_has_no_value():
    with pytest.raises(ValueError, match="NaN"):
        make("uniform", 0, 1).from_unit(math.nan)


def test_powers_of_two_never_leave_the_bounds():
    low, high = power_bounds("train.x", 100, 1000, None)
    parameter = make("uniform_pow2", low, high, integer=True)
    assert parameter.all_values() == (128, 256, 512)
    assert {parameter.from_unit(z) for z in np.linspace(0, 1, 50)} == {128, 256, 512}
    assert isinstance(parameter.distribution(), optuna.distributions.IntDistribution)


def test_bounds_without_a_value_between_them_are_refused():
    with pytest.raises(ConfigError, match="no power of two"):
        power_bounds("train.x", 33, 63, None)
    with pytest.raises(ConfigError, match="at least 1"):
        power_bounds("train.x", 0.25, 8, None)
    with pytest.raises(ConfigError, match="none between"):
        whole_bounds("train.x", 1.2, 1.8, None)


def test_choices_tell_true_from_one():
    parameter = make("categorical", 0, 2, choices=(True, 1, "adam"))
    assert parameter.to_search(1) == 1
    assert parameter.from_search(parameter.to_search(True)) is True
    assert [from_one_hot(parameter, one_hot(parameter, c)) for c in parameter.choices] == [True, 1, "adam"]
    with pytest.raises(ConfigError, match="cannot take"):
        parameter.to_unit("muon")
    assert not parameter.contains("muon")


def test_a_word_is_no_number():
    with pytest.raises(ConfigError, match="needs a number"):
        make("uniform", 0, 1).to_unit("auto")
