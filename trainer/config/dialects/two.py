"""PufferLib 2.0 and 2.5: environments are stepped by settings of `[train]`, the metric is a section."""

from __future__ import annotations

from typing import Any

from trainer.config.dialects.rules import Dialect, Lookup, Reading, Rule
from trainer.config.dialects.shared import SHARED

_DISTRIBUTIONS = {"log_uniform_values": "log_normal", "q_uniform": "int_uniform"}


def _read_annealing(value: Any, _: Lookup) -> Reading:
    how = ", which lowers the learning rate along a cosine here and along a line there" if value else ""
    return Reading({"train.anneal_lr": value}, f"read as train.anneal_lr{how}")


TWO_ZERO = Dialect(
    name="PufferLib 2.0",
    rules={**SHARED, "train.anneal_lr": Rule(_read_annealing)},
    distributions=_DISTRIBUTIONS,
    implied={
        "train.optimizer": "adam",
        "train.adam_beta1": 0.9,
        "train.adam_beta2": 0.999,
        "train.adam_eps": 1e-5,
        "train.prio_alpha": 0.0,
    },
)

TWO_FIVE = Dialect(name="PufferLib 2.5", rules=SHARED, distributions=_DISTRIBUTIONS)
