"""What is known about every key: for help texts, the reference page, checks and completion."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from trainer.config.parameters import PARAMETER_KEYS, ParameterSpec
from trainer.config.sections import FREE_SECTIONS, SECTION_MODELS, SECTION_ORDER

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class SchemaEntry:
    """One key.

    Attributes:
        name: full name, `train.gamma`.
        section, key: its parts.
        kind: the type in words, with its bounds or choices: `number, 0 <= x <= 1`.
        bounds: the bounds alone, empty where there are none.
        choices: fixed values it may take (for completion), empty where any value of its type goes.
        default: the default value.
        sentence: what it does.
        whole: its values are whole numbers.
        section_sentence: what its section is about.
    """

    name: str
    section: str
    key: str
    kind: str
    bounds: str
    choices: tuple[str, ...]
    default: Any
    sentence: str
    whole: bool
    section_sentence: str

    @property
    def rule(self) -> str:
        """What is valid, as a sentence."""
        return f"{self.key} is {self.kind}."


@functools.cache
def entries() -> Mapping[str, SchemaEntry]:
    """Every key of every fixed section by full name, in the order of the reference page."""
    found: dict[str, SchemaEntry] = {}
    for section in SECTION_ORDER:
        if section in FREE_SECTIONS:
            continue
        model = SECTION_MODELS[section]
        properties = model.model_json_schema(mode="validation")["properties"]
        for key, field in model.model_fields.items():
            alternatives = _alternatives(properties[key])
            found[f"{section}.{key}"] = SchemaEntry(
                name=f"{section}.{key}",
                section=section,
                key=key,
                kind=" or ".join(_words(alternative) for alternative in alternatives),
                bounds="; ".join(filter(None, map(_bounds, alternatives))),
                choices=tuple(choice for alternative in alternatives for choice in _choices(alternative)),
                default=field.default,
                sentence=field.description or "",
                whole=any(alternative.get("type") == "integer" for alternative in alternatives),
                section_sentence=(model.__doc__ or "").strip(),
            )
    return found


@functools.cache
def parameter_keys() -> Mapping[str, str]:
    """The keys of a `[sweep.SECTION.KEY]` section with their sentences."""
    return {key: ParameterSpec.model_fields[key].description or "" for key in PARAMETER_KEYS}


def keys_of(section: str) -> tuple[str, ...]:
    """The keys of one fixed section."""
    return tuple(entry.key for entry in entries().values() if entry.section == section)


def is_number(name: str) -> bool:
    """Whether the setting can take numbers (and so can be swept between bounds)."""
    entry = entries().get(name)
    return entry is None or "number" in entry.kind


def accepts(name: str, value: object) -> bool:
    """Whether a setting's own type and bounds allow this value; True for keys without a schema."""
    entry = entries().get(name)
    if entry is None:
        return True
    try:
        SECTION_MODELS[entry.section].model_validate({entry.key: value})
    except ValidationError:
        return False
    return True


def _alternatives(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return list(schema.get("anyOf", [schema]))


def _choices(schema: dict[str, Any]) -> tuple[str, ...]:
    if "kind" in schema:
        return tuple(word for word in schema["kind"].split(" | ") if word.isalpha() and word.islower())
    if "const" in schema:
        return (str(schema["const"]),)
    if schema.get("type") == "boolean":
        return ("True", "False")
    if schema.get("type") == "null":
        return ("None",)
    return tuple(str(choice) for choice in schema.get("enum", ()))


def _words(schema: dict[str, Any]) -> str:
    if "kind" in schema:
        return str(schema["kind"])
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return " | ".join(str(choice) for choice in schema["enum"])
    kind = schema.get("type")
    bounds = _bounds(schema)
    if kind in ("integer", "number"):
        noun = "a whole number" if kind == "integer" else "a number"
        return f"{noun} {bounds}" if bounds else noun
    if kind == "array":
        return f"a list of {_plural(_words(schema['items']))}" if "items" in schema else "a list"
    return {"boolean": "True or False", "string": "text", "null": "None"}[str(kind)]


def _plural(noun: str) -> str:
    if noun == "text":
        return "names"
    return noun.replace("a whole number", "whole numbers").replace("a number", "numbers")


def _bounds(schema: dict[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    lower = f">= {low:g}" if low is not None else f"> {above:g}" if above is not None else ""
    # Upper bounds that only keep numbers exact would be noise.
    upper = (
        f"<= {high:g}"
        if high is not None and high < 2**31 - 1
        else f"< {below:g}"
        if below is not None
        else ""
    )
    return " and ".join(filter(None, (lower, upper)))
