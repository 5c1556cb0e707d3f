"""Multi-agent environments with PettingZoo's parallel interface: dictionaries by agent's name.

Every agent that may ever appear has a row. Rows of agents that are not there are zero and not live; when no
agent is left, the next episode begins in the same step.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.envs.python_shard import numbers_of
from trainer.envs.shard import (
    FAULTS,
    NOTHING_TO_REPORT,
    Array,
    EpisodeCounter,
    FaultyEnvironmentError,
    Report,
    Shard,
)
from trainer.envs.spaces import ActionCodec, ObservationCodec
from trainer.errors import EnvironmentMakeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.envs.layout import ObservationLayout
    from trainer.envs.shard import Slots


def is_parallel(env: Any) -> bool:
    """Whether an object has PettingZoo's parallel interface."""
    return hasattr(env, "possible_agents") and callable(getattr(env, "observation_space", None))


class ParallelShard(Shard):
    """Steps multi-agent environments one after the other.

    Args:
        envs: of one kind; all agents must have the same spaces.
        name: for messages.

    Raises:
        EnvironmentMakeError: agents with different spaces.
    """

    def __init__(self, envs: Sequence[Any], name: str) -> None:
        first = envs[0]
        self._agents = list(first.possible_agents)
        self.num_envs = len(envs)
        self.agents_per_env = len(self._agents)
        self.name = name
        self.cursor = np.full(1, -1, np.int64)
        spaces = {(str(first.observation_space(one)), str(first.action_space(one))) for one in self._agents}
        if len(spaces) != 1:
            raise EnvironmentMakeError(
                f"{name} has agents that differ in what they see or do.",
                rule="One policy plays all agents, so their spaces must be equal.",
                remedy="Wrap the environment so that it pads them.",
            )
        self._envs = list(envs)
        self._observations = ObservationCodec(first.observation_space(self._agents[0]), name)
        self._actions = ActionCodec(first.action_space(self._agents[0]), name)
        self.action_layout = self._actions.layout
        self._counter = EpisodeCounter(self.num_rows)
        self._present = np.zeros(self.num_rows, np.bool_)

    @property
    def observation_layout(self) -> ObservationLayout:
        """From the observation space that all agents share."""
        return self._observations.layout

    def reset(self, seed: int, slots: Slots) -> None:
        """Begin all episodes anew."""
        slots.begin()
        self._counter.begin()
        for index, env in enumerate(self._envs):
            self.cursor[0] = index
            self._begin(index, env, slots, seed + index)
        slots.live[:] = self._present

    def _begin(self, index: int, env: Any, slots: Slots, seed: int | None = None) -> None:
        try:
            observations, _ = env.reset(seed=seed)
            self._write(index, observations, slots.observations)
        except FAULTS as error:
            raise _fault(index, "failed in reset", error) from error

    def _write(self, index: int, observations: dict[Any, Any], out: Array) -> None:
        """Observations of those who are there; zeros for the others."""
        for place, agent in enumerate(self._agents, index * self.agents_per_env):
            self._present[place] = agent in observations
            if agent in observations:
                self._observations.write(observations[agent], out[place])
            else:
                out[place] = 0

    def step(self, actions: Array, slots: Slots) -> Report:
        """Step every environment with the actions of the agents that are there."""
        slots.live[:] = self._present
        slots.rewards.fill(0.0)
        slots.terminated.fill(False)
        slots.truncated.fill(False)
        reported: dict[int, dict[str, float]] = {}
        for index, env in enumerate(self._envs):
            self.cursor[0] = index
            rows = range(index * self.agents_per_env, (index + 1) * self.agents_per_env)
            chosen = {
                agent: self._actions.read(actions[row])
                for agent, row in zip(self._agents, rows, strict=True)
                if self._present[row]
            }
            try:
                self._step_one(index, env, chosen, slots, reported)
            except FaultyEnvironmentError:
                raise
            except FAULTS as error:
                raise _fault(index, "failed in step", error, repr(chosen)) from error
        ended = slots.terminated | slots.truncated
        self._counter.count(slots.rewards.astype(np.float64), ended, slots, slots.live)
        return Report(reported) if reported else NOTHING_TO_REPORT

    def _step_one(
        self,
        index: int,
        env: Any,
        chosen: dict[Any, Any],
        slots: Slots,
        reported: dict[int, dict[str, float]],
    ) -> None:
        observations, rewards, terminated, truncated, infos = env.step(chosen)
        first = index * self.agents_per_env
        for row, agent in enumerate(self._agents, first):
            if agent not in chosen:
                continue
            slots.rewards[row] = rewards.get(agent, 0.0)
            slots.terminated[row] = bool(terminated.get(agent, agent not in env.agents))
            slots.truncated[row] = bool(truncated.get(agent, False)) and not slots.terminated[row]
            if slots.truncated[row]:
                self._observations.write(observations[agent], slots.final_observations[row])
            if slots.terminated[row] or slots.truncated[row]:
                numbers = numbers_of(infos.get(agent, {}))
                if numbers:
                    reported[row] = numbers
        if env.agents:
            self._write(index, {agent: observations[agent] for agent in env.agents}, slots.observations)
        else:
            self._begin(index, env, slots)

    def close(self) -> None:
        """Close every environment."""
        envs, self._envs = self._envs, []
        for env in envs:
            env.close()


def _fault(index: int, what: str, error: BaseException, action: str | None = None) -> FaultyEnvironmentError:
    text = "".join(traceback.format_exception(error))
    return FaultyEnvironmentError(
        index, f"{what}: {type(error).__name__}: {error}", action=action, cause=text
    )
