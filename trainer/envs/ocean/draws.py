"""Random numbers from counters: the same on every device, and a state that is two integers an environment."""

from __future__ import annotations

import torch

_GOLDEN = -7046029254386353131
"""0x9E3779B97F4A7C15 as a signed number: splitmix64's step (Steele, Lea and Flood 2014)."""
_FIRST = -4658895280553007687
_SECOND = -7723592293110705685


def _shift_right(numbers: torch.Tensor, count: int) -> torch.Tensor:
    """A logical shift; torch's own copies the sign."""
    return (numbers >> count) & ((1 << (64 - count)) - 1)


def mix(numbers: torch.Tensor) -> torch.Tensor:
    """splitmix64's finaliser on int64: every bit of the input changes half of the output's."""
    numbers = (numbers ^ _shift_right(numbers, 30)) * _FIRST
    numbers = (numbers ^ _shift_right(numbers, 27)) * _SECOND
    return numbers ^ _shift_right(numbers, 31)


class Draws:
    """One stream of random numbers for each environment.

    Attributes:
        seeds, counters: int64 (E,); together the whole state.
    """

    def __init__(self, num_envs: int, device: torch.device) -> None:
        self.seeds = torch.arange(num_envs, dtype=torch.int64, device=device)
        self.counters = torch.zeros(num_envs, dtype=torch.int64, device=device)

    def begin(self, seed: int) -> None:
        """Start stream i at `seed + i`."""
        torch.arange(seed, seed + len(self.seeds), out=self.seeds)
        self.counters.zero_()

    def bits(self, envs: torch.Tensor | None, count: int) -> torch.Tensor:
        """(E', count) int64 for the chosen environments, all of them for None."""
        if envs is None:
            keys = mix(mix(self.seeds * _GOLDEN) + self.counters * _GOLDEN)
            self.counters += 1
        else:
            keys = mix(mix(self.seeds[envs] * _GOLDEN) + self.counters[envs] * _GOLDEN)
            self.counters[envs] += 1
        places = torch.arange(1, count + 1, dtype=torch.int64, device=self.seeds.device)
        return mix(keys[:, None] + places * _GOLDEN)

    def uniform(
        self, envs: torch.Tensor | None, count: int, dtype: torch.dtype = torch.float32
    ) -> torch.Tensor:
        """(E', count) in [0, 1), evenly."""
        digits = 53 if dtype == torch.float64 else 24
        return _shift_right(self.bits(envs, count), 64 - digits).to(dtype) * 2.0**-digits

    def integers(self, envs: torch.Tensor | None, count: int, size: int) -> torch.Tensor:
        """(E', count) int64 in 0 … size - 1; the bias is below size / 2^31."""
        return _shift_right(self.bits(envs, count), 33) % size
