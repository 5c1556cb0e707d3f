"""load → dump → load is the identity, over generated configs."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainer.config import Config, dump_config, load_config_file, schema
from trainer.config.ini import parse_ini
from trainer.config.load import assemble

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def values_of(name: str) -> st.SearchStrategy[Any]:
    """Values that a setting takes, from its schema."""
    entry = schema.entries()[name]
    if name == "train.device":
        return st.sampled_from(["auto", "cpu", "cuda", "cuda:1"])
    if entry.kind.startswith("a list") or name in ("sweep.sweep_only", "sweep.gpus"):
        return lists_of(name)
    alternatives: list[st.SearchStrategy[Any]] = [st.sampled_from(entry.choices)] if entry.choices else []
    alternatives = [
        a.map({"True": True, "False": False, "None": None}.get) if "True" in entry.choices else a
        for a in alternatives
    ]
    if "None" in entry.choices:
        alternatives = [st.none()]
    if "a whole number" in entry.kind:
        alternatives.append(st.integers(1, 2**31 - 1))
    elif "a number" in entry.kind:
        below_one = "<" in entry.bounds
        alternatives.append(st.floats(1e-12, 0.999999) if below_one else st.floats(1e-12, 1e12))
    if "text" in entry.kind:
        alternatives.append(st.text(min_size=1, max_size=12))
    return st.one_of(alternatives)


def lists_of(name: str) -> st.SearchStrategy[Any]:
    return {
        "train.restarts": st.lists(st.integers(0, 9), max_size=3).map(tuple),
        "sweep.gpus": st.just("auto") | st.lists(st.integers(0, 7), max_size=3).map(tuple),
        "sweep.objectives": st.sampled_from([("score",), ("score", "cost"), ("cost",)]),
        "sweep.sweep_only": st.none() | st.just(()),
    }.get(name, st.lists(st.text(min_size=1, max_size=8), max_size=3).map(tuple))


NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False)
    | st.text(max_size=12)
)
FREE = st.dictionaries(NAMES, SCALARS | st.lists(SCALARS, max_size=3), max_size=4)


@st.composite
def settings_dict(draw: st.DrawFn) -> dict[str, Any]:
    chosen = draw(st.lists(st.sampled_from(sorted(schema.entries())), unique=True, max_size=12))
    values = {name: draw(values_of(name)) for name in chosen if name != "base.env_name"}
    for section in ("env", "policy", "rnn"):
        values |= {f"{section}.{key}": value for key, value in draw(FREE).items()}
    for name in draw(st.lists(st.sampled_from(["train.gamma", "train.batch_size", "env.x"]), unique=True)):
        low = draw(st.floats(0.01, 0.4))
        kind = draw(st.sampled_from(["uniform", "log_normal", "logit_normal"]))
        if name == "train.batch_size":
            values |= {f"sweep.{name}.distribution": "uniform_pow2", f"sweep.{name}.min": 16}
            values |= {f"sweep.{name}.max": draw(st.integers(32, 4096))}
        else:
            values |= {f"sweep.{name}.distribution": kind, f"sweep.{name}.min": low}
            values |= {
                f"sweep.{name}.max": draw(st.floats(0.5, 0.99)),
                f"sweep.{name}.mean": draw(st.floats(0, 1)),
            }
            values |= {f"sweep.{name}.scale": draw(st.just("auto") | st.floats(0.01, 2))}
    return values


def load_text(text: str) -> Config:
    return assemble(parse_ini(text, "generated.ini"))


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(settings_dict())
def test_load_dump_load_is_the_identity(values: dict[str, Any]) -> None:
    config = Config().override(values)
    text = dump_config(config)
    again = load_text(text)
    assert again == config
    assert dump_config(again) == text
    assert list(again.sweep.parameters) == list(config.sweep.parameters)
    assert pickle.loads(pickle.dumps(config)) == config
    for name, value in config.values_by_name().items():
        assert repr(again.get(name)) == repr(value)


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(settings_dict())
def test_it_holds_through_a_file(tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]) -> None:
    path: Path = tmp_path_factory.mktemp("dump") / "own.ini"
    config = Config().override(values)
    path.write_text(dump_config(config), encoding="utf-8")
    assert load_config_file(path) == config


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(settings_dict(), settings_dict())
def test_overriding_twice_is_overriding_once_with_both(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert Config().override(first).override(second) == Config().override(first | second)
