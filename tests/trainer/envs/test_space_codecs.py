"""Nested spaces in flat numbers and back."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.envs.shard import numpy_dtype, torch_dtype
from trainer.envs.spaces import ActionCodec, ObservationCodec

leaves = st.one_of(
    st.builds(
        lambda shape, low: spaces.Box(low, low + 5, tuple(shape), np.float32),
        st.lists(st.integers(1, 3), max_size=2),
        st.integers(-3, 3),
    ),
    st.builds(lambda n, start: spaces.Discrete(n, start=start), st.integers(1, 5), st.integers(-2, 2)),
    st.builds(lambda sizes: spaces.MultiDiscrete(sizes), st.lists(st.integers(1, 4), min_size=1, max_size=3)),
    st.builds(lambda n: spaces.MultiBinary(n), st.integers(1, 4)),
)
nested = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from("abcd"), inner, min_size=1, max_size=3).map(spaces.Dict),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: spaces.Tuple(tuple(parts))),
    ),
    max_leaves=6,
)
discrete_leaves = st.one_of(
    st.builds(lambda n, start: spaces.Discrete(n, start=start), st.integers(1, 5), st.integers(-2, 2)),
    st.builds(lambda sizes: spaces.MultiDiscrete(sizes), st.lists(st.integers(1, 4), min_size=1, max_size=3)),
    st.builds(lambda n: spaces.MultiBinary(n), st.integers(1, 4)),
)


def equal(space, one, other):
    if isinstance(space, spaces.Dict):
        return all(equal(part, one[key], other[key]) for key, part in space.spaces.items())
    if isinstance(space, spaces.Tuple):
        return all(equal(part, one[place], other[place]) for place, part in enumerate(space.spaces))
    return np.array_equal(np.asarray(one), np.asarray(other))


@settings(max_examples=60, deadline=None)
@given(space=nested, seed=st.integers(0, 1000))
def test_observations_survive_the_way_there_and_back(space, seed):
    codec = ObservationCodec(space, "a test")
    space.seed(seed)
    observation = space.sample()
    layout = codec.layout
    row = np.full(layout.shape, np.nan, numpy_dtype(layout.dtype))
    codec.write(observation, row)
    assert np.isfinite(row).all()
    assert equal(space, codec.read(row), observation)
    covered = [place for start, stop, _ in layout.pieces.values() for place in range(start, stop)]
    assert covered == list(range(row.size)) or not layout.pieces
    if layout.low is not None:
        assert row.min() >= layout.low
        assert row.max() <= layout.high


@settings(max_examples=60, deadline=None)
@given(
    space=st.one_of(discrete_leaves, st.lists(discrete_leaves, min_size=1, max_size=3).map(spaces.Tuple)),
    data=st.data(),
)
def test_every_discrete_action_is_one_of_its_space(space, data):
    codec = ActionCodec(space, "a test")
    row = np.array([data.draw(st.integers(0, size - 1)) for size in codec.layout.sizes], np.int64)
    action = codec.read(row)
    assert space.contains(action), (space, action)


def test_continuous_actions_are_put_together_again():
    space = spaces.Dict({"a": spaces.Box(-1, 1, (2, 2), np.float32), "b": spaces.Box(0, 3, (1,), np.float64)})
    codec = ActionCodec(space, "a test")
    assert codec.layout.low == (-1.0, -1.0, -1.0, -1.0, 0.0)
    action = codec.read(np.array([0.1, 0.2, 0.3, 0.4, 2.0], np.float32))
    assert space.contains(action)
    np.testing.assert_allclose(action["a"], [[0.1, 0.2], [0.3, 0.4]])


@pytest.mark.parametrize("kind", ["uint8", "int8", "int16", "int32", "int64", "float32", "float64", "bool"])
def test_a_boxs_type_is_kept(kind):
    codec = ObservationCodec(spaces.Box(0, 1, (2,), np.dtype(kind).type), "a test")
    assert str(codec.layout.dtype) == f"torch.{kind}"
    assert numpy_dtype(torch_dtype(kind)) == np.dtype(kind)


@pytest.mark.parametrize(("kind", "grown"), [("uint16", "int32"), ("uint32", "int64")])
def test_types_that_torch_lacks_grow(kind, grown):
    assert str(torch_dtype(kind)) == f"torch.{grown}"
