"""What is known of configurations that were trained again with fresh seeds, and how sure one can be of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ATTRIBUTE = "repeats"
"""The study's attribute: trial number → seed → score."""

NUM_RESAMPLES = 10_000
CONFIDENCE = 0.95
FEWEST_SEEDS = 3
"""A bootstrap over fewer scores is far too sure of itself."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """A leading configuration trained again with fresh seeds.

    Attributes:
        trial_number: of the trial that was repeated.
        scores: one per seed.
        mean: of the scores.
        interval: 95 % bootstrap interval of the mean.
    """

    trial_number: int
    scores: tuple[float, ...]
    mean: float
    interval: tuple[float, float]


def read_repeats(attributes: Mapping[str, Any], *, sign: int = 1) -> tuple[Repeat, ...]:
    """The repeats kept with a study, best mean first.

    Args:
        attributes: the study's.
        sign: 1 when more is better, -1 when less is.
    """
    found = [
        make_repeat(int(number), [float(score) for score in scores.values()])
        for number, scores in (attributes.get(ATTRIBUTE) or {}).items()
        if scores
    ]
    return tuple(sorted(found, key=lambda repeat: (-sign * repeat.mean, repeat.trial_number)))


def make_repeat(trial_number: int, scores: Sequence[float]) -> Repeat:
    """Scores with their mean and interval.

    Raises:
        ValueError: there is no score.
    """
    if not scores:
        raise ValueError(f"trial {trial_number} has no repeated score")
    return Repeat(trial_number, tuple(scores), math.fsum(scores) / len(scores), bootstrap_interval(scores))


def bootstrap_interval(scores: Sequence[float], *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (Efron 1979); the same scores always give the same interval.

    With a single score there is nothing to resample: both ends are that score.
    """
    values = np.sort(np.asarray(scores, dtype=np.float64))
    rows = np.random.default_rng(0).integers(0, len(values), size=(NUM_RESAMPLES, len(values)))
    tail = (1 - confidence) / 2
    low, high = np.quantile(values[rows].mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)


def stands_clear(first: Repeat, second: Repeat) -> bool:
    """Whether the leader can be told from the next: enough seeds, and intervals that are apart."""
    if min(len(first.scores), len(second.scores)) < FEWEST_SEEDS:
        return False
    return first.interval[0] > second.interval[1] or first.interval[1] < second.interval[0]


def verdict(first: Repeat, second: Repeat) -> str:
    """The same as a sentence."""
    names = f"trial {first.trial_number}", f"trial {second.trial_number}"
    if stands_clear(first, second):
        return f"{names[0].capitalize()} stands clear of the next, {names[1]}."
    if min(len(first.scores), len(second.scores)) < FEWEST_SEEDS:
        return f"Fewer than {FEWEST_SEEDS} seeds each do not tell it from the next, {names[1]}."
    return f"{names[0].capitalize()} cannot be told from the next, {names[1]}: their intervals overlap."
