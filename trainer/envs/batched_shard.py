"""Environments that step many agents in one call: Gymnasium's vector environments and PufferLib's.

Three ways to begin the next episode are known. SAME_STEP hands the new observation out at once and the old
one in `infos["final_obs"]`. NEXT_STEP hands the old one out and resets in the next step, a dummy that is
marked with `live = False`. PufferLib's environments reset themselves and forget the last observation; for a
truncated episode the one before it takes its place.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import iterate

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


def agents_of(env: Any) -> int:
    """Rows that one batched environment steps."""
    return int(env.num_envs if isinstance(env, gymnasium.vector.VectorEnv) else env.num_agents)


def is_batched(env: Any) -> bool:
    """Whether an object steps many agents in one call, as Gymnasium or PufferLib have it."""
    if isinstance(env, gymnasium.vector.VectorEnv):
        return True
    return all(
        hasattr(env, name) for name in ("single_observation_space", "single_action_space", "num_agents")
    )


class BatchedShard(Shard):
    """Steps batched environments one after the other.

    Args:
        envs: of one kind, each with the same number of agents.
        name: for messages.
        num_envs: environments that this shard counts as; by default `len(envs)`, each of several agents.
            Equal to the agents where every row of one vector environment is an environment of its own.
    """

    def __init__(self, envs: Sequence[Any], name: str, num_envs: int | None = None) -> None:
        first = envs[0]
        self._rows_per_env = agents_of(first)
        rows = self._rows_per_env * len(envs)
        self.num_envs = num_envs or len(envs)
        self.agents_per_env = rows // self.num_envs
        self.name = name
        self.cursor = np.full(1, -1, np.int64)
        self._envs = list(envs)
        self._observations = ObservationCodec(first.single_observation_space, name)
        self._actions = ActionCodec(first.single_action_space, name)
        self.action_layout = self._actions.layout
        self._gymnasium = isinstance(first, gymnasium.vector.VectorEnv)
        self._mode = first.metadata.get("autoreset_mode") if self._gymnasium else AutoresetMode.SAME_STEP
        if self._mode not in (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP):
            raise EnvironmentMakeError(
                f"{name} does not say how it begins the next episode.",
                value=str(self._mode),
                rule="metadata['autoreset_mode'] is AutoresetMode.SAME_STEP or NEXT_STEP.",
            )
        self._counter = EpisodeCounter(rows)
        self._ended = np.zeros(rows, np.bool_)
        self._unsaid: dict[str, float] = {}

    @property
    def observation_layout(self) -> ObservationLayout:
        """From the observation space of one agent."""
        return self._observations.layout

    def reset(self, seed: int, slots: Slots) -> None:
        """Begin all episodes anew."""
        slots.begin()
        self._counter.begin()
        self._ended.fill(False)
        self._unsaid = {}
        for index, env in enumerate(self._envs):
            try:
                observations, _ = env.reset(seed=seed + index)
                self._write(observations, slots.observations[self._rows(index)])
            except FAULTS as error:
                raise self._fault(index, "failed in reset", error) from error

    def _rows(self, index: int) -> slice:
        return slice(index * self._rows_per_env, (index + 1) * self._rows_per_env)

    def _write(self, observations: Any, out: Array) -> None:
        if self._observations.plain:
            given = np.asarray(observations)
            if given.shape != out.shape:
                raise ValueError(f"the observations have the shape {given.shape} and not {out.shape}")
            out[...] = given
            return
        batch = observations
        space = self._observations.space
        if self._gymnasium:
            batch = iterate(gymnasium.vector.utils.batch_space(space, self._rows_per_env), observations)
        for row, observation in enumerate(batch):
            self._observations.write(observation, out[row])

    def _choices(self, actions: Array) -> Any:
        space = self._actions.space
        if isinstance(space, gymnasium.spaces.Discrete):
            return actions[:, 0] + int(space.start)
        if isinstance(space, gymnasium.spaces.Box | gymnasium.spaces.MultiDiscrete):
            return np.stack([self._actions.read(row) for row in actions])
        empty: Any = gymnasium.vector.utils.create_empty_array(space, len(actions))
        return gymnasium.vector.utils.concatenate(space, [self._actions.read(row) for row in actions], empty)

    def step(self, actions: Array, slots: Slots) -> Report:
        """Step every environment."""
        raw_rewards = np.empty(len(self._ended), np.float64)
        before = None if self._gymnasium else slots.observations.copy()
        reported: dict[int, dict[str, float]] = {}
        for index, env in enumerate(self._envs):
            self.cursor[0] = index if len(self._envs) == self.num_envs else -1
            rows = self._rows(index)
            try:
                self._step_one(env, actions[rows], rows, raw_rewards, slots, reported)
            except FAULTS as error:
                action = str(actions[rows].tolist())
                raise self._fault(index, "failed in step", error, action) from error
        slots.rewards[:] = raw_rewards
        next_step = self._mode is AutoresetMode.NEXT_STEP
        slots.live[:] = ~self._ended if next_step else True
        ended = slots.terminated | slots.truncated
        if slots.truncated.any() and (next_step or before is not None):
            source = slots.observations if before is None else before
            slots.final_observations[slots.truncated] = source[slots.truncated]
        self._counter.count(raw_rewards, ended, slots, slots.live if next_step else None)
        self._ended = ended
        if self._unsaid and ended.any():
            reported.setdefault(int(np.argmax(ended)), {}).update(self._unsaid)
            self._unsaid = {}
        return Report(reported) if reported else NOTHING_TO_REPORT

    def _step_one(
        self,
        env: Any,
        actions: Array,
        rows: slice,
        raw_rewards: Array,
        slots: Slots,
        reported: dict[int, dict[str, float]],
    ) -> None:
        observations, rewards, terminated, truncated, infos = env.step(self._choices(actions))
        self._write(observations, slots.observations[rows])
        raw_rewards[rows] = rewards
        slots.terminated[rows] = terminated
        slots.truncated[rows] = np.asarray(truncated) & ~np.asarray(terminated)
        if not self._gymnasium:
            for info in [infos] if isinstance(infos, dict) else infos or ():
                self._unsaid.update(numbers_of(info))
            return
        if self._mode is AutoresetMode.SAME_STEP and (slots.terminated[rows] | slots.truncated[rows]).any():
            self._keep_final(infos, rows, slots, reported)

    def _keep_final(
        self, infos: dict[str, Any], rows: slice, slots: Slots, reported: dict[int, dict[str, float]]
    ) -> None:
        final = infos.get("final_obs")
        final_info = infos.get("final_info", {})
        for row in np.flatnonzero(slots.terminated[rows] | slots.truncated[rows]):
            place = rows.start + int(row)
            if slots.truncated[place]:
                if final is None:
                    raise KeyError("infos hold no 'final_obs' for a truncated episode")
                self._observations.write(final[row], slots.final_observations[place])
            numbers = numbers_of({name: values[row] for name, values in final_info.items() if name[0] != "_"})
            if numbers:
                reported[place] = numbers

    def _fault(self, index: int, what: str, error: BaseException, action: str | None = None) -> Exception:
        text = "".join(traceback.format_exception(error))
        sentence = f"{what}: {type(error).__name__}: {error}"
        return FaultyEnvironmentError(index, sentence, action=action, cause=text)

    def close(self) -> None:
        """Close every environment."""
        envs, self._envs = self._envs, []
        for env in envs:
            env.close()
