"""Writes a config as an INI that loads to the same config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer.config.parameters import PARAMETER_KEYS, ParameterSpec
from trainer.config.sections import FREE_SECTIONS, SECTION_MODELS, SECTION_ORDER
from trainer.config.values import format_value

if TYPE_CHECKING:
    from trainer.config.model import Config


def dump_config(config: Config) -> str:
    """The whole config as INI text, every key written out: `load(dump(config)) == config`."""
    blocks = []
    for section in SECTION_ORDER:
        held = getattr(config, section)
        keys = held.keys() if section in FREE_SECTIONS else SECTION_MODELS[section].model_fields
        values = {key: held[key] if section in FREE_SECTIONS else getattr(held, key) for key in keys}
        blocks.append(_block(section, values))
    for name, spec in (*config.sweep.parameters.items(), *config.sweep.unswept.items()):
        blocks.append(_block(f"sweep.{name}", parameter_values(spec)))
    return "\n".join(blocks)


def parameter_values(spec: ParameterSpec) -> dict[str, Any]:
    """The keys that a parameter's section holds."""
    values = {key: getattr(spec, key) for key in PARAMETER_KEYS}
    values["values"] = None if spec.values is None else list(spec.values)
    if spec.distribution == "categorical":
        values["scale"] = None
    return {key: value for key, value in values.items() if value is not None}


def setting_text(value: Any) -> str:
    """A setting's INI text; lists are written as lists."""
    return format_value(list(value) if isinstance(value, tuple) else value)


def _block(section: str, values: dict[str, Any]) -> str:
    free = section in FREE_SECTIONS
    lines = [f"[{section}]"]
    lines += [
        f"{key} = {format_value(value) if free else setting_text(value)}" for key, value in values.items()
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"
