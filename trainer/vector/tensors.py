"""The PufferEnv backend for environments that are tensors on the trainer's own device."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import torch

from trainer.vector.base import EpisodeStats, FinalObservations, StepBatch, VectorEnv
from trainer.vector.batches import describe_silence
from trainer.vector.watchdog import OverdueError, Watchdog

if TYPE_CHECKING:
    from trainer.envs.ocean.batch import BatchEnvironment
    from trainer.errors import EnvironmentFault


class TensorVectorEnv(VectorEnv):
    """Steps a batch environment, begins episodes anew and keeps their statistics, all on its device.

    The host waits for the device once a step, to learn whether any episode has ended.

    Args:
        env: closed with this.
        timeout_seconds: a step or a reset that takes so long hangs: the device is stuck, or the environment is. Where
            a whole rollout is handed to the device (`trainer.cuda.collect`) nothing is stepped here, and only
            somebody outside notices a device that is stuck.
    """

    backend = "PufferEnv"

    def __init__(self, env: BatchEnvironment, *, timeout_seconds: float = 300.0) -> None:
        self.num_envs = env.num_envs
        self.agents_per_env = env.agents
        self.num_agents = self.batch_agents = env.num_envs * env.agents
        self.observation_layout = env.observation_layout
        self.action_layout = env.action_layout
        self.device = env.device
        self._env: BatchEnvironment | None = env
        self._returns = torch.zeros(self.num_agents, dtype=torch.float64, device=self.device)
        self._live = torch.ones(self.num_agents, dtype=torch.bool, device=self.device)
        self._none = torch.zeros(self.num_agents, dtype=torch.bool, device=self.device)
        self._no_rewards = torch.zeros(self.num_agents, device=self.device)
        self._pending: StepBatch | None = None
        self._expects_actions = False
        self._fault: EnvironmentFault | None = None
        self._watchdog = Watchdog(timeout_seconds, self._account)
        # No environment can reach its limit before so many steps: saves the comparison in most steps.
        self._soonest_limit = 0
        layout = self.action_layout
        self._low = torch.tensor(layout.low, device=self.device)
        self._high = torch.tensor(layout.high, device=self.device)

    def _usable(self) -> BatchEnvironment:
        if self._env is None:
            raise RuntimeError("the vector environment is closed")
        if self._fault is not None:
            raise self._fault
        return self._env

    def _hang(self, cause: str) -> EnvironmentFault:
        what = f"has not come back for {self._watchdog.patience_seconds:g} seconds"
        return describe_silence(range(self.num_envs), self.backend, what, None, cause)

    def _account(self) -> str:
        return str(self._hang(""))

    @property
    def environment(self) -> BatchEnvironment:
        """The environments themselves, for whoever steps them on the device without asking this class."""
        return self._usable()

    @property
    def running_returns(self) -> torch.Tensor:
        """float64 (B,): sums of the running episodes' rewards, in the memory that `state_dict` reads."""
        return self._returns

    def reset(self, seed: int) -> None:
        """Begin all episodes anew."""
        env = self._usable()
        try:
            with self._watchdog:
                env.draws.begin(seed)
                env.start(torch.arange(self.num_envs, device=self.device))
        except OverdueError as error:
            self._fault = self._hang("".join(traceback.format_exception(error)))
            raise self._fault from error
        env.steps.zero_()
        self._soonest_limit = env.max_steps or 0
        self._returns.zero_()
        self._expects_actions = False
        self._pending = self._begin_batch()

    def _begin_batch(self) -> StepBatch:
        return StepBatch(
            first_row=0,
            num_rows=self.num_agents,
            observations=self._usable().observe(),
            rewards=self._no_rewards,
            terminated=self._none,
            truncated=self._none,
            live=self._live,
        )

    def recv(self) -> StepBatch:
        """The batch that `reset` or `send` made."""
        self._usable()
        if self._pending is None:
            raise RuntimeError("recv() before reset() or send()")
        batch, self._pending = self._pending, None
        self._expects_actions = True
        return batch

    def send(self, actions: torch.Tensor) -> None:
        """Step every row."""
        env = self._usable()
        if not self._expects_actions:
            raise RuntimeError("send() before recv()")
        if actions.shape != (self.num_agents, self.action_layout.width):
            expected = (self.num_agents, self.action_layout.width)
            raise ValueError(f"actions of shape {tuple(actions.shape)}, expected {expected}")
        self._expects_actions = False
        if self.action_layout.kind == "continuous":
            actions = torch.minimum(torch.maximum(actions, self._low), self._high)
        try:
            with self._watchdog:
                self._step(env, actions)
        except OverdueError as error:
            self._fault = self._hang("".join(traceback.format_exception(error)))

    def _step(self, env: BatchEnvironment, actions: torch.Tensor) -> None:
        outcome = env.advance(actions)
        env.steps += 1
        self._returns += outcome.rewards
        self._soonest_limit -= 1
        terminated = ended = outcome.terminated
        if env.max_steps is not None and self._soonest_limit <= 0:
            ended = terminated | (env.steps >= env.max_steps)
        rewards = outcome.rewards
        if outcome.incentives is not None:
            rewards = rewards + outcome.incentives
        self._pending = self._batch(env, rewards, terminated, ended, outcome.extra)

    def _batch(
        self,
        env: BatchEnvironment,
        rewards: torch.Tensor,
        terminated: torch.Tensor,
        ended: torch.Tensor,
        extra: dict[str, torch.Tensor],
    ) -> StepBatch:
        envs = ended.nonzero().flatten()
        final = episodes = None
        truncated = self._none
        if len(envs):
            cut = ended & ~terminated
            truncated = self._per_agent(cut)
            final = self._final(env, truncated) if ended is not terminated else None
            rows = self._rows(envs)
            lengths = self._per_agent(env.steps[envs])
            extras = {name: self._per_agent(values[envs]).double().cpu() for name, values in extra.items()}
            episodes = EpisodeStats(self._returns[rows].cpu(), lengths.cpu(), extras, rows.cpu())
            self._returns[rows] = 0.0
            env.steps[envs] = 0
            env.start(envs)
        if env.max_steps is not None and self._soonest_limit <= 0:
            self._soonest_limit = env.max_steps - int(env.steps.max())
        return StepBatch(
            first_row=0,
            num_rows=self.num_agents,
            observations=env.observe(),
            rewards=rewards.to(torch.float32),
            terminated=self._per_agent(terminated),
            truncated=truncated,
            live=self._live,
            final_observations=final,
            episodes=episodes,
        )

    def _rows(self, envs: torch.Tensor) -> torch.Tensor:
        agents = self.agents_per_env
        if agents == 1:
            return envs
        return (envs[:, None] * agents + torch.arange(agents, device=self.device)).flatten()

    def _per_agent(self, values: torch.Tensor) -> torch.Tensor:
        return values if self.agents_per_env == 1 else values.repeat_interleave(self.agents_per_env)

    def _final(self, env: BatchEnvironment, truncated: torch.Tensor) -> FinalObservations | None:
        rows = truncated.nonzero().flatten()
        return FinalObservations(rows, env.observe()[rows].clone()) if len(rows) else None

    def peek(self) -> torch.Tensor:
        """The observations as they are now, (B, *O)."""
        return self._usable().observe()

    def close(self) -> None:
        """Let go of the environment's memory."""
        self._watchdog.close()
        self._env = None
        self._pending = None

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The environments, their generators and the running episodes' returns."""
        return {**self._usable().state_dict(), "returns": self._returns.clone()}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Go on where `state_dict` was called; the next `recv` has no rewards and no ends."""
        env = self._usable()
        env.load_state_dict(state)
        self._returns.copy_(state["returns"])
        self._soonest_limit = 0 if env.max_steps is None else env.max_steps - int(env.steps.max())
        self._expects_actions = False
        self._pending = self._begin_batch()
