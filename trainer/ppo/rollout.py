"""Collecting experience: the agent acts in a vector environment, every step goes to its place in a buffer."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from trainer.ppo.images import put_observations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainer.policies.base import Agent, State
    from trainer.policies.sampling import ActionDistribution
    from trainer.ppo.buffer import RolloutBuffer
    from trainer.vector.base import EpisodeStats, StepBatch, VectorEnv


@dataclass(slots=True)
class PhaseSeconds:
    """Where a rollout's time went, by the host's clock."""

    environment: float = 0.0
    forward: float = 0.0
    copy: float = 0.0

    def settle(self) -> None:
        """Called once the device has been waited for, for clocks that are the device's."""

    def total(self) -> float:
        """All phases together."""
        return self.environment + self.forward + self.copy


@dataclass(slots=True)
class Episodes:
    """Episodes that ended during a rollout: name → float64 tensors, one a batch."""

    returns: list[torch.Tensor] = field(default_factory=list)
    lengths: list[torch.Tensor] = field(default_factory=list)
    extra: dict[str, list[torch.Tensor]] = field(default_factory=dict)

    def add(self, ended: EpisodeStats) -> None:
        """Keep those that ended in one batch."""
        self.returns.append(ended.returns)
        self.lengths.append(ended.lengths)
        for name, values in ended.extra.items():
            self.extra.setdefault(name, []).append(values)


@dataclass(slots=True)
class _FinalStep:
    """A truncated episode's last observation, to be valued when the rollout is done."""

    step: int
    columns: torch.Tensor
    observations: torch.Tensor
    state: State


@dataclass(slots=True)
class _Early:
    """A step that an asynchronous group took after its part of the rollout was full."""

    observations: torch.Tensor
    actions: torch.Tensor
    scores: torch.Tensor
    values: torch.Tensor
    resets: torch.Tensor
    state: State
    outcome: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor] | None = None
    final: tuple[torch.Tensor, torch.Tensor, State] | None = None


def act(
    agent: Agent,
    distribution: ActionDistribution,
    observations: torch.Tensor,
    state: State,
    resets: torch.Tensor,
    noise: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, State, State]:
    """One step of B rows: actions (B, width), scores (B, K), values (B,), the state before and the next one.

    The state before is `state` with the rows that begin an episode (`resets`) at their beginning. A function
    of tensors without side effects, so that it can be compiled.
    """
    if state:
        going_on = (~resets).unsqueeze(-1)
        state = tuple(part * going_on for part in state)
    scores, values, next_state = agent.step(observations, state)
    return distribution.sample(scores, noise), scores, values, state, next_state


class Collector:
    """Fills buffers from one vector environment, and remembers where each row stands in between.

    A synchronous environment returns every row each time. The groups of an asynchronous one arrive in turn; a
    group that is through with its part of the rollout before the others must go on stepping, and these early
    steps, taken by the policy of before the update, open the next rollout. V-trace corrects for their age.

    Args:
        vector: reset already or to be reset by `begin`.
        horizon: T.
        rounds: segments per row and rollout.
        on_step: called at every environment step.
        act_function: `act` or a compiled form of it.
    """

    def __init__(
        self,
        vector: VectorEnv,
        agent: Agent,
        distribution: ActionDistribution,
        *,
        horizon: int,
        rounds: int,
        generator: torch.Generator,
        on_step: Callable[[], None],
        act_function: Callable[..., Any] = act,
    ) -> None:
        self.vector = vector
        self.act_function = act_function
        self.agent = agent
        self.distribution = distribution
        self.horizon = horizon
        self.num_steps = horizon * rounds
        self.generator = generator
        self.on_step = on_step
        device = generator.device
        self.group_size = vector.batch_agents
        self.num_groups = vector.num_agents // vector.batch_agents
        self.state: State = agent.initial_state(vector.num_agents, device)
        self.resets = torch.ones(vector.num_agents, dtype=torch.bool, device=device)
        self.held: StepBatch | None = None
        self._steps_taken = [0] * self.num_groups
        self._early: list[list[_Early]] = [[] for _ in range(self.num_groups)]
        self._finals: list[_FinalStep] = []

    def begin(self, seed: int) -> None:
        """Begin all episodes anew."""
        self.vector.reset(seed)
        self.held = None
        self._early = [[] for _ in range(self.num_groups)]

    def state_dict(self) -> dict[str, Any]:
        """Where every row stands between two rollouts, for a checkpoint."""
        return {"state": list(self.state), "resets": self.resets}

    def resume(
        self, seed: int, saved: Mapping[str, Any], vector_state: dict[str, torch.Tensor] | None
    ) -> None:
        """Go on from `state_dict` and the environments' state where there is one, else with new episodes."""
        self.begin(seed)
        if vector_state is None or self.num_groups > 1:
            return
        self.vector.load_state_dict(vector_state)
        for kept, part in zip(self.state, saved["state"], strict=True):
            kept.copy_(part)
        self.resets.copy_(saved["resets"])
        self.held = self.vector.recv()

    def collect(self, buffer: RolloutBuffer) -> tuple[Episodes, PhaseSeconds]:
        """Fill a buffer; on return every field of it is set.

        Returns:
            The episodes that ended, and where the time went.
        """
        episodes, seconds = Episodes(), PhaseSeconds()
        self._steps_taken = [0] * self.num_groups
        self._finals = []
        unfinished = self.num_groups
        with torch.no_grad():
            for group in range(self.num_groups):
                unfinished -= self._replay_early(group, buffer)
            noise = self.distribution.draw_noise(
                ((self.num_steps + 1) * self.num_groups, self.group_size), self.generator
            )
            drawn = 0
            while True:
                began = time.perf_counter()
                batch = self.held if self.held is not None else self.vector.recv()
                is_new = self.held is None
                self.held = None
                received = time.perf_counter()
                seconds.environment += received - began
                group = batch.first_row // self.group_size
                if is_new:
                    self.on_step()
                    unfinished -= self._record_outcome(group, batch, buffer, episodes)
                    if unfinished == 0:
                        self.held = batch
                        self._bootstrap(group, batch, buffer)
                        break
                if drawn == len(noise):
                    noise = self.distribution.draw_noise((self.num_steps, self.group_size), self.generator)
                    drawn = 0
                copied = time.perf_counter()
                actions, forwarded = self._act(group, batch, noise[drawn], buffer)
                drawn += 1
                seconds.forward += forwarded - copied
                self.vector.send(actions)
                sent = time.perf_counter()
                seconds.environment += sent - forwarded
                seconds.copy += copied - received
            began = time.perf_counter()
            self._value_finals(buffer)
            buffer.log_probs.copy_(self.distribution.log_probs(buffer.scores, buffer.actions))
            seconds.forward += time.perf_counter() - began
        return episodes, seconds

    def _rows(self, group: int) -> slice:
        return slice(group * self.group_size, (group + 1) * self.group_size)

    def _place(self, group: int, step: int) -> tuple[int, slice]:
        """Where a group's step lies in the buffer: (t, columns)."""
        round_number, t = divmod(step, self.horizon)
        first = round_number * self.vector.num_agents + group * self.group_size
        return t, slice(first, first + self.group_size)

    def _act(
        self, group: int, batch: StepBatch, noise: torch.Tensor, buffer: RolloutBuffer
    ) -> tuple[torch.Tensor, float]:
        rows, step = self._rows(group), self._steps_taken[group]
        resets = self.resets[rows]
        observations = batch.observations
        if step < self.num_steps:
            t, columns = self._place(group, step)
            place = buffer.observations[t, columns]
            put_observations(observations, place)
            # Where they lie in the buffer is the order that the agent computes with best.
            observations = place if place.device == observations.device else observations
        actions, scores, values, state, next_state = self.act_function(
            self.agent,
            self.distribution,
            observations,
            tuple(part[rows] for part in self.state),
            resets,
            noise,
        )
        forwarded = time.perf_counter()
        if step < self.num_steps:
            self._write(buffer, t, columns, actions, scores, values, resets, state)
        else:
            self._early[group].append(
                _Early(
                    batch.observations.clone(),
                    actions.clone(),
                    scores.clone(),
                    values.clone(),
                    resets.clone(),
                    tuple(part.clone() for part in state),
                )
            )
        if 0 < step <= self.num_steps and step % self.horizon == 0:
            # The segment before ended without closing its last step: this value is what follows it.
            self._follow(group, step - 1, values, buffer)
        for kept, part in zip(self.state, next_state, strict=True):
            kept[rows] = part
        self._steps_taken[group] = step + 1
        return actions, forwarded

    @staticmethod
    def _write(
        buffer: RolloutBuffer,
        t: int,
        columns: slice,
        actions: torch.Tensor,
        scores: torch.Tensor,
        values: torch.Tensor,
        resets: torch.Tensor,
        state: State,
    ) -> None:
        buffer.actions[t, columns] = actions
        buffer.scores[t, columns] = scores
        buffer.values[t, columns] = values
        buffer.resets[t, columns] = resets
        if t == 0:
            for kept, part in zip(buffer.states, state, strict=True):
                kept[columns] = part

    def _record_outcome(
        self, group: int, batch: StepBatch, buffer: RolloutBuffer, episodes: Episodes
    ) -> bool:
        """Note what the group's last actions led to; True when that closes its part of the rollout."""
        rows, step = self._rows(group), self._steps_taken[group] - 1
        if step < 0:
            # The first batch after a reset answers no action.
            self.resets[rows] = True
            return False
        ended = batch.terminated | batch.truncated
        torch.logical_or(ended, ~batch.live, out=self.resets[rows])
        if batch.episodes is not None:
            episodes.add(batch.episodes)
        final = batch.final_observations
        final_state: State = ()
        if final is not None:
            final_state = tuple(part[rows][final.rows] for part in self.state)
        if step >= self.num_steps:
            early = self._early[group][step - self.num_steps]
            early.outcome = (
                batch.rewards.clone(),
                batch.terminated.clone(),
                batch.truncated.clone(),
                batch.live.clone(),
            )
            if final is not None:
                early.final = (final.rows.clone(), final.observations.clone(), final_state)
            return False
        t, columns = self._place(group, step)
        buffer.rewards[t, columns] = batch.rewards
        buffer.terminated[t, columns] = batch.terminated
        buffer.truncated[t, columns] = batch.truncated
        buffer.live[t, columns] = batch.live
        buffer.following_values[t, columns] = 0.0
        if final is not None:
            self._finals.append(
                _FinalStep(t, final.rows + columns.start, final.observations.clone(), final_state)
            )
        return step == self.num_steps - 1

    def _follow(self, group: int, step: int, values: torch.Tensor, buffer: RolloutBuffer) -> None:
        t, columns = self._place(group, step)
        cut = buffer.terminated[t, columns] | buffer.truncated[t, columns] | ~buffer.live[t, columns]
        buffer.following_values[t, columns] = values * ~cut

    def _bootstrap(self, group: int, batch: StepBatch, buffer: RolloutBuffer) -> None:
        """Value what follows the last steps of the group that closes the rollout, and acts later."""
        rows = self._rows(group)
        state = tuple(part[rows] * (~self.resets[rows]).unsqueeze(-1) for part in self.state)
        _, values, _ = self.agent.step(batch.observations, state)
        self._follow(group, self.num_steps - 1, values, buffer)

    def _value_finals(self, buffer: RolloutBuffer) -> None:
        if not self._finals:
            return
        observations = torch.cat([final.observations for final in self._finals])
        state = tuple(
            torch.cat(parts) for parts in zip(*(final.state for final in self._finals), strict=True)
        )
        _, values, _ = self.agent.step(observations, state)
        steps = torch.cat([torch.full_like(final.columns, final.step) for final in self._finals])
        columns = torch.cat([final.columns for final in self._finals])
        buffer.following_values[steps, columns] = values.to(buffer.following_values.dtype)

    def _replay_early(self, group: int, buffer: RolloutBuffer) -> bool:
        """Put the steps that a group took ahead of the others at the beginning of this rollout."""
        early, self._early[group] = self._early[group], []
        kept = early[: self.num_steps]
        self._early[group] = early[self.num_steps :]
        for step, taken in enumerate(early):
            if step > 0 and step % self.horizon == 0 and step <= self.num_steps:
                self._follow(group, step - 1, taken.values, buffer)
            if step >= self.num_steps:
                continue
            t, columns = self._place(group, step)
            put_observations(taken.observations, buffer.observations[t, columns])
            self._write(
                buffer,
                t,
                columns,
                taken.actions,
                taken.scores,
                taken.values,
                taken.resets,
                taken.state,
            )
            if taken.outcome is not None:
                fields = (buffer.rewards, buffer.terminated, buffer.truncated, buffer.live)
                for whole, part in zip(fields, taken.outcome, strict=True):
                    whole[t, columns] = part
                buffer.following_values[t, columns] = 0.0
            if taken.final is not None:
                rows, observations, state = taken.final
                self._finals.append(_FinalStep(t, rows + columns.start, observations, state))
        self._steps_taken[group] = len(early)
        return len(kept) == self.num_steps and kept[-1].outcome is not None
