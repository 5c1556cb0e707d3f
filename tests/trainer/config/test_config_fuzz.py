"""Random and mutated files: whatever comes, it loads or is refused by an error of ours."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from trainer.config import dump_config, parse_overrides, schema
from trainer.config.files import shipped_folder
from trainer.config.ini import parse_ini
from trainer.config.load import assemble
from trainer.errors import PufferError

SECTIONS = [
    *("base", "vec", "env", "policy", "rnn", "train", "sweep", "sweep.metric", "torch", "selfplay", "wosac"),
    *("sweep.train.gamma", "sweep.env.x", "sweep.parameters.train.parameters.gamma", "a:train", "DEFAULT"),
    *("sweep.", "sweep.train.", "sweep..gamma", ":", "a:", ":train", "sweep.vec.num_buffers"),
]
KEYS = [
    *(entry.key for entry in schema.entries().values()),
    *(
        "distribution",
        "min",
        "max",
        "mean",
        "scale",
        "values",
        "total_agents",
        "num_buffers",
        "horizon",
        "mu",
    ),
    *("replay_ratio", "num_agents", "vec", "num_envs", "use_e3b", "e3b_coef", "lsd", "norm_adv", "enabled"),
]
VALUES = [
    *(
        "auto",
        "None",
        "True",
        "1",
        "0",
        "-1",
        "0.5",
        "1e400",
        "nan",
        "[1, 2]",
        "(",
        "''",
        "uniform",
        "log_normal",
    ),
    *(
        "uniform_pow2",
        "categorical",
        "int_uniform",
        "logit_normal",
        "time",
        "1,048,576",
        "x # y",
        "a b",
        "{}",
        "1j",
    ),
    *(
        "258,615,126",
        "16384#32768",
        "auto #42",
        "0,0 ; train: -0.5",
        "1e-320",
        "9" * 400,
        "[[]]",
        "cuda:99",
        "%(x)s",
    ),
]
LINES = st.one_of(
    st.sampled_from(SECTIONS).map("[{}]".format),
    st.tuples(st.sampled_from(KEYS), st.sampled_from(["=", ":", " = "]), st.sampled_from(VALUES)).map(
        "".join
    ),
    st.tuples(st.sampled_from(KEYS), st.just(" = "), st.floats().map(repr) | st.text(max_size=10)).map(
        "".join
    ),
    st.text(max_size=20),
    st.sampled_from(["", "# remark", "; remark", "  indented", "\tx = 1"]),
)
SHIPPED = [path.read_text() for path in sorted(shipped_folder().rglob("*.ini"))]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A shipped file with some lines changed, doubled, dropped or swapped."""
    lines = draw(st.sampled_from(SHIPPED)).split("\n")
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(lines) - 1))
        lines[at : at + draw(st.integers(0, 2))] = draw(st.lists(LINES, max_size=3))
        lines = lines or [""]
    return "\n".join(lines)


FILES = st.lists(LINES, max_size=25).map("\n".join) | mutated() | st.text()


def load_or_be_refused(text: str) -> None:
    try:
        config = assemble(parse_ini(text, "fuzz.ini"))
    except PufferError:
        return
    assert assemble(parse_ini(dump_config(config), "again.ini")) == config


@settings(max_examples=400, suppress_health_check=list(HealthCheck), deadline=None)
@given(FILES)
def test_any_file_loads_or_is_refused(text: str) -> None:
    load_or_be_refused(text)


@settings(max_examples=200, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    st.lists(
        st.sampled_from([f"--{name}" for name in schema.entries()])
        | st.text(max_size=12).map("--{}".format)
        | st.sampled_from(VALUES)
        | st.text(max_size=8),
        max_size=8,
    )
)
def test_any_command_line_parses_or_is_refused(arguments: list[str]) -> None:
    try:
        overrides = parse_overrides(arguments)
    except PufferError:
        return
    for override in overrides:
        load_or_be_refused(f"[{override.name.rpartition('.')[0]}]\n")


@pytest.mark.slow
def test_for_as_long_as_asked() -> None:
    """PUFFER_SWEEP_FUZZ_SECONDS says how long (20 otherwise)."""
    end = time.monotonic() + float(os.environ.get("PUFFER_SWEEP_FUZZ_SECONDS", "20"))
    start = int(os.environ.get("PUFFER_SWEEP_FUZZ_SEED", "0"))
    while time.monotonic() < end:
        start += 1

        @seed(start)
        @settings(max_examples=500, suppress_health_check=list(HealthCheck), deadline=None, database=None)
        @given(FILES)
        def one_round(text: str) -> None:
            load_or_be_refused(text)

        one_round()
