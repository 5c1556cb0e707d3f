"""Problems for search methods: noisy learning curves over the unit cube whose true optimum is known.

Made to have what real training has, and to mislead in different ways:

valley    smooth, noise between seeds, costs that differ tenfold
liar      early scores rank configurations nearly upside down: what learns fast ends low
minefield a third of the space crashes, the optimum lies at the edge of it
needle    few dimensions, many local optima, heavy noise
broad     many dimensions of which few matter, dead seeds
cliffs    plateaus with jumps, like a table of real runs looked up by its nearest entry
takeoff   nothing is learnt until a run takes off, at a time that seed and configuration decide together: where the
          middle of the space lies, two runs in three never do, as in tasks with rare rewards

`table` reads a table of real learning curves instead: an .npz with the arrays `score` (runs, points),
`cost_seconds` and `agent_steps` of the same shape, and one array (runs,) per parameter; runs with equal
parameters are seeds of each other.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Array = NDArray[np.float64]
EARLIEST = 0.15
LATER = 2.0
POINTS = 50
"""Points of a full learning curve."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One run: scores and costs at POINTS equal steps of its length; NaN from where it has crashed."""

    score: Array
    cost: Array


@dataclass(frozen=True, slots=True)
class Shape:
    """What a synthetic problem is made of; see `Synthetic`."""

    dimensions: int
    active: int
    width: float = 0.35
    ripple: float = 0.0
    steps: int = 0
    speed: float = 0.3
    lie: float = 0.0
    noise: float = 0.05
    dead: float = 0.02
    crash: float = 0.0
    cost_range: float = 3.0
    takeoff: float = 0.0


SHAPES = {
    "valley8": Shape(8, 5, cost_range=10.0),
    "liar6": Shape(6, 4, lie=0.9, noise=0.03),
    "liar14": Shape(14, 5, lie=0.6),
    "minefield10": Shape(10, 5, crash=0.35, noise=0.04),
    "needle3": Shape(3, 3, width=0.22, ripple=0.25, noise=0.12, dead=0.05),
    "broad20": Shape(20, 6, width=0.4, dead=0.06),
    "cliffs4": Shape(4, 4, steps=6, width=0.3, noise=0.1),
    "takeoff8": Shape(8, 5, width=1.2, noise=0.03, dead=0.0, takeoff=0.5),
}


class Synthetic:
    """height(x) = exp(-sum of weighted squared distances from a hidden centre), rippled, quantised or mined.

    A run rises towards its height as 1 - exp(-t / tau(x)); with a lie, tau grows with the height, so that
    the best configurations are the slowest. Per-run noise scales the height, AR(1) noise the points. With a
    take-off, runs are flat until a log-normal time of their own, then rise within a tenth of full length; its median
    grows with the distance from another hidden centre, and runs whose time lies beyond full length have failed.
    """

    def __init__(self, name: str, shape: Shape) -> None:
        self.name = name
        self.shape = shape
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        d = self.dimensions = shape.dimensions
        self.names = tuple(f"x{i}" for i in range(d))
        self._centre = rng.uniform(0.15, 0.85, d)
        weight = np.full(d, 0.02)
        weight[rng.permutation(d)[: shape.active]] = rng.uniform(0.5, 1.2, shape.active)
        self._weight = weight
        self._pace = rng.normal(size=d) / math.sqrt(d)
        self._dear = rng.normal(size=d) / math.sqrt(d)
        normal = rng.normal(size=d) * (weight > 0.1)
        self._normal = normal / np.linalg.norm(normal)
        if shape.takeoff:
            self._early = rng.uniform(0.15, 0.85, d)
            # The middle of the space takes off at EARLIEST * exp(LATER), in the median: beyond full length.
            self._early_weight = weight * LATER / (weight * (0.5 - self._early) ** 2).sum()
        self.centre = np.full(d, 0.5)
        probe = np.random.default_rng(0)
        points = np.vstack(
            [probe.random((20_000, d)), np.clip(self._centre + 0.1 * probe.normal(size=(20_000, d)), 0, 1)]
        )
        truth = self._worth(points)
        for size in np.geomspace(0.1, 0.005, 30):
            top = points[np.argsort(-truth)[:50]]
            near = np.clip(np.repeat(top, 20, axis=0) + size * probe.normal(size=(1000, d)), 0, 1)
            points = np.vstack([top, near])
            truth = self._worth(points)
        self.best = float(truth.max())
        self.full_cost = float(np.median(self._cost(probe.random((1000, d)))))

    def truth(self, point: Array) -> float:
        """The expected share of the best score that a full run of this configuration reaches."""
        return float(self._worth(point[None])[0]) / self.best

    def run(self, point: Array, rng: np.random.Generator) -> Curve:
        """One noisy run."""
        shape = self.shape
        height = float(self._height(point[None])[0])
        t = np.arange(1, POINTS + 1) / POINTS
        pace = float(np.tanh(2 * ((point - 0.5) @ self._pace)))
        tau = 0.15 * math.exp(2 * shape.speed * pace + 3 * shape.lie * (height - 0.5))
        rise = (1 - np.exp(-t / tau)) / (1 - math.exp(-1 / tau))
        if shape.takeoff:
            rise = _risen(t, float(self._late(point[None])[0]) * math.exp(shape.takeoff * rng.normal()))
        noise = np.zeros(POINTS)
        for i, z in enumerate(rng.normal(size=POINTS)):
            noise[i] = 0.7 * (noise[i - 1] if i else 0.0) + z
        scale = 1 + shape.noise * rng.normal()
        score = height * rise * scale + 0.3 * shape.noise * noise * (0.2 + height * rise)
        if rng.random() < shape.dead:
            score = 0.02 * rng.random(POINTS)
        if self._mined(point[None])[0]:
            score[int(rng.integers(1, POINTS // 2)) :] = np.nan
        return Curve(score, float(self._cost(point[None])[0]) * t * math.exp(0.03 * rng.normal()))

    def _worth(self, points: Array) -> Array:
        """Expected final scores (n,), but for the share of seeds that are dead everywhere."""
        worth = np.where(self._mined(points), 0.0, self._height(points))
        if self.shape.takeoff:
            quantiles = ndtri((np.arange(200) + 0.5) / 200)
            begins = self._late(points)[:, None] * np.exp(self.shape.takeoff * quantiles)
            last = 1 - np.arange(POINTS // 10) / POINTS
            worth = worth * np.mean([_risen(t, begins).mean(1) for t in last], axis=0)
        return worth

    def _late(self, points: Array) -> Array:
        """Median times of take-off (n,), in full lengths."""
        offset = points - self._early
        return np.asarray(EARLIEST * np.exp((self._early_weight * offset * offset).sum(1)))

    def _height(self, points: Array) -> Array:
        if self.shape.steps:
            points = (np.floor(points * self.shape.steps) + 0.5) / self.shape.steps
        offset = points - self._centre
        distance = (self._weight * (offset / self.shape.width) ** 2).sum(1)
        waves = np.cos(6 * math.pi * offset[:, self._weight > 0.1]).mean(1)
        return np.asarray(np.exp(-distance) * (1 - self.shape.ripple * (1 - waves)))

    def _mined(self, points: Array) -> NDArray[np.bool_]:
        if not self.shape.crash:
            return np.zeros(len(points), dtype=bool)
        # The mines begin just behind the optimum.
        return np.asarray((points - self._centre) @ self._normal > 0.4 * (1 - self.shape.crash) * 0.3)

    def _cost(self, points: Array) -> Array:
        return np.asarray(
            100 * np.exp(math.log(self.shape.cost_range) * np.tanh(2 * (points - 0.5) @ self._dear))
        )


def _risen(t: Array | float, begins: Array | float) -> Array:
    return np.clip((t - np.asarray(begins)) / 0.1, 0.0, 1.0)


class Table:
    """Real runs: a configuration's run is one of the seeds of the nearest entry."""

    def __init__(self, path: Path) -> None:
        data = np.load(path)
        self.name = path.stem
        self.names = tuple(k for k in data.files if data[k].ndim == 1 and k != "seed")
        columns = np.stack([data[name].astype(float) for name in self.names], axis=1)
        self.dimensions = columns.shape[1]
        entries, index = np.unique(columns, axis=0, return_inverse=True)
        levels = [np.unique(columns[:, i]) for i in range(self.dimensions)]
        # Evenly spaced by rank: tables are grids, and their makers spaced them as they thought fit.
        self._entries = np.array(
            [
                [np.searchsorted(levels[i], v) / max(len(levels[i]) - 1, 1) for i, v in enumerate(row)]
                for row in entries
            ]
        )
        self._runs = [np.flatnonzero(index.reshape(-1) == i) for i in range(len(entries))]
        at = np.linspace(0, data["score"].shape[1] - 1, POINTS).round().astype(int)
        self._score = data["score"][:, at].astype(float)
        self._cost = data["cost_seconds"][:, at].astype(float)
        final = np.array([np.mean(self._score[runs, -POINTS // 10 :]) for runs in self._runs])
        self._final = (final - final.min()) / max(float(np.ptp(final)), 1e-12)
        self.full_cost = float(np.median(self._cost[:, -1]))
        self.centre = np.full(self.dimensions, 0.5)

    def truth(self, point: Array) -> float:
        """The mean final score of the nearest entry's seeds, 0 for the worst entry and 1 for the best."""
        return float(self._final[self._nearest(point)])

    def run(self, point: Array, rng: np.random.Generator) -> Curve:
        """One of the entry's seeds."""
        run = int(rng.choice(self._runs[self._nearest(point)]))
        return Curve(self._score[run].copy(), self._cost[run].copy())

    def _nearest(self, point: Array) -> int:
        return int(np.argmin(((self._entries - point) ** 2).sum(1)))


Problem = Synthetic | Table


def make_problem(name: str) -> Problem:
    """A synthetic problem by its name, or a table by its path."""
    if name in SHAPES:
        return Synthetic(name, SHAPES[name])
    return Table(Path(name))
