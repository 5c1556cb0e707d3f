"""A Gaussian process over (configuration, length, run): the value at full length, from short runs.

    y(r, x, v) = mean(v) + trend(x) + rest(x) + v * slope(x) + drift(x, v)
                 + site(x) + seed(r) + start(r, v) + noise

where v in [0, 1] is the distance from full length on a logarithmic axis (0 at full length):

trend   linear and quadratic in every coordinate, with a relevance of its own for each: responses to
        hyperparameters are mostly valleys, and 2 d numbers are learnt from far fewer runs than a free
        function of d coordinates
rest    what the trend misses: Matern-5/2 with a length scale per coordinate
slope   how the trend differs early in a run, linear in v
drift   the same, free: a random walk in v that vanishes at full length, Matern-5/2 in x. The amplitudes of
        slope and drift are the distrust in short runs, learnt from the runs that were continued
site    what a configuration has of its own that no neighbour shares
seed    an offset per run: the luck of its seed; start: the part of that luck that wears off

Hyperparameters are a maximum a posteriori estimate by L-BFGS on analytic gradients, always from the prior's
mode: the fit is a function of the data alone, never of earlier fits. Related: freeze-thaw (Swersky et al.
2014), FABOLAS (Klein et al. 2017), additive kernels (Duvenaud et al. 2011).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sweeper.thaw.records import Array

MEAN_VARIANCE = 4.0
JITTER = 1e-6
QUADRATIC = 0.5
"""Prior variance of a quadratic coefficient, relative to the linear one."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Observations: points (n, d), distances from full length, runs and configurations (n,) each."""

    x: Array
    v: Array
    run: Array
    site: Array

    def __len__(self) -> int:
        return len(self.v)

    def take(self, index: NDArray[np.intp]) -> Rows:
        """Some of the rows."""
        return Rows(self.x[index], self.v[index], self.run[index], self.site[index])


@dataclass(frozen=True, slots=True)
class Prior:
    """Modes and widths of the hyperparameters' log-normal priors."""

    length_scale: float = 0.5
    length_scale_sd: float = 0.5
    trend: float = 0.4
    trend_sd: float = 1.0
    rest: float = 0.6
    rest_sd: float = 0.5
    slope: float = 0.5
    slope_sd: float = 0.7
    drift: float = 0.3
    drift_sd: float = 0.7
    noise: float = 0.1
    noise_sd: float = 0.7
    seed: float = 0.12
    seed_sd: float = 0.4
    start: float = 0.15
    start_sd: float = 0.5
    site: float = 0.1
    site_sd: float = 0.4


class Surrogate:
    """See the module. `fit` first, then `predict`."""

    def __init__(self, dimensions: int, prior: Prior) -> None:
        self.d = dimensions
        modes = [prior.rest, prior.slope, prior.drift, prior.noise, prior.seed, prior.start, prior.site]
        widths = [
            prior.rest_sd,
            prior.slope_sd,
            prior.drift_sd,
            prior.noise_sd,
            prior.seed_sd,
            prior.start_sd,
            prior.site_sd,
        ]
        self._mode = np.log(
            np.concatenate(
                [
                    np.full(dimensions, prior.length_scale * math.sqrt(dimensions)),
                    np.full(dimensions, prior.trend),
                    modes,
                ]
            )
        )
        self._width = np.concatenate(
            [np.full(dimensions, prior.length_scale_sd), np.full(dimensions, prior.trend_sd), widths]
        )
        self.theta = self._mode.copy()

    # ---- hyperparameters by name

    @property
    def _variances(self) -> Array:
        return np.asarray(np.exp(2 * self.theta[2 * self.d :]))

    @property
    def noise_variance(self) -> float:
        """Of one observation, without the run's own offset."""
        return float(self._variances[3])

    @property
    def seed_variance(self) -> float:
        """Of a run's offset at full length."""
        return float(self._variances[4])

    def tune(self, rows: Rows, y: Array, iterations: int) -> None:
        """Sets the hyperparameters to their maximum a posteriori, starting at the prior's mode."""

        def objective(offset: Array) -> tuple[float, Array]:
            # In units of the prior's widths, so that no hyperparameter is stiffer than another.
            self.theta = self._mode + self._width * offset
            value, gradient = self._negative_log_posterior(rows, y)
            return value, gradient * self._width

        start = np.zeros_like(self._mode)
        result = minimize(
            objective, start, jac=True, method="L-BFGS-B", bounds=[(-3.5, 3.5)] * len(start),
            options={"maxiter": iterations, "maxcor": 10},
        )  # fmt: skip
        self.theta = self._mode + self._width * result.x

    def fit(self, rows: Rows, y: Array) -> None:
        """Conditions on observations under the current hyperparameters."""
        k = self.covariance(rows, rows)
        k[np.diag_indices(len(rows))] += self.noise_variance + JITTER
        self._chol = cholesky(k, lower=True, check_finite=False, overwrite_a=True)
        self._alpha = cho_solve((self._chol, True), y, check_finite=False)
        self._rows = rows

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
        rest, slope, drift, _, seed, start, site = self._variances
        scale = np.exp(self.theta[: self.d])
        relevance = np.exp(2 * self.theta[self.d : 2 * self.d])
        matern, _ = _matern(a.x / scale, b.x / scale)
        nearer = np.minimum(a.v[:, None], b.v[None])
        za, zb = 2 * a.x - 1, 2 * b.x - 1
        linear = (za * relevance) @ zb.T
        quadratic = (_bend(za) * (QUADRATIC * relevance)) @ _bend(zb).T
        same = a.run[:, None] == b.run[None]
        k = linear * (1 + slope * np.outer(a.v, b.v)) + quadratic
        k += matern * (rest + drift * nearer)
        k += same * (seed + start * nearer) + (a.site[:, None] == b.site[None]) * site
        k += self._mean_covariance(a.v, b.v)
        return np.asarray(k)

    def variance(self, at: Rows, *, own: bool) -> Array:
        """Prior variance (m,)."""
        rest, slope, drift, _, seed, start, site = self._variances
        relevance = np.exp(2 * self.theta[self.d : 2 * self.d])
        z = 2 * at.x - 1
        value = (z * z) @ relevance * (1 + slope * at.v**2) + (_bend(z) ** 2) @ (QUADRATIC * relevance)
        value += rest + site + drift * at.v + MEAN_VARIANCE * (1 + at.v**2 + at.v**4)
        return np.asarray(value + (seed + start * at.v if own else 0.0))

    def full_length_covariance(self, x: Array) -> Array:
        """Prior covariance (m,) of a configuration's value at full length with a look at it at any length."""
        relevance = np.exp(2 * self.theta[self.d : 2 * self.d])
        z = 2 * x - 1
        trend = (z * z) @ relevance + (_bend(z) ** 2) @ (QUADRATIC * relevance)
        return np.asarray(trend + self._variances[0] + self._variances[6] + MEAN_VARIANCE)

    @staticmethod
    def _mean_covariance(a: Array, b: Array) -> Array:
        both = np.outer(a, b)
        return np.asarray(MEAN_VARIANCE * (1 + both + both * both))

    def _negative_log_posterior(self, rows: Rows, y: Array) -> tuple[float, Array]:
        d, n = self.d, len(y)
        rest, slope, drift, noise, seed, start, site = self._variances
        scale = np.exp(self.theta[:d])
        relevance = np.exp(2 * self.theta[d : 2 * d])
        x, v = rows.x / scale, rows.v
        matern, dmatern = _matern(x, x)
        nearer = np.minimum(v[:, None], v[None])
        z = 2 * rows.x - 1
        q = _bend(z)
        vz = v[:, None] * z
        same = (rows.run[:, None] == rows.run[None]).astype(float)
        linear_v = (vz * relevance) @ vz.T
        k = (z * relevance) @ z.T + slope * linear_v + (q * (QUADRATIC * relevance)) @ q.T
        radial = rest + drift * nearer
        place = (rows.site[:, None] == rows.site[None]).astype(float)
        k += matern * radial + same * (seed + start * nearer) + site * place + self._mean_covariance(v, v)
        k[np.diag_indices(n)] += noise + JITTER
        chol = cholesky(k, lower=True, check_finite=False)
        alpha = cho_solve((chol, True), y, check_finite=False)
        inverse = np.tril(dpotri(chol, lower=1)[0])
        w = np.outer(alpha, alpha) - (inverse + np.tril(inverse, -1).T)
        off = (self.theta - self._mode) / self._width
        value = 0.5 * float(y @ alpha) + float(np.log(np.diag(chol)).sum()) + 0.5 * float(off @ off)
        gradient = np.empty_like(self.theta)
        p = w * dmatern * radial
        gradient[:d] = (p.sum(1)[:, None] * x * x).sum(0) - (x * (p @ x)).sum(0)
        quadratic_form = (z * (w @ z)).sum(0) + QUADRATIC * (q * (w @ q)).sum(0)
        slope_form = (vz * (w @ vz)).sum(0)
        gradient[d : 2 * d] = relevance * (quadratic_form + slope * slope_form)
        wm = w * matern
        gradient[2 * d] = rest * wm.sum()
        gradient[2 * d + 1] = slope * float(slope_form @ relevance)
        gradient[2 * d + 2] = drift * (wm * nearer).sum()
        gradient[2 * d + 3] = noise * np.trace(w)
        ws = w * same
        gradient[2 * d + 4] = seed * ws.sum()
        gradient[2 * d + 5] = start * (ws * nearer).sum()
        gradient[2 * d + 6] = site * (w * place).sum()
        return value, off / self._width - gradient


def _bend(z: Array) -> Array:
    """Quadratic feature of z in [-1, 1], orthogonal to the linear one and to a constant."""
    return 1.5 * z * z - 0.5


def _matern(a: Array, b: Array) -> tuple[Array, Array]:
    """Matern-5/2 of scaled points, and its derivative by the squared coordinate distances (times two)."""
    squared = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T
    r = np.sqrt(5 * np.maximum(squared, 0.0))
    decay = np.exp(-r)
    return (1 + r + r * r / 3) * decay, (5 / 3) * (1 + r) * decay
