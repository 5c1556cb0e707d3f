"""The configuration: one INI dialect, one schema, one validated and frozen Config.

Importing this package is light: no torch, no environments.
"""

from __future__ import annotations

from trainer.config import schema
from trainer.config.dump import dump_config
from trainer.config.load import load_config, load_config_file
from trainer.config.model import Config, SweepSection
from trainer.config.origin import CODE, COMMAND_LINE, DEFAULT, FILE, Origin
from trainer.config.overrides import Override, parse_overrides
from trainer.config.parameters import DISTRIBUTIONS, ParameterSpec
from trainer.config.resolve import Resolution, resolve
from trainer.config.sections import BaseSection, TrainSection, VecSection

__all__ = [
    "CODE",
    "COMMAND_LINE",
    "DEFAULT",
    "DISTRIBUTIONS",
    "FILE",
    "BaseSection",
    "Config",
    "Origin",
    "Override",
    "ParameterSpec",
    "Resolution",
    "SweepSection",
    "TrainSection",
    "VecSection",
    "dump_config",
    "load_config",
    "load_config_file",
    "parse_overrides",
    "resolve",
    "schema",
]
