"""Gymnasium's CartPole for many environments at once, in NumPy: bit by bit what its single environments do.

Gymnasium's own vector environment draws all initial states from one generator and spends a step on every
reset. Here each environment has its own generator, seeded as `gymnasium.make` would, and begins the next
episode in the step that ends one, so that trajectories are those of environments stepped one by one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from gymnasium.utils.seeding import np_random

from trainer.envs.layout import ActionLayout
from trainer.envs.shard import NOTHING_TO_REPORT, Array, Report, Shard, Slots

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trainer.envs.layout import ObservationLayout

# Arrays without axes, which NumPy multiplies twice as fast as Python's numbers.
_GRAVITY, _POLE_MASS, _HALF_POLE, _TOTAL_MASS = (np.array(number) for number in (9.8, 0.1, 0.5, 0.1 + 1.0))
_POLE_MOMENT, _STEP_SECONDS, _FOUR_THIRDS = (np.array(number) for number in (0.1 * 0.5, 0.02, 4.0 / 3.0))
_FORCES = np.array([-10.0, 10.0])
_LIMITS = np.array([[2.4], [12 * 2 * math.pi / 360]])
"""Of the cart's position and the pole's angle."""
_START_REACH = 0.05
_STARTS_AHEAD = 32
"""Initial states drawn at a time; one by one, drawing would cost more than stepping."""


class CartpoleShard(Shard):
    """N environments with their state in double precision, as Gymnasium keeps it.

    The state is one (4, N) array: position, angle, speed, angular speed. So places and speeds lie together.

    Args:
        num_envs: N.
        layout: of one observation.
        max_episode_steps: after which an episode is truncated.
        sutton_barto_reward: 0 a step and -1 for a fall instead of 1 a step.
    """

    always_finite = True

    def __init__(
        self,
        num_envs: int,
        layout: ObservationLayout,
        max_episode_steps: int,
        *,
        sutton_barto_reward: bool = False,
    ) -> None:
        self.num_envs = num_envs
        self._layout = layout
        self.action_layout = ActionLayout("discrete", sizes=(2,))
        self.cursor = np.full(1, -1, np.int64)
        self._max_steps = max_episode_steps
        self._pays_for_falls_only = sutton_barto_reward
        self._state = np.zeros((4, num_envs))
        self._slopes = np.zeros((4, num_envs))
        self._work = np.zeros((4, num_envs))
        self._by_env = self._state.reshape(2, 2, num_envs).transpose(2, 1, 0)
        self._limits = np.repeat(_LIMITS, num_envs, axis=1)
        self._reached = np.zeros((2, num_envs))
        self._beyond = np.zeros((2, num_envs), np.bool_)
        self._lengths = np.zeros(num_envs, np.int64)
        self._generators: list[np.random.Generator] = []
        self._starts = np.zeros((num_envs, _STARTS_AHEAD, 4))
        self._drawn = np.zeros(num_envs, np.int64)
        # No episode can reach its limit before so many steps: saves the comparison in most steps.
        self._soonest_limit = 0

    @property
    def observation_layout(self) -> ObservationLayout:
        """Position, speed, angle, angular speed."""
        return self._layout

    def reset(self, seed: int, slots: Slots) -> None:
        """Begin all episodes anew."""
        self._generators = [np_random(seed + index)[0] for index in range(self.num_envs)]
        everybody = np.arange(self.num_envs)
        self._draw(everybody)
        self._begin(everybody)
        self._soonest_limit = self._max_steps
        slots.begin()
        self._show(slots)

    def _show(self, slots: Slots) -> None:
        slots.observations.reshape(self.num_envs, 2, 2)[...] = self._by_env

    def _draw(self, rows: Iterable[int]) -> None:
        """Draw the next initial states of some environments."""
        for row in rows:
            drawn = self._generators[row].uniform(-_START_REACH, _START_REACH, (_STARTS_AHEAD, 4))
            self._starts[row] = drawn[:, [0, 2, 1, 3]]
            self._drawn[row] = 0

    def _begin(self, rows: Array) -> None:
        """Put environments into their next initial state."""
        places = self._drawn[rows]
        self._state[:, rows] = self._starts[rows, places].T
        places += 1
        self._drawn[rows] = places
        if places.max() == _STARTS_AHEAD:
            self._draw(rows[places == _STARTS_AHEAD])
        self._lengths[rows] = 0

    def step(self, actions: Array, slots: Slots) -> Report:
        """Step every environment. The order of the arithmetic is Gymnasium's, so that rounding is too."""
        state, slopes, multiply, divide = self._state, self._slopes, np.multiply, np.divide
        angle, spin = state[1], state[3]
        sine, cosine, push, lever = self._work
        np.sin(angle, sine)
        np.cos(angle, cosine)
        np.square(spin, push)
        multiply(push, _POLE_MOMENT, push)
        multiply(push, sine, push)
        np.add(push, _FORCES[actions[:, 0]], push)
        divide(push, _TOTAL_MASS, push)
        np.square(cosine, lever)
        multiply(lever, _POLE_MASS, lever)
        divide(lever, _TOTAL_MASS, lever)
        np.subtract(_FOUR_THIRDS, lever, lever)
        multiply(lever, _HALF_POLE, lever)
        faster = slopes[3]
        multiply(cosine, push, faster)
        multiply(sine, _GRAVITY, sine)
        np.subtract(sine, faster, faster)
        divide(faster, lever, faster)
        multiply(faster, _POLE_MOMENT, lever)
        multiply(lever, cosine, lever)
        divide(lever, _TOTAL_MASS, lever)
        np.subtract(push, lever, slopes[2])
        slopes[:2] = state[2:]
        multiply(slopes, _STEP_SECONDS, slopes)
        np.add(state, slopes, state)

        np.abs(state[:2], self._reached)
        np.greater(self._reached, self._limits, self._beyond)
        terminated = slots.terminated
        np.logical_or(self._beyond[0], self._beyond[1], terminated)
        if self._pays_for_falls_only:
            np.negative(terminated, out=slots.rewards, dtype=np.float32, casting="unsafe")
        else:
            slots.rewards.fill(1.0)
        self._lengths += 1
        self._soonest_limit -= 1
        if self._soonest_limit <= 0:
            np.greater_equal(self._lengths, self._max_steps, out=slots.truncated)
            slots.truncated &= ~terminated
            np.logical_or(terminated, slots.truncated, out=slots.ended)
        else:
            slots.truncated.fill(False)
            slots.ended[...] = terminated
        rows = slots.ended.nonzero()[0]
        if len(rows):
            self._end(rows, slots)
        if self._soonest_limit <= 0:
            self._soonest_limit = self._max_steps - int(self._lengths.max())
        self._show(slots)
        return NOTHING_TO_REPORT

    def _end(self, rows: Array, slots: Slots) -> None:
        """Tell of episodes that have ended and begin the next ones."""
        lengths = self._lengths[rows]
        slots.lengths[rows] = lengths
        slots.returns[rows] = (
            -slots.terminated[rows].astype(np.float64) if self._pays_for_falls_only else lengths
        )
        if self._soonest_limit <= 0 and slots.truncated.any():
            cut = slots.truncated
            slots.final_observations[cut] = self._by_env[cut].reshape(-1, 4)
        self._begin(rows)

    def close(self) -> None:
        """Nothing to free."""
