"""Seeds of trials: a function of the sweep's seed and the trial's number, nothing else."""

from __future__ import annotations

import hashlib
import math

SEED_SPACING = 100_000
"""Environment i of a trial is seeded seed + i: trials whose seeds lie this far apart share no environment stream."""

_NUM_SLOTS = (2**31 - SEED_SPACING) // SEED_SPACING


def trial_seed(sweep_seed: int, number: int) -> int:
    """The seed of trial `number`: a multiple of SEED_SPACING below 2^31, different for each number of a sweep.

    Seeds walk through all multiples with a stride that has no common divisor with their number, from a place and with a
    stride that the sweep's seed decides; so no two of the first 21,000 trials of a sweep share a stream.
    """
    digest = hashlib.sha256(f"puffer-sweep:{sweep_seed}".encode()).digest()
    offset = int.from_bytes(digest[:8], "little") % _NUM_SLOTS
    stride = _coprime_at_least(1 + int.from_bytes(digest[8:16], "little") % (_NUM_SLOTS - 1))
    return ((offset + number * stride) % _NUM_SLOTS) * SEED_SPACING


def _coprime_at_least(candidate: int) -> int:
    while math.gcd(candidate, _NUM_SLOTS) != 1:
        candidate += 1
    return candidate


def evaluation_seed(sweep_seed: int) -> int:
    """The seed of evaluations at the end of trials: the same for all of a sweep, above every trial's."""
    return _NUM_SLOTS * SEED_SPACING + sweep_seed % (SEED_SPACING // 2)
