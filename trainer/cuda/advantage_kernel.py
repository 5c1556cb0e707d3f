"""The advantages as one Triton kernel: a program walks a block of segments backwards through time.

Every number is read once and every advantage written once, where the doubling scan passes over the batch
2 log2 T times. Imports Triton; see `trainer.cuda.advantage` for who chooses.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

BLOCK_SEGMENTS = 64
"""Segments per program: small, so that even few segments occupy many multiprocessors."""


@triton.jit(do_not_specialize=["num_steps", "num_segments"])  # type: ignore[untyped-decorator]
def advantage_kernel(
    rewards: Any,
    following: Any,
    values: Any,
    ratios: Any,
    cut: Any,
    live: Any,
    gamma: Any,
    gae_lambda: Any,
    rho_clip: Any,
    c_clip: Any,
    output: Any,
    num_steps: Any,
    num_segments: Any,
    BLOCK: tl.constexpr,  # noqa: N803
) -> None:
    """All arrays (T, S), contiguous; flags as bytes; coefficients as pointers to one number each."""
    columns = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < num_segments
    discount = tl.load(gamma)
    decay = discount * tl.load(gae_lambda)
    most_rho = tl.load(rho_clip)
    most_c = tl.load(c_clip)
    last = (num_steps - 1).to(tl.int64) * num_segments + columns
    advantage = tl.load(rewards + last, mask=inside, other=0.0) * 0.0
    next_value = advantage
    for back in range(num_steps):
        place = (num_steps - 1 - back).to(tl.int64) * num_segments + columns
        goes_on = (tl.load(cut + place, mask=inside, other=1) == 0) & (back > 0)
        value = tl.load(values + place, mask=inside, other=0.0)
        ratio = tl.load(ratios + place, mask=inside, other=0.0)
        after = tl.load(following + place, mask=inside, other=0.0)
        reward = tl.load(rewards + place, mask=inside, other=0.0)
        counts = tl.load(live + place, mask=inside, other=0) != 0
        after = tl.where(goes_on, next_value, after)
        delta = tl.minimum(ratio, most_rho) * (reward + discount * after - value)
        carried = tl.minimum(ratio, most_c) * decay * advantage
        advantage = tl.where(counts, delta, 0.0) + tl.where(goes_on, carried, 0.0)
        tl.store(output + place, advantage, mask=inside)
        next_value = value
