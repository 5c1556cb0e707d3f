"""Values: what an INI's text means, and that what is written is read back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config.values import format_value, is_thousands, parse_value, plain_value, strip_remark


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100_000_000", 100_000_000),
        ("1e-3", 1e-3),
        ("-1e-3", -1e-3),
        ("True", True),
        ("true", True),
        ("FALSE", False),
        ("None", None),
        ("none", None),
        ("[84, 84]", [84, 84]),
        ("(1, 2)", (1, 2)),
        ("4096 # a remark", 4096),
        ("4096 ; a remark", 4096),
        ("auto # 42", "auto"),
        ("auto #42", "auto"),
        ("auto ; 42", "auto"),
        ("0,0 ; train: -0.5", (0, 0)),
        ("16384#32768", 16384),
        ("'a # b'", "a # b"),
        ('"a ; b"  # remark', "a ; b"),
        ("don't # remark", "don't"),
        ("C#", "C#"),
        ("100%", "100%"),
        ("%(x)s", "%(x)s"),
        ("", ""),
        ("# nothing", ""),
        ("my_module:MyPolicy", "my_module:MyPolicy"),
        ("1if", "1if"),
        ("0x10", 16),
        ("{'a': 1}", {"a": 1}),
        ("{1, 2}", "{1, 2}"),
        ("1j", "1j"),
        ("b'x'", "b'x'"),
        ("...", "..."),
        ("nan", "nan"),
        ("__import__('os').system('true')", "__import__('os').system('true')"),
        ("cuda:0", "cuda:0"),
    ],
)
def test_text_means(text: str, value: object) -> None:
    found = parse_value(text)
    assert found == value
    assert type(found) is type(value)


def test_too_large_a_float_is_infinite_not_an_error() -> None:
    assert parse_value("1e400") == math.inf
    assert parse_value("-1e400") == -math.inf


@pytest.mark.parametrize(
    "text", ["(" * 5000 + ")" * 5000, "[" * 90 + "]" * 90, "9" * 10_000, "-" * 10_000 + "1"]
)
def test_monstrous_text_stays_text(text: str) -> None:
    assert parse_value(text) == text


@pytest.mark.parametrize("text", ["258,615,126", "1,048,576", "-1,000", "1,000 # remark"])
def test_thousands(text: str) -> None:
    assert is_thousands(text)


@pytest.mark.parametrize("text", ["84, 84", "1,2", "1048576", "1,0485", "(1,000)"])
def test_no_thousands(text: str) -> None:
    assert not is_thousands(text)


def test_remarks_inside_brackets_and_quotes() -> None:
    assert strip_remark("['a # b', 'c'] # d") == "['a # b', 'c']"


@pytest.mark.parametrize("value", [math.nan, [math.nan], object(), 10**2000, {1: object()}])
def test_what_an_ini_cannot_say_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        format_value(value)


def test_numpy_scalars_become_plain() -> None:
    assert type(plain_value(np.float64(0.5))) is float
    assert type(plain_value(np.int64(3))) is int
    assert plain_value(np.bool_(True)) is True


LITERALS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**200), max_value=2**200)
    | st.floats(allow_nan=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple),
    max_leaves=10,
)


@given(LITERALS)
def test_what_is_written_is_read_back(value: object) -> None:
    text = format_value(value)
    again = parse_value(text)
    assert repr(again) == repr(value)
    assert "\n" not in text


@given(st.text())
def test_any_text_parses(text: str) -> None:
    parse_value(text)
