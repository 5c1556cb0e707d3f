"""A Gaussian process over (configuration, length, run): the value at full length, from short runs.

    y(r, x, v) = mean(v) + exp(-growth v) (value(x) + site(x) + seed(r)) + drift(x, v) + start(r, v) + noise

where v in [0, 1] is the distance from full length on a logarithmic axis (0 at full length):

value   of a configuration at full length: Matern-5/2 with a length scale per coordinate
drift   how short runs differ from it: a random walk in v that vanishes at full length, Matern-5/2 in x. Its amplitude
        is the distrust in short runs, learnt from the runs that were continued
site    what a configuration has of its own that no neighbour shares
seed    an offset per run: the luck of its seed; start: the part of that luck that wears off
growth  how much smaller all differences are in short runs. Runs that all stand still before they take off have
        nothing to show early; without it they would be evidence that nothing differs at full length either

Hyperparameters are a maximum a posteriori estimate by L-BFGS on analytic gradients, always from the prior's mode:
the fit is a function of the data alone, never of earlier fits. Related: freeze-thaw (Swersky et al. 2014), FABOLAS
(Klein et al. 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs
from scipy.optimize import minimize

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sweeper.thaw.records import Array

MEAN_VARIANCE = 4.0
JITTER = 1e-6
UNTHINKABLE = 1e12
"""Loss of hyperparameters under which the covariance has no factor; the line search turns back from them."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Observations: points (n, d), distances from full length, runs and configurations (n,) each.

    Runs and configurations are numbers; negative ones are of their own, whatever else has the same.
    `luck` scales the variance of the run's own offset: above 1 for runs that look like outliers.
    """

    x: Array
    v: Array
    run: Array
    site: Array
    luck: Array

    def __len__(self) -> int:
        return len(self.v)

    def take(self, index: NDArray[np.intp]) -> Rows:
        """Some of the rows."""
        return Rows(self.x[index], self.v[index], self.run[index], self.site[index], self.luck[index])


@dataclass(frozen=True, slots=True)
class Prior:
    """Modes and widths of the hyperparameters' log-normal priors; growth is no standard deviation but an exponent."""

    length_scale: float = 0.35
    length_scale_sd: float = 0.7
    value: float = 0.8
    value_sd: float = 0.5
    drift: float = 0.3
    drift_sd: float = 0.7
    noise: float = 0.1
    noise_sd: float = 0.7
    seed: float = 0.2
    seed_sd: float = 0.4
    start: float = 0.2
    start_sd: float = 0.5
    site: float = 0.02
    site_sd: float = 0.2
    growth: float = 0.1
    growth_sd: float = 1.2


class Surrogate:
    """See the module. `fit` first, then `predict`."""

    def __init__(self, dimensions: int, prior: Prior) -> None:
        self.d = dimensions
        amplitudes = [
            (prior.value, prior.value_sd),
            (prior.drift, prior.drift_sd),
            (prior.noise, prior.noise_sd),
            (prior.seed, prior.seed_sd),
            (prior.start, prior.start_sd),
            (prior.site, prior.site_sd),
            (prior.growth, prior.growth_sd),
        ]
        scale = prior.length_scale * math.sqrt(dimensions)
        self._mode = np.log(np.append(np.full(dimensions, scale), [mode for mode, _ in amplitudes]))
        self._width = np.append(
            np.full(dimensions, prior.length_scale_sd), [width for _, width in amplitudes]
        )
        self.theta = self._mode.copy()
        self._parts: _Parts | None = None

    # ---- hyperparameters by name: length scales, then standard deviations, then growth; logarithms all

    @property
    def _variances(self) -> Array:
        return _variances(self.theta, self.d)

    @property
    def growth(self) -> float:
        """Exponent by which differences grow from the lowest rung to full length."""
        return math.exp(self.theta[-1])

    def _size(self, v: Array) -> Array:
        """Of differences at these distances, in units of those at full length (n,)."""
        return _size(self.theta, v)

    @property
    def noise_variance(self) -> float:
        """Of one observation, without the run's own offset."""
        return float(self._variances[2])

    @property
    def seed_variance(self) -> float:
        """Of a run's offset at full length."""
        return float(self._variances[3])

    def tune(self, rows: Rows, y: Array, iterations: int) -> None:
        """Sets the hyperparameters to their maximum a posteriori, starting at the prior's mode."""
        blocks = _Blocks(rows)

        def objective(offset: Array) -> tuple[float, Array]:
            # In units of the prior's widths, so that no hyperparameter is stiffer than another.
            self.theta = self._mode + self._width * offset
            value, gradient = self._negative_log_posterior(rows, y, blocks)
            return value, gradient * self._width

        start = np.zeros_like(self._mode)
        result = minimize(
            objective, start, jac=True, method="L-BFGS-B", bounds=[(-3.5, 3.5)] * len(start),
            options={"maxiter": iterations, "maxcor": 10},
        )  # fmt: skip
        self.theta = self._mode + self._width * result.x

    def fit(self, rows: Rows, y: Array) -> None:
        """Conditions on observations under the current hyperparameters."""
        if self._parts is None or not self._parts.are_of(rows, self.theta):
            self._parts = _Parts(rows, rows, self.theta)
        k = self._parts.covariance(rows.luck)
        k[np.diag_indices(len(rows))] += self.noise_variance + JITTER
        self._chol = cholesky(k, lower=True, check_finite=False, overwrite_a=True)
        self._alpha = cho_solve((self._chol, True), y, check_finite=False)
        self._rows = rows

    def outlyingness(self) -> tuple[Array, Array]:
        """For each row, the squared size of its run's offset in units of the seed's variance, and its sign (n,).

        The expected square under the posterior, as the E-step of a Student-t distribution of offsets wants it.
        """
        rows, variance = self._rows, self.seed_variance
        # Once for each run: its rows share its offset.
        runs, first, of_row = np.unique(rows.run, return_index=True, return_inverse=True)
        luck = rows.luck[first]
        own = (rows.run[:, None] == runs) * self._size(rows.v)[:, None]
        offset = variance * luck * (own.T @ self._alpha)
        half = solve_triangular(self._chol, own, lower=True, check_finite=False)
        left = variance * luck - (variance * luck) ** 2 * (half * half).sum(0)
        size = (offset * offset + np.maximum(left, 0.0)) / variance
        return np.asarray(size[of_row]), np.sign(offset)[of_row]

    def predict(self, at: Rows, *, own: bool = False) -> tuple[Array, Array, Array]:
        """Mean (m,), variance (m,) and whitened covariance with the data (n, m).

        Args:
            at: where; a run number that no observation has is a fresh run.
            own: of the run itself, its offset included, rather than of its configuration.
        """
        cross = self.covariance(at, self._rows)
        white = solve_triangular(self._chol, cross.T, lower=True, check_finite=False)
        variance = self.variance(at, own=own) - (white * white).sum(0)
        return cross @ self._alpha, np.maximum(variance, 1e-9), white

    def covariance(self, a: Rows, b: Rows) -> Array:
        """Prior covariance (n, m) of two sets of rows, without noise."""
        return _Parts(a, b, self.theta).covariance(a.luck)

    def variance(self, at: Rows, *, own: bool) -> Array:
        """Prior variance (m,)."""
        value, drift, _, seed, start, site = self._variances
        size = self._size(at.v) ** 2
        variance = (value + site) * size + drift * at.v + MEAN_VARIANCE * (1 + at.v**2 + at.v**4)
        return np.asarray(variance + (seed * at.luck * size + start * at.v if own else 0.0))

    def full_length_covariance(self, v: Array) -> Array:
        """Prior covariance (n,) of a configuration's value at full length with looks at it from these distances."""
        return np.asarray((self._variances[0] + self._variances[5]) * self._size(v) + MEAN_VARIANCE)

    def _negative_log_posterior(
        self, rows: Rows, y: Array, blocks: _Blocks | None = None
    ) -> tuple[float, Array]:
        d, n = self.d, len(y)
        blocks = _Blocks(rows) if blocks is None else blocks
        value, drift, noise, seed, start, site = self._variances
        x = rows.x / np.exp(self.theta[:d])
        matern, dmatern = _matern(x, x)
        size = self._size(rows.v)
        grown = np.outer(size, size)
        radial = drift * blocks.nearer
        radial += value * grown
        k = matern * radial
        k += blocks.mean
        grown_pairs = grown.reshape(-1)[blocks.pairs]
        own = seed * blocks.luck + site
        k.reshape(-1)[blocks.pairs] += own * grown_pairs + start * blocks.same_nearer
        k[np.diag_indices(n)] += noise + JITTER
        # LAPACK itself: at this size, the wrappers' checks would cost as much as the factorisation. Seen from the
        # other side, a symmetric matrix in rows is one in columns, which LAPACK takes without a copy.
        chol, failed = dpotrf(k.T, lower=1, clean=0, overwrite_a=1)
        if failed:
            return UNTHINKABLE, np.zeros_like(self.theta)
        alpha, _ = dpotrs(chol, y, lower=1)
        log_determinant = float(np.log(np.diag(chol)).sum())
        inverse = dpotri(chol, lower=1, overwrite_c=1)[0].T
        # Only the upper triangle counts; off the diagonal it stands for both halves.
        w = np.outer(alpha, alpha)
        w -= inverse
        w *= blocks.halves
        off = (self.theta - self._mode) / self._width
        loss = 0.5 * float(y @ alpha) + log_determinant + 0.5 * float(off @ off)
        gradient = np.empty_like(self.theta)
        dmatern *= w
        dmatern *= radial
        gradient[:d] = 0.5 * ((dmatern.sum(1) + dmatern.sum(0)) @ (x * x))
        gradient[:d] -= np.einsum("ij,ij->j", x, dmatern @ x)
        matern *= w
        pairs = w.reshape(-1)[blocks.pairs]
        grown_pairs *= pairs
        grown *= matern
        shrunk = value * (rows.v @ (grown.sum(0) + grown.sum(1))) + blocks.both @ (own * grown_pairs)
        gradient[d:] = (
            value * grown.sum(),
            drift * np.vdot(matern, blocks.nearer),
            noise * np.trace(w),
            seed * (grown_pairs @ blocks.luck),
            start * (pairs @ blocks.same_nearer),
            site * grown_pairs.sum(),
            -0.5 * self.growth * shrunk,
        )
        return loss, off / self._width - gradient


class _Parts:
    """The covariance of two sets of rows, taken apart.

    Each round of finding outliers changes luck alone; kernels of points, which cost most, stay as they are.
    """

    def __init__(self, a: Rows, b: Rows, theta: Array) -> None:
        self._of, self._theta = a, theta
        d = a.x.shape[1]
        value, drift, _, self._seed, start, site = _variances(theta, d)
        scale = np.exp(theta[:d])
        nearer = np.minimum(a.v[:, None], b.v)
        size = np.outer(_size(theta, a.v), _size(theta, b.v))
        self._shared, _ = _matern(a.x / scale, b.x / scale)
        self._shared *= drift * nearer + value * size
        same = (a.run[:, None] == b.run) & (b.run >= 0)
        self._start = start * nearer
        self._start *= same
        self._size = size * same
        self._site = site * size
        self._site *= (a.site[:, None] == b.site) & (b.site >= 0)
        self._mean = _mean_covariance(a.v, b.v)

    def are_of(self, rows: Rows, theta: Array) -> bool:
        """Whether they belong to these rows with themselves, whatever their luck, and to these hyperparameters."""
        of = self._of
        same = rows.x is of.x and rows.v is of.v and rows.run is of.run and rows.site is of.site
        return same and np.array_equal(theta, self._theta)

    def covariance(self, luck: Array) -> Array:
        """Put together again, for this luck of the first set (n, m)."""
        k = (self._seed * luck)[:, None] * self._size
        k += self._start
        k += self._shared
        k += self._site
        k += self._mean
        return np.asarray(k)


class _Blocks:
    """What the covariance of a set of rows is made of as far as no hyperparameter enters (n, n).

    Rows of one configuration are few: `pairs` are their places in the flattened matrix (p,), `both` the sums of
    their distances (p,), `luck` and `same_nearer` what those of them have that belong to one run (p,).
    """

    def __init__(self, rows: Rows) -> None:
        v = rows.v
        self.nearer = np.minimum(v[:, None], v)
        self.mean = _mean_covariance(v, v)
        self.halves = 2 * np.tri(len(v)).T - np.eye(len(v))
        self.pairs = np.flatnonzero(rows.site[:, None] == rows.site)
        i, j = np.divmod(self.pairs, len(v))
        same = (rows.run[i] == rows.run[j]).astype(float)
        self.both = v[i] + v[j]
        self.luck = same * rows.luck[i]
        self.same_nearer = same * np.minimum(v[i], v[j])


def _variances(theta: Array, dimensions: int) -> Array:
    return np.asarray(np.exp(2 * theta[dimensions:-1]))


def _size(theta: Array, v: Array) -> Array:
    return np.asarray(np.exp(-math.exp(theta[-1]) * v))


def _mean_covariance(a: Array, b: Array) -> Array:
    both = np.outer(a, b)
    k = both * both
    k += both
    k += 1.0
    k *= MEAN_VARIANCE
    return np.asarray(k)


def _matern(a: Array, b: Array) -> tuple[Array, Array]:
    """Matern-5/2 of scaled points, and its derivative by the squared coordinate distances (times two).

    In place: at these sizes fresh memory for each term costs as much as the arithmetic.
    """
    r = a @ b.T
    r *= -10.0
    r += 5 * (a * a).sum(1)[:, None]
    r += 5 * (b * b).sum(1)
    np.maximum(r, 0.0, out=r)
    np.sqrt(r, out=r)
    decay = np.negative(r)
    np.exp(decay, out=decay)
    slope = r + 1
    slope *= decay
    r *= r
    r *= decay
    r /= 3
    r += slope
    slope *= 5 / 3
    return r, slope
