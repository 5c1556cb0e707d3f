"""Tells a file's dialect by settings that only it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.config.dialects.four import FOUR
from trainer.config.dialects.three import THREE
from trainer.config.dialects.two import TWO_FIVE, TWO_ZERO

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trainer.config.dialects.rules import Dialect

_FOUR_MARKS = {
    "vec.total_agents",
    "vec.num_buffers",
    "vec.num_threads",
    "train.horizon",
    "train.replay_ratio",
    "train.beta1",
    "train.beta2",
    "train.eps",
    "train.gpus",
}
_FOUR_PREFIXES = ("selfplay.", "torch.", "legacy.", *(f"sweep.{mark}." for mark in sorted(_FOUR_MARKS)))
_TWO_MARKS = {"base.vec", "train.num_envs", "train.env_batch_size", "train.num_workers", "train.zero_copy"}
_FIVE_MARKS = {
    "train.optimizer",
    "train.adam_beta1",
    "train.adam_beta2",
    "train.scheduler",
    "train.precision",
}


def recognise(names: Iterable[str]) -> Dialect:
    """The dialect of a file, from the full names of its settings as they stand in it."""
    held = set(names)
    if held & _FOUR_MARKS or any(name.startswith(_FOUR_PREFIXES) for name in held):
        return FOUR
    if any(name.startswith("sweep.parameters.") for name in held):
        return TWO_ZERO
    has_vec = any(name.startswith("vec.") for name in held)
    if not has_vec and (held & _TWO_MARKS or any(name.startswith("sweep.metric.") for name in held)):
        swept = any(name.startswith("sweep.") and name.endswith(".distribution") for name in held)
        return TWO_FIVE if swept or held & _FIVE_MARKS else TWO_ZERO
    return THREE
