"""How numbers and names are written: four significant digits, thousands separated, small ones as 1e-4.

The terminal, the report and the notes in the dashboard all write through these functions, so that the same number
looks the same everywhere.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

SIGNIFICANT_DIGITS = 4
_SMALL = 1e-3
_LARGE = 1e7


def format_number(value: float | None, digits: int = SIGNIFICANT_DIGITS) -> str:
    """A number with so many significant digits: 1,234 · 0.9971 · 3.2e-05 · 2.5e+08; a dash for None."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value)
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞" if value < 0 else "nan"
    if value == 0:
        return "0"
    magnitude = abs(value)
    if magnitude >= _LARGE or magnitude < _SMALL:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa}e{int(exponent)}"
    if magnitude >= 10**digits or (float(value).is_integer() and magnitude >= 10 ** (digits - 1)):
        return f"{value:,.0f}"
    decimals = max(0, digits - 1 - math.floor(math.log10(magnitude)))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_value(value: object) -> str:
    """A parameter's value: numbers shortened, whole numbers in full, everything else as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < _LARGE * 100 else format_number(float(value))
    return format_number(value)


def format_count(value: float) -> str:
    """A count of steps, shortened: 950 · 24.6 k · 1.25 M · 3 G."""
    for limit, suffix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= limit:
            return f"{_trim(value / limit)}{suffix}"
    return _trim(value)


def _trim(value: float) -> str:
    decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_seconds(seconds: float | None) -> str:
    """A span of time in its two largest units: 0.4 s · 45 s · 3 min 20 s · 2 h 5 min · 3 d 4 h."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 10:
        return f"{_trim(max(seconds, 0.0))} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for size, unit, smaller, smaller_unit in (
        (86_400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = (whole % size) // smaller
            return f"{whole // size} {unit}" + (f" {rest} {smaller_unit}" if rest else "")
    raise AssertionError  # pragma: no cover - the last unit takes everything from 60 s on


def format_bytes(size: float) -> str:
    """A size of memory or of a file: 512 B · 3.4 MB · 12 GB (powers of 1,000)."""
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= limit:
            return f"{_trim(size / limit)} {unit}"
    return f"{round(size)} B"


def format_share(share: float) -> str:
    """A share of a whole in per cent: 0 % · 0.4 % · 37 %."""
    percent = 100 * share
    return f"{percent:.1f} %" if 0 < percent < 1 else f"{percent:.0f} %"


def format_time(seconds_since_epoch: float | None) -> str:
    """A moment in local time, to the minute; a dash for None."""
    if seconds_since_epoch is None:
        return "–"
    return datetime.fromtimestamp(seconds_since_epoch, tz=UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def join_words(words: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1] if words else ""


def plain_name(text: str) -> str:
    """A text as part of a file's name that every system takes: `my_module:make_env` as `my_module-make_env`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-")
