"""Values of an INI: from text to a Python value and back.

A value is a Python literal where it parses as one, else a string; `true`, `false` and `none` in any case mean
what they say. What `format_value` writes, `parse_value` reads back as the same value.
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Mapping
from typing import Any

_WORDS: dict[str, Any] = {"true": True, "false": False, "none": None}
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+")
_MAX_INTEGER_BITS = 4096
"""Beyond this Python refuses to write an integer in decimal, so that it could not be dumped again."""
_MAX_LITERAL_LENGTH = 100_000
_MAX_DEPTH = 20


def parse_value(text: str) -> Any:
    """The value that an INI's text stands for: a Python literal, else the bare string without its remark."""
    text = text.strip()
    found, value = _parse_literal(text)
    if found:
        return value
    bare = strip_remark(text)
    if bare != text:
        found, value = _parse_literal(bare)
        if found:
            return value
    return bare


def strip_remark(text: str) -> str:
    """Cut a trailing ` # remark` or ` ; remark` off, but not inside quotes."""
    quote = ""
    for position, character in enumerate(text):
        at_start_of_word = position == 0 or text[position - 1].isspace()
        if quote:
            if character == quote:
                quote = ""
        elif character in "#;" and at_start_of_word:
            return text[:position].rstrip()
        elif character in "'\"" and (at_start_of_word or text[position - 1] in "[({,="):
            # An apostrophe within a word (don't) opens nothing.
            quote = character
    return text


def is_thousands(text: str) -> bool:
    """Whether the text is one whole number grouped by commas (`1,048,576`), which Python reads as a tuple."""
    return _THOUSANDS.fullmatch(strip_remark(text.strip())) is not None


def format_value(value: Any) -> str:
    """The INI text of a value.

    Raises:
        ValueError: the value has no text that reads back as itself (NaN, or an object that is no literal).
    """
    if isinstance(value, str):
        if value.isprintable() and not _looks_different(value):
            return value
        return repr(value)
    return _format_literal(value, depth=0)


def plain_value(value: Any, depth: int = 0) -> Any:
    """The value as plain Python data of its own: containers copied, NumPy scalars unwrapped.

    Raises:
        ValueError: it holds something that an INI cannot say.
    """
    if depth > _MAX_DEPTH:
        raise ValueError("it is nested too deeply")
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        if value.bit_length() > _MAX_INTEGER_BITS:
            raise ValueError("it has too many digits")
        return int(value)
    if isinstance(value, float):
        if math.isnan(value):
            raise ValueError("NaN is not a number")
        return float(value)
    if isinstance(value, (list, tuple)):
        return type(value)(plain_value(item, depth + 1) for item in value)
    if isinstance(value, Mapping):
        return {plain_value(key, depth + 1): plain_value(item, depth + 1) for key, item in value.items()}
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "ndim", None) == 0:
        return plain_value(item(), depth + 1)
    raise ValueError(f"{type(value).__name__} is not a number, a string, a bool, None, or a list of such")


def _looks_different(text: str) -> bool:
    parsed = parse_value(text)
    return not isinstance(parsed, str) or parsed != text


def _format_literal(value: Any, depth: int) -> str:
    value = plain_value(value, depth)
    if isinstance(value, float) and math.isinf(value):
        return "1e999" if value > 0 else "-1e999"
    if isinstance(value, list):
        return "[" + ", ".join(_format_literal(item, depth + 1) for item in value) + "]"
    if isinstance(value, tuple):
        inside = ", ".join(_format_literal(item, depth + 1) for item in value)
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if isinstance(value, dict):
        pairs = (
            f"{_format_literal(k, depth + 1)}: {_format_literal(v, depth + 1)}" for k, v in value.items()
        )
        return "{" + ", ".join(pairs) + "}"
    return repr(value)


def _parse_literal(text: str) -> tuple[bool, Any]:
    if text.lower() in _WORDS:
        return True, _WORDS[text.lower()]
    if not text or len(text) > _MAX_LITERAL_LENGTH:
        return False, None
    try:
        with warnings.catch_warnings():
            # `1if` and "\d" parse with a SyntaxWarning, which would be about our reading of it.
            warnings.simplefilter("ignore")
            value = ast.literal_eval(text)
        return True, plain_value(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False, None
