"""Rungs: the shares of a full-length run at which trials are compared.

Geometric from the shortest useful run to the whole one. A rung is a share of each trial's own full length,
because the learning-rate schedule is: two trials compare where their schedules stand at the same place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeper.records import Trial


@dataclass(frozen=True, slots=True)
class Ladder:
    """Rungs as shares of a full length, rising, the last being 1.

    Attributes:
        factor: of so many trials on a rung, the best one goes on (eta).
        shares: of the full length.
    """

    factor: int
    shares: tuple[float, ...]

    @classmethod
    def geometric(cls, factor: int = 3, lowest: float = 1 / 27) -> Ladder:
        """Rungs a factor apart, the first at `lowest` or just above."""
        num_steps = math.floor(math.log(1 / lowest) / math.log(factor) + 1e-9)
        return cls(factor, tuple(factor ** -(num_steps - i) for i in range(num_steps + 1)))

    def steps(self, rung: int, total_steps: int) -> int:
        """Agent steps of a rung for a run of this full length."""
        return max(1, math.ceil(self.shares[rung] * total_steps))

    def pause(self, rung: int, total_steps: int) -> int | None:
        """Agent steps to pause at for this rung; None for the last, which is the whole run."""
        return None if rung >= len(self.shares) - 1 else self.steps(rung, total_steps)

    def reached(self, trial: Trial) -> int:
        """The highest rung that the trial has completed, -1 before the first."""
        if not trial.total_agent_steps:
            return -1
        share = trial.agent_steps / trial.total_agent_steps
        return sum(share >= s * (1 - 1e-9) for s in self.shares) - 1
