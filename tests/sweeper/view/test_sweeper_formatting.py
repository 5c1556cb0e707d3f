import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.formatting import (
    format_bytes,
    format_count,
    format_number,
    format_seconds,
    format_share,
    format_value,
    join_words,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (None, "–"),
        (3.2e-5, "3.2e-5"),
        (0.99714, "0.9971"),
        (0.0031234, "0.003123"),
        (12.0, "12"),
        (274.327, "274.3"),
        (1234.5, "1,234"),
        (2_500_000, "2,500,000"),
        (2.5e8, "2.5e8"),
        (-0.5, "-0.5"),
        (math.inf, "∞"),
    ],
)
def test_numbers_have_four_digits(value, text: str) -> None:
    assert format_number(value) == text


@given(st.floats(-1e300, 1e300))
def test_numbers_keep_their_size(value: float) -> None:
    shown = float(format_number(value).replace(",", ""))
    assert math.isclose(shown, value, rel_tol=6e-4, abs_tol=1e-300)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0.4 s"),
        (45, "45 s"),
        (59.7, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_spans_have_two_units(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(950, "950"), (24_576, "24.6 k"), (1_250_000, "1.25 M"), (3e9, "3 G")]
)
def test_counts_are_short(count: float, text: str) -> None:
    assert format_count(count) == text


def test_values_are_written_as_in_the_ini() -> None:
    assert [format_value(value) for value in (True, "adam", 2048, 0.003)] == [
        "True",
        "adam",
        "2,048",
        "0.003",
    ]


def test_shares_bytes_and_lists() -> None:
    assert [format_share(share) for share in (0, 0.004, 0.37)] == ["0 %", "0.4 %", "37 %"]
    assert [format_bytes(size) for size in (512, 3.4e6, 12e9)] == ["512 B", "3.4 MB", "12 GB"]
    assert [join_words(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
