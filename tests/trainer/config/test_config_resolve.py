"""`auto` and divisibility: the arithmetic, the remedy, and that the remedy holds."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.config import Config, Resolution, resolve
from trainer.config.origin import DEFAULT, FILE
from trainer.errors import DeviceError, InfeasibleConfigError
from trainer.records import EnvironmentFacts

SMALL = {"vec.num_envs": 8, "train.bptt_horizon": 16, "train.minibatch_size": 64}


def settle(
    values: dict[str, Any], agents: int = 1, *, half: bool = False, cuda: bool = False, origin: str = "code"
) -> Resolution:
    facts = EnvironmentFacts(agents_per_env=agents, backend="Serial", can_step_half=half)
    return resolve(Config().override(values, origin=origin), facts, cuda)


def test_everything_auto_is_settled() -> None:
    found = settle(SMALL).config
    assert (found.train.batch_size, found.train.bptt_horizon) == (128, 16)
    assert (found.vec.num_workers, found.vec.batch_size, found.vec.backend) == (8, 8, "Serial")
    assert found.train.device == "cpu"


def test_bptt_horizon_auto() -> None:
    assert (
        settle(SMALL | {"train.bptt_horizon": "auto", "train.batch_size": 512}).config.train.bptt_horizon
        == 64
    )
    with pytest.raises(InfeasibleConfigError, match=r"100 / 8.*Nearest batch_size: 96 or 104"):
        settle(SMALL | {"train.bptt_horizon": "auto", "train.batch_size": 100})


def test_both_auto() -> None:
    with pytest.raises(InfeasibleConfigError, match="both auto"):
        settle({"train.bptt_horizon": "auto"})


def test_agents_of_several_per_environment_count() -> None:
    assert settle(SMALL, agents=3).config.train.batch_size == 8 * 3 * 16
    with pytest.raises(
        InfeasibleConfigError, match=r"24 agents \(8 x 3\).*256 / 16 gives 16.*384.*to 10.*to 5"
    ):
        settle(SMALL | {"train.batch_size": 256}, agents=3)


def test_half_batches_where_the_backend_can() -> None:
    assert settle(SMALL, half=True).config.vec.batch_size == 4
    assert settle(SMALL | {"vec.num_envs": 9}, half=True).config.vec.batch_size == 9
    assert settle(SMALL | {"vec.batch_size": 2}, half=True).config.vec.batch_size == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"vec.num_workers": 3}, r"8 = 2 x 3 \+ 2.*num_workers: 2 or 4.*num_envs: 6 or 9"),
        ({"vec.batch_size": 5}, r"8 = 1 x 5 \+ 3.*batch_size: 4 or 8.*num_envs: 5 or 10"),
        ({"vec.num_workers": 16}, r"8 = 0 x 16 \+ 8.*num_workers: 8.*num_envs: 16"),
        ({"train.minibatch_size": 60}, r"60 = 3 x 16 \+ 12.*Nearest minibatch_size: 48 or 64"),
        ({"train.minibatch_size": 256}, r"\(256\) is larger than batch_size \(128\).*at most 128"),
        ({"train.batch_size": 130}, r"130 = 8 x 16 \+ 2.*Nearest batch_size: 128 or 144"),
        (
            {"train.minibatch_size": 128, "train.max_minibatch_size": 48},
            r"128 = 2 x 48 \+ 32.*Nearest max_minibatch_size: 32 or 64",
        ),
        (
            {"train.minibatch_size": 128, "train.max_minibatch_size": 8},
            r"not a multiple of bptt_horizon.*16 or 32",
        ),
        ({"train.num_minibatches": 3}, r"8 segments.*3 minibatches.*Nearest num_minibatches: 2 or 4"),
    ],
)
def test_violations_show_their_arithmetic_and_the_nearest_values(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(InfeasibleConfigError, match=message):
        settle(SMALL | values)


def test_minibatches_by_number() -> None:
    found = settle(SMALL | {"train.num_minibatches": 4}).config.train
    assert (found.minibatch_size, found.num_minibatches) == (32, 4)


def test_defaults_are_lowered_and_said() -> None:
    found = settle({"vec.num_envs": 8, "train.bptt_horizon": 16})
    assert found.config.train.minibatch_size == 128
    assert any("minibatch_size is lowered from its default 16384 to 128" in note for note in found.notes)
    odd = settle({"vec.num_envs": 1000, "train.bptt_horizon": 60})
    assert odd.config.train.minibatch_size == 16380
    large = settle({"vec.num_envs": 1000, "train.bptt_horizon": 60, "train.minibatch_size": 36000})
    assert large.config.train.max_minibatch_size == 18000
    assert any("max_minibatch_size is lowered" in note for note in large.notes)


@pytest.mark.parametrize("origin", [FILE, "command line", "sweep", "code"])
def test_what_was_given_is_never_lowered(origin: str) -> None:
    with pytest.raises(InfeasibleConfigError):
        settle({"vec.num_envs": 8, "train.minibatch_size": 16384}, origin=origin)
    assert settle({"vec.num_envs": 8, "train.minibatch_size": 16384}, origin=DEFAULT).config is not None


def test_fewer_steps_than_a_batch_run_one_batch() -> None:
    found = settle(SMALL | {"train.total_timesteps": 5})
    assert found.config.train.total_timesteps == 128
    assert any("below one batch" in note for note in found.notes)


def test_devices() -> None:
    assert settle(SMALL, cuda=True).config.train.device == "cuda"
    assert settle(SMALL | {"train.device": "cpu"}, cuda=True).config.train.device == "cpu"
    assert settle(SMALL | {"train.device": "cuda:3"}, cuda=True).config.train.device == "cuda:3"
    for device in ("cuda", "cuda:0"):
        with pytest.raises(DeviceError, match=r"no CUDA device.*Set train\.device to auto or cpu"):
            settle(SMALL | {"train.device": device})


def test_it_is_pure_and_settles_once() -> None:
    config = Config().override(SMALL)
    facts = EnvironmentFacts(agents_per_env=2, can_step_half=True)
    first, second = resolve(config, facts, cuda_available=False), resolve(config, facts, cuda_available=False)
    assert first == second
    assert config == Config().override(SMALL)
    again = resolve(first.config, facts, cuda_available=False)
    assert (again.config, again.notes) == (first.config, ())


AUTO = st.just("auto")
SIZES = st.fixed_dictionaries(
    {
        "vec.num_envs": st.integers(1, 64),
        "vec.num_workers": AUTO | st.integers(1, 16),
        "vec.batch_size": AUTO | st.integers(1, 64),
        "train.batch_size": AUTO | st.integers(1, 5000),
        "train.bptt_horizon": AUTO | st.integers(1, 64),
        "train.total_timesteps": st.integers(1, 10_000),
    },
    optional={
        "train.minibatch_size": st.integers(1, 5000),
        "train.max_minibatch_size": st.integers(1, 5000),
        "train.num_minibatches": st.integers(1, 16),
    },
)


def attempt(values: dict[str, Any], agents: int, *, half: bool = False) -> Config | InfeasibleConfigError:
    try:
        return settle(values, agents, half=half).config
    except InfeasibleConfigError as error:
        return error


@settings(max_examples=300)
@given(SIZES, st.integers(1, 4), st.booleans())
def test_what_resolves_obeys_every_rule(values: dict[str, Any], agents: int, half: bool) -> None:
    config = attempt(values, agents, half=half)
    if isinstance(config, InfeasibleConfigError):
        assert config.remedy
        assert config.rule
        return
    train, vec = config.train, config.vec
    numbers = (train.batch_size, train.bptt_horizon, vec.num_workers, vec.batch_size)
    assert all(isinstance(number, int) for number in numbers)
    batch_size, horizon, workers, share = (int(number) for number in numbers)
    assert vec.num_envs * agents <= batch_size // horizon
    assert batch_size % horizon == 0
    assert train.minibatch_size <= batch_size
    assert train.minibatch_size % horizon == 0
    if train.minibatch_size > train.max_minibatch_size:
        assert train.minibatch_size % train.max_minibatch_size == 0
        assert train.max_minibatch_size % horizon == 0
    assert vec.num_envs % workers == 0
    assert vec.num_envs % share == 0
    assert train.total_timesteps >= batch_size


@settings(max_examples=300)
@given(SIZES, st.integers(1, 4))
def test_the_nearest_values_of_a_remedy_cure_what_they_are_for(values: dict[str, Any], agents: int) -> None:
    error = attempt(values, agents)
    if isinstance(error, Config):
        return
    assert error.place is not None
    nearest = re.search(r"[Nn]earest (\w+): (\d+)(?: or (\d+))?", error.remedy or "")
    if nearest is None:
        return
    name = f"{error.place.section}.{nearest[1]}"
    for number in filter(None, nearest.groups()[1:]):
        later = attempt(values | {name: int(number)}, agents)
        # Cured here; another rule may be broken as well.
        if isinstance(later, InfeasibleConfigError):
            assert later.what.split("(")[0] != error.what.split("(")[0] or later.place != error.place


@pytest.mark.parametrize(
    ("native", "device", "policy", "expected"),
    [
        (True, "cpu", "Convolutional", "bfloat16"),
        (True, "auto", "Convolutional", "bfloat16"),
        (False, "cpu", "Convolutional", "float32"),
        (True, "cuda", "Convolutional", "float32"),
        (True, "cpu", "Policy", "float32"),
    ],
)
def test_precision_auto(native: bool, device: str, policy: str, expected: str) -> None:
    config = Config().override(
        SMALL | {"train.precision": "auto", "train.device": device, "base.policy_name": policy}
    )
    found = resolve(config, EnvironmentFacts(native_bfloat16=native), device == "cuda")
    assert found.config.train.precision == expected
    assert f"precision is {expected}." in found.notes
