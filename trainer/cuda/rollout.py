"""A whole rollout on the device: the environments of our own, the agent and the buffer, step after step.

Nothing in it waits for the device or depends on a tensor's values, so that it can be captured as one graph.
It fills a buffer exactly as `trainer.ppo.rollout.Collector` does with the same seeds; only that noise is drawn
for all steps in one call, and the statistics of episodes are summed up on the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from trainer.ppo.rollout import act

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.cuda.capture import Capture, Captured
    from trainer.envs.ocean.batch import BatchEnvironment
    from trainer.policies.base import Agent, State
    from trainer.policies.sampling import ActionDistribution
    from trainer.ppo.buffer import RolloutBuffer


@dataclass(frozen=True, slots=True)
class EpisodeSums:
    """Episodes that ended during a rollout, summed up and still on the device.

    Attributes:
        names: of what the environment reports by itself.
        sums: float64 (3 + names): number of episodes, sums of returns, of lengths, and of each report.
    """

    names: tuple[str, ...]
    sums: torch.Tensor


class DeviceRollout:
    """Rollouts of a batch environment, whose state and whose agent's state lie in static memory.

    Args:
        env: begun already.
        returns: float64 (N,): of the running episodes, kept by the vector environment.
        agent: what acts.
        buffer: what is filled.
        horizon, rounds: T, and segments per row.
        generator: of the noise.
        act_function: `act` or a compiled form of it.
    """

    def __init__(
        self,
        env: BatchEnvironment,
        returns: torch.Tensor,
        agent: Agent,
        distribution: ActionDistribution,
        buffer: RolloutBuffer,
        *,
        horizon: int,
        rounds: int,
        generator: torch.Generator,
        act_function: Callable[..., Any] = act,
    ) -> None:
        self.env = env
        self.agent = agent
        self.distribution = distribution
        self.buffer = buffer
        self.horizon, self.num_steps = horizon, horizon * rounds
        self.generator = generator
        self.act_function = act_function
        self.num_rows = env.num_envs * env.agents
        device = env.device
        self.returns = returns
        self.state: State = agent.initial_state(self.num_rows, device)
        self.resets = torch.ones(self.num_rows, dtype=torch.bool, device=device)
        layout = env.action_layout
        self._low = torch.tensor(layout.low, device=device)
        self._high = torch.tensor(layout.high, device=device)
        self._static = {name: getattr(env, name) for name in env.state_names}
        self.names: tuple[str, ...] = ()
        # Room for more reports than any environment has; their names are known after the first run.
        self.sums = torch.zeros(3 + MOST_REPORTS, dtype=torch.float64, device=device)

    def tensors(self) -> list[torch.Tensor]:
        """All that a rollout changes, but for the buffer."""
        draws = self.env.draws
        own = [self.env.steps, draws.seeds, draws.counters, self.returns, self.resets, self.sums]
        return [*self._static.values(), *self.state, *own]

    def begin(self) -> None:
        """After the environments have begun anew, or have got an earlier state back."""
        for name, kept in self._static.items():
            current = getattr(self.env, name)
            if current is not kept:
                kept.copy_(current)
                setattr(self.env, name, kept)
        for part in self.state:
            part.zero_()
        self.resets.fill_(True)

    def episodes(self) -> EpisodeSums:
        """What ended in the last rollout; valid until the next."""
        return EpisodeSums(self.names, self.sums[: 3 + len(self.names)])

    @torch.no_grad()
    def run(self) -> None:
        """Fill the buffer."""
        env, buffer = self.env, self.buffer
        # One row more than is used, as the collector draws.
        noise = self.distribution.draw_noise((self.num_steps + 1, self.num_rows), self.generator)
        state, resets = self.state, self.resets
        ended_returns, lengths = [], []
        reports: dict[str, list[torch.Tensor]] = {}
        for step in range(self.num_steps):
            t, columns = self._place(step)
            observations = buffer.observations[t, columns]
            observations.copy_(env.observe(), non_blocking=True)
            seen = observations if observations.device == env.device else env.observe()
            actions, scores, values, state_before, state = self.act_function(
                self.agent, self.distribution, seen, state, resets, noise[step]
            )
            self._write(t, columns, actions, scores, values, resets, state_before)
            if step and t == 0:
                self._follow(step - 1, values)
            outcome = env.advance(self._bounded(actions))
            env.steps.add_(1)
            self.returns.add_(outcome.rewards)
            ended, truncated = self._ends(outcome.terminated)
            buffer.rewards[t, columns] = outcome.rewards
            buffer.terminated[t, columns] = self._per_agent(outcome.terminated)
            if truncated is None:
                buffer.truncated[t, columns].zero_()
                buffer.following_values[t, columns].zero_()
            else:
                cut = self._per_agent(truncated)
                buffer.truncated[t, columns] = cut
                _, final_values, _ = self.agent.step(env.observe(), state)
                buffer.following_values[t, columns] = final_values * cut
            ended_returns.append(self.returns.clone())
            lengths.append(env.steps.clone())
            for name, value in outcome.extra.items():
                reports.setdefault(name, []).append(value.clone())
            env.restart(ended)
            env.steps.mul_(~ended)
            resets = self._per_agent(ended)
            self.returns.mul_(~resets)
        self._close(state, resets)
        self._sum_up(ended_returns, lengths, reports)
        buffer.live.fill_(True)
        buffer.log_probs.copy_(self.distribution.log_probs(buffer.scores, buffer.actions))

    def _place(self, step: int) -> tuple[int, slice]:
        round_number, t = divmod(step, self.horizon)
        return t, slice(round_number * self.num_rows, (round_number + 1) * self.num_rows)

    def _write(
        self,
        t: int,
        columns: slice,
        actions: torch.Tensor,
        scores: torch.Tensor,
        values: torch.Tensor,
        resets: torch.Tensor,
        state: State,
    ) -> None:
        buffer = self.buffer
        buffer.actions[t, columns] = actions
        buffer.scores[t, columns] = scores
        buffer.values[t, columns] = values
        buffer.resets[t, columns] = resets
        if t == 0:
            for kept, part in zip(buffer.states, state, strict=True):
                kept[columns] = part

    def _bounded(self, actions: torch.Tensor) -> torch.Tensor:
        if self.env.action_layout.kind != "continuous":
            return actions
        return torch.minimum(torch.maximum(actions, self._low), self._high)

    def _ends(self, terminated: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        limit = self.env.max_steps
        if limit is None:
            return terminated, None
        late = self.env.steps >= limit
        return terminated | late, late & ~terminated

    def _per_agent(self, values: torch.Tensor) -> torch.Tensor:
        return values if self.env.agents == 1 else values.repeat_interleave(self.env.agents)

    def _follow(self, step: int, values: torch.Tensor) -> None:
        """The value after a segment's last step, where its episode goes on."""
        t, columns = self._place(step)
        goes_on = ~(self.buffer.terminated[t, columns] | self.buffer.truncated[t, columns])
        self.buffer.following_values[t, columns] += values * goes_on

    def _close(self, state: State, resets: torch.Tensor) -> None:
        """Value what follows the rollout, and put everything that goes on into the static memory."""
        going_on = (~resets).unsqueeze(-1)
        _, values, _ = self.agent.step(self.env.observe(), tuple(part * going_on for part in state))
        self._follow(self.num_steps - 1, values)
        for kept, part in zip(self.state, state, strict=True):
            kept.copy_(part)
        self.resets.copy_(resets)
        # Environments may have bound their names to new tensors, or to each other's.
        news = {name: getattr(self.env, name) for name in self._static}
        known = {tensor.untyped_storage().data_ptr() for tensor in self._static.values()}
        for name, new in news.items():
            if new is not self._static[name] and new.untyped_storage().data_ptr() in known:
                news[name] = new.clone()
        for name, kept in self._static.items():
            if news[name] is not kept:
                kept.copy_(news[name])
            setattr(self.env, name, kept)

    def _sum_up(
        self,
        ended_returns: list[torch.Tensor],
        lengths: list[torch.Tensor],
        reports: dict[str, list[torch.Tensor]],
    ) -> None:
        device, agents = self.env.device, self.env.agents
        over = self.buffer.terminated | self.buffer.truncated
        # (T, rounds N) → (steps, N) in the order of the lists.
        over = over.view(self.horizon, -1, self.num_rows).transpose(0, 1).reshape(-1, self.num_rows)
        own = over[:, ::agents]
        sums = [
            over.sum(dtype=torch.float64),
            (torch.stack(ended_returns) * over).sum(dtype=torch.float64),
            (torch.stack(lengths) * own).sum(dtype=torch.float64) * agents,
        ]
        self.names = tuple(reports)
        sums += [(torch.stack(values) * own).sum(dtype=torch.float64) * agents for values in reports.values()]
        padding = torch.zeros(3 + MOST_REPORTS - len(sums), dtype=torch.float64, device=device)
        self.sums.copy_(torch.cat([torch.stack(sums), padding]))


MOST_REPORTS = 8
"""Numbers that an environment of our own may report of an episode."""


class GraphedAct:
    """`act` for environments on the host, as a graph: same arguments, results in static memory.

    The results are valid until the next call, which is how the collector uses them.

    Args:
        capture: makes a step replayable; called at the first use of each number of rows.
        act_function: `act` or a compiled form of it.
    """

    def __init__(self, capture: Capture, act_function: Callable[..., Any] = act) -> None:
        self._capture = capture
        self._act = act_function
        self._known: dict[int, tuple[tuple[torch.Tensor, ...], State, list[Any], Captured]] = {}

    @property
    def captured(self) -> tuple[Captured, ...]:
        """The captured steps, one for each number of rows."""
        return tuple(known[-1] for known in self._known.values())

    def __call__(
        self,
        agent: Agent,
        distribution: ActionDistribution,
        observations: torch.Tensor,
        state: State,
        resets: torch.Tensor,
        noise: torch.Tensor,
    ) -> Any:
        """See `trainer.ppo.rollout.act`."""
        rows = observations.shape[0]
        if rows not in self._known:
            inputs = tuple(torch.empty_like(one) for one in (observations, resets, noise))
            states = tuple(torch.empty_like(part) for part in state)
            self._fill(inputs, states, (observations, resets, noise), state)
            results: list[Any] = []

            def step() -> None:
                results[:] = self._act(agent, distribution, inputs[0], states, inputs[1], inputs[2])

            self._known[rows] = inputs, states, results, self._capture("The agent's step", step, (), ())
        inputs, states, results, captured = self._known[rows]
        self._fill(inputs, states, (observations, resets, noise), state)
        captured.replay()
        return tuple(results)

    @staticmethod
    def _fill(
        inputs: tuple[torch.Tensor, ...],
        states: State,
        given: tuple[torch.Tensor, ...],
        state: State,
    ) -> None:
        for kept, one in zip((*inputs, *states), (*given, *state), strict=True):
            kept.copy_(one, non_blocking=True)
