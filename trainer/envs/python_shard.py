"""Environments with Gymnasium's single-environment interface, stepped one after the other."""

from __future__ import annotations

import traceback
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.envs.shard import FAULTS, NOTHING_TO_REPORT, Array, FaultyEnvironmentError, Report, Shard, Slots
from trainer.envs.spaces import ActionCodec, ObservationCodec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import gymnasium

    from trainer.envs.layout import ObservationLayout


class PythonShard(Shard):
    """Steps Gymnasium environments in order and begins the next episode in the step that ends one.

    Args:
        envs: environments of one kind; closed with the shard.
        name: for messages.
    """

    def __init__(self, envs: Sequence[gymnasium.Env[Any, Any]], name: str) -> None:
        self.num_envs = len(envs)
        self.name = name
        self._envs = list(envs)
        self._observations = ObservationCodec(envs[0].observation_space, name)
        self._actions = ActionCodec(envs[0].action_space, name)
        self.cursor = np.full(1, -1, np.int64)
        self.action_layout = self._actions.layout
        self._returns = [0.0] * self.num_envs
        self._lengths = [0] * self.num_envs

    @property
    def observation_layout(self) -> ObservationLayout:
        """From the observation space."""
        return self._observations.layout

    def reset(self, seed: int, slots: Slots) -> None:
        """Begin all episodes anew."""
        slots.begin()
        for index, env in enumerate(self._envs):
            self.cursor[0] = index
            self._begin(index, env, slots, seed + index)

    def _begin(self, index: int, env: gymnasium.Env[Any, Any], slots: Slots, seed: int | None = None) -> None:
        try:
            observation, _ = env.reset(seed=seed)
            self._observations.write(observation, slots.observations[index])
        except FAULTS as error:
            raise _fault(index, "failed in reset", error) from error
        self._returns[index] = 0.0
        self._lengths[index] = 0

    def step(self, actions: Array, slots: Slots) -> Report:
        """Step every environment; those whose episode ends are reset at once."""
        extras: dict[int, Mapping[str, float]] = {}
        slots.ended.fill(False)
        write, read = self._observations.write, self._actions.read
        rewards, terminations, truncations = slots.rewards, slots.terminated, slots.truncated
        cursor = self.cursor
        for index, env in enumerate(self._envs):
            cursor[0] = index
            action = read(actions[index])
            try:
                observation, reward, terminated, truncated, info = env.step(action)
                write(observation, slots.observations[index])
                raw = float(reward)
            except FAULTS as error:
                raise _fault(index, "failed in step", error, action) from error
            rewards[index] = raw
            terminations[index] = terminated
            truncations[index] = truncated and not terminated
            self._returns[index] += raw
            self._lengths[index] += 1
            if terminated or truncated:
                if truncated:
                    slots.final_observations[index] = slots.observations[index]
                slots.ended[index] = True
                slots.returns[index] = self._returns[index]
                slots.lengths[index] = self._lengths[index]
                reported = numbers_of(info)
                if reported:
                    extras[index] = reported
                self._begin(index, env, slots)
        return Report(extras) if extras else NOTHING_TO_REPORT

    def close(self) -> None:
        """Close every environment, also those after one that fails to."""
        envs, self._envs = self._envs, []
        failures = []
        for index, env in enumerate(envs):
            try:
                env.close()
            except Exception as error:  # noqa: BLE001 - the rest must be closed all the same; raised below
                failures.append(_fault(index, "failed in close", error))
        if failures:
            raise failures[0]


def _fault(index: int, what: str, error: BaseException, action: Any = None) -> FaultyEnvironmentError:
    text = "".join(traceback.format_exception(error))
    shown = None if action is None else repr(action)
    return FaultyEnvironmentError(index, f"{what}: {type(error).__name__}: {error}", action=shown, cause=text)


def numbers_of(info: Mapping[str, Any]) -> dict[str, float]:
    """The plain numbers that an environment reports at an episode's end."""
    found = {}
    for name, value in info.items():
        number = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
        if isinstance(number, Real | np.bool_):
            found[str(name)] = float(number)
    return found
