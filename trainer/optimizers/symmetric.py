"""Newton and Schulz's iteration on a large Gram matrix, where every product is known to be symmetric.

All matrices of that iteration are polynomials of the Gram matrix. Of each product the blocks on and below the diagonal
are computed, row of blocks by row of blocks, and the others are mirror images: with four rows of blocks 5/8 of the
arithmetic. The plain form, that of `muon.orthogonalise`, is what it must equal.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

SMALLEST_SIDE = 256
"""Below it four products of thin blocks take longer than a whole one."""

_NUM_BLOCKS = 4


def pays(wide: torch.Tensor, aspect: float) -> bool:
    """Whether a matrix (n, m), n <= m, is one that `left_factor` is quicker for."""
    rows, columns = wide.shape[-2:]
    return wide.ndim == 2 and not wide.is_cuda and rows >= SMALLEST_SIDE and columns >= aspect * rows


def left_factor(
    wide: torch.Tensor, eps: float | torch.Tensor, coefficients: tuple[float, float, float], num_steps: int
) -> torch.Tensor:
    """The matrix P (n, n) for which P @ wide is what `num_steps` steps make of a matrix (n, m).

    The matrix itself is not scaled first; its norm is the root of its Gram matrix's trace.
    """
    a, b, c = coefficients
    bounds = [len(wide) * block // _NUM_BLOCKS for block in range(_NUM_BLOCKS + 1)]
    gram, factor, product, other, spare = (wide.new_empty(len(wide), len(wide)) for _ in range(5))
    _multiply(wide, wide.mT, gram, bounds)
    scale = 1.0 / (gram.trace().sqrt() + eps)
    gram.mul_(scale * scale)
    for step in range(num_steps):
        _multiply(gram, gram, factor, bounds, add=(gram, b), alpha=c)
        factor.diagonal().add_(a)
        if step == 0:
            torch.mul(factor, scale, out=product)
        else:
            # Whole: mirrored, its rounding would reach directions in which the matrix is next to nothing
            # and P several hundred (errors of 1e-3 on steep spectra instead of 4e-5).
            torch.mm(factor, product, out=other)
            product, other = other, product
        if step < num_steps - 1:
            _multiply(factor, gram, other, bounds)
            _multiply(factor, other, spare, bounds)
            gram, spare = spare, gram
    return product


def _multiply(
    left: torch.Tensor,
    right: torch.Tensor,
    out: torch.Tensor,
    bounds: Sequence[int],
    *,
    add: tuple[torch.Tensor, float] | None = None,
    alpha: float = 1.0,
) -> None:
    """`out` = alpha * left @ right + beta * addend, (n, k) by (k, n), where that is symmetric."""
    for first, last in itertools.pairwise(bounds):
        rows, place = left[first:last], out[first:last, :last]
        if add is None:
            torch.mm(rows, right[:, :last], out=place)
        else:
            torch.addmm(add[0][first:last, :last], rows, right[:, :last], beta=add[1], alpha=alpha, out=place)
        if first:
            out[:first, first:last] = place[:, :first].mT
