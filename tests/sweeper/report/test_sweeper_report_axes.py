import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.parameter import Parameter
from sweeper.report.axes import axis_of, spread_ticks

BOUNDS = {
    "uniform": (-3.0, 12.5, False),
    "int_uniform": (1, 8, True),
    "uniform_pow2": (16, 32768, True),
    "log_normal": (1e-6, 0.3, False),
    "logit_normal": (0.8, 0.9999, False),
}


def parameter(name: str) -> Parameter:
    if name == "categorical":
        return Parameter("train.optimizer", name, 0, 1, False, ("adam", "muon"), "adam")
    low, high, whole = BOUNDS[name]
    return Parameter("train.x", name, low, high, whole, (), low)


@pytest.mark.parametrize("name", BOUNDS)
@given(z=st.floats(0, 1))
def test_positions_follow_the_search_space(name: str, z: float) -> None:
    axis, known = axis_of(parameter(name)), parameter(name)
    value = known.from_unit(z)
    assert axis.unit(value) == pytest.approx(known.to_unit(value), abs=1e-9)
    assert axis.value_at(axis.position(value)) == pytest.approx(value, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", [*BOUNDS, "categorical"])
def test_ticks_are_few_in_order_and_inside(name: str) -> None:
    axis = axis_of(parameter(name))
    positions, labels = axis.ticks()
    assert 2 <= len(positions) <= 5
    assert len(labels) == len(set(labels)) == len(positions)
    assert positions == sorted(positions)
    assert all(axis.low - 1e-6 <= position <= axis.high + 1e-6 for position in positions)


@given(
    low=st.floats(1e-8, 1e6),
    factor=st.floats(1.0001, 1e8),
    name=st.sampled_from(["uniform", "log_normal"]),
)
def test_every_range_has_ticks(low: float, factor: float, name: str) -> None:
    axis = axis_of(Parameter("train.x", name, low, low * factor, False, (), low))
    positions, labels = axis.ticks()
    assert len(positions) == len(labels) >= 2
    assert all(math.isfinite(position) for position in positions)


def test_powers_of_two_are_labelled_as_such() -> None:
    _, labels = axis_of(Parameter("train.minibatch_size", "uniform_pow2", 256, 8192, True, (), 256)).ticks()
    assert {int(label.replace(",", "")).bit_count() for label in labels} == {1}


def test_discounts_are_labelled_by_their_nines() -> None:
    _, labels = axis_of(parameter("logit_normal")).ticks()
    assert labels == ["0.9", "0.99", "0.999", "0.9999"]


def test_a_value_that_is_no_longer_a_choice_has_a_place_of_its_own() -> None:
    axis = axis_of(parameter("categorical"), ["adam", "sgd"])
    assert axis.choices == ("adam", "muon", "sgd")


def test_spread_ticks_are_shares() -> None:
    for positions, _ in spread_ticks([axis_of(parameter(name)) for name in BOUNDS]):
        assert all(-1e-6 <= position <= 1 + 1e-6 for position in positions)
