"""What changes over a run: the learning rate falls, the correction for priorities rises."""

from __future__ import annotations

import math


def learning_rate_at(progress: float, learning_rate: float, *, anneal: bool, min_ratio: float) -> float:
    """The learning rate when `progress` (0 … 1) of the run is done: a cosine from 1 to `min_ratio` of it.

    Loshchilov and Hutter, "SGDR" (2017), equation 5, without restarts.
    """
    if not anneal:
        return learning_rate
    share = 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
    return learning_rate * (min_ratio + (1 - min_ratio) * share)


def prio_beta_at(progress: float, prio_beta0: float) -> float:
    """The exponent of the importance weights: linear from prio_beta0 to 1."""
    return prio_beta0 + (1 - prio_beta0) * min(max(progress, 0.0), 1.0)
