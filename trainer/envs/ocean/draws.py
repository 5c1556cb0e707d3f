"""Random numbers from counters: the same on every device, and a state that is two integers an environment."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
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


_UNSIGNED_GOLDEN = np.uint64(_GOLDEN % 2**64)
_UNSIGNED_FIRST = np.uint64(_FIRST % 2**64)
_UNSIGNED_SECOND = np.uint64(_SECOND % 2**64)


def _mix_unsigned(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """`mix` on NumPy's unsigned integers, whose shifts are logical."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * _UNSIGNED_FIRST
    numbers = (numbers ^ (numbers >> np.uint64(27))) * _UNSIGNED_SECOND
    return numbers ^ (numbers >> np.uint64(31))


class Draws:
    """One stream of random numbers for each environment.

    Attributes:
        seeds, counters: int64 (E,); together the whole state.
        by_numpy: whether NumPy makes the numbers (on the CPU, where its calls cost a fraction of torch's).
    """

    def __init__(self, num_envs: int, device: torch.device) -> None:
        self.seeds = torch.arange(num_envs, dtype=torch.int64, device=device)
        self.counters = torch.zeros(num_envs, dtype=torch.int64, device=device)
        self.by_numpy = self.seeds.device.type == "cpu"

    def begin(self, seed: int) -> None:
        """Start stream i at `seed + i`."""
        torch.arange(seed, seed + len(self.seeds), out=self.seeds)
        self.counters.zero_()

    def bits(self, envs: torch.Tensor | slice | None, count: int) -> torch.Tensor:
        """(E', count) int64 for the chosen environments, all of them for None or a whole slice."""
        if isinstance(envs, slice):
            envs = None
        if self.by_numpy:
            return self._bits_on_cpu(envs, count)
        if envs is None:
            keys = mix(mix(self.seeds * _GOLDEN) + self.counters * _GOLDEN)
            self.counters += 1
        else:
            keys = mix(mix(self.seeds[envs] * _GOLDEN) + self.counters[envs] * _GOLDEN)
            self.counters[envs] += 1
        places = torch.arange(1, count + 1, dtype=torch.int64, device=self.seeds.device)
        return mix(keys[:, None] + places * _GOLDEN)

    def _bits_on_cpu(self, envs: torch.Tensor | None, count: int) -> torch.Tensor:
        """The same numbers by NumPy, whose calls cost a fraction: most draws are for a handful of environments."""
        chosen = slice(None) if envs is None else envs.numpy()
        seeds = self.seeds.numpy()[chosen].view(np.uint64)
        counters = self.counters.numpy()[chosen].view(np.uint64)
        keys = _mix_unsigned(_mix_unsigned(seeds * _UNSIGNED_GOLDEN) + counters * _UNSIGNED_GOLDEN)
        self.counters.numpy()[chosen] += 1
        places = np.arange(1, count + 1, dtype=np.uint64) * _UNSIGNED_GOLDEN
        return torch.from_numpy(_mix_unsigned(keys[:, None] + places).view(np.int64))

    def uniform(
        self, envs: torch.Tensor | slice | None, count: int, dtype: torch.dtype = torch.float32
    ) -> torch.Tensor:
        """(E', count) in [0, 1), evenly."""
        digits = 53 if dtype == torch.float64 else 24
        return _shift_right(self.bits(envs, count), 64 - digits).to(dtype) * 2.0**-digits

    def integers(self, envs: torch.Tensor | slice | None, count: int, size: int) -> torch.Tensor:
        """(E', count) int64 in 0 … size - 1; the bias is below size / 2^31."""
        return _shift_right(self.bits(envs, count), 33) % size
