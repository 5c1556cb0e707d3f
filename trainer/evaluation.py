"""Scores of whole episodes on fresh environments with fixed seeds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from trainer.checkpoint import fit_or_raise, load_checkpoint
from trainer.device import choose_device, torch_settings
from trainer.metrics import metric_of_episodes
from trainer.policies import Agent, make_distribution, make_policy
from trainer.records import Evaluation
from trainer.vector import make_vector

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.config import Config
    from trainer.policies import ActionDistribution
    from trainer.vector.base import StepBatch, VectorEnv

MAX_ENVS = 32
"""Episodes played side by side; more of them follow in waves."""

EVALUATION_SEED = 1_000_003
"""Far from the seeds that training uses by default."""

MAX_STEPS = 10_000
"""Steps after which an episode that has not ended is cut off."""


def evaluate(
    config: Config,
    checkpoint: Path | str | Agent,
    *,
    episodes: int = 20,
    seed: int = EVALUATION_SEED,
    greedy: bool = False,
    max_steps: int = MAX_STEPS,
    on_heartbeat: Callable[[], None] | None = None,
) -> Evaluation:
    """Play episodes and score them by `[sweep] metric`.

    Episode i is the first one of an environment seeded `seed + i`, so that two agents meet the same episodes.
    With several agents in an environment its score is their mean.

    Args:
        config: resolved or not; its backend and number of environments are replaced.
        checkpoint: a file, or a live agent as `train` has it.
        episodes: how many, at least one.
        seed: of the first episode's environment, and of sampled actions.
        greedy: take the likeliest actions instead of sampling.
        max_steps: an episode that takes longer is cut off and scored by its rewards so far.
        on_heartbeat: called at every environment step.

    Raises:
        CheckpointError: the file is no checkpoint or does not fit.
        EnvironmentFault: an environment failed.
    """
    num_envs = min(episodes, MAX_ENVS)
    device = choose_device(config.train.device)
    local = config.override(
        {"vec.num_envs": num_envs, "vec.batch_size": num_envs, "vec.num_workers": _workers(config, num_envs)}
    )
    vector = make_vector(local, device)
    try:
        with torch_settings(config.train, device):
            agent = load_agent(config, checkpoint, vector, device)
            was_training = agent.training
            agent.eval()
            player = _Player(vector, agent, config.sweep.metric, device, seed, greedy=greedy)
            scores: list[float] = []
            lengths: list[int] = []
            truncated = 0
            while len(scores) < episodes:
                wave, wave_lengths, wave_truncated = player.play(
                    seed + len(scores), episodes - len(scores), max_steps, on_heartbeat or _stay_silent
                )
                scores += wave
                lengths += wave_lengths
                truncated += wave_truncated
            agent.train(was_training)
    finally:
        vector.close()
    return summarise(scores, lengths, truncated)


def summarise(scores: list[float], lengths: list[int], truncated: int) -> Evaluation:
    """Mean, deviation and Student's confidence interval of scores."""
    from scipy import stats

    count = len(scores)
    mean = math.fsum(scores) / count
    deviation = (
        math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / (count - 1)) if count > 1 else 0.0
    )
    margin = float(stats.t.ppf(0.975, count - 1)) * deviation / math.sqrt(count) if count > 1 else 0.0
    return Evaluation(
        scores=tuple(scores),
        mean=mean,
        deviation=deviation,
        interval=(mean - margin, mean + margin),
        lengths=tuple(lengths),
        truncated_episodes=truncated,
    )


def _stay_silent() -> None:
    pass


def _workers(config: Config, num_envs: int) -> int:
    asked = config.vec.num_workers
    limit = num_envs if asked == "auto" else min(asked, num_envs)
    return max(count for count in range(1, limit + 1) if num_envs % count == 0)


def load_agent(
    config: Config, checkpoint: Path | str | Agent, vector: VectorEnv, device: torch.device
) -> Agent:
    """The agent of a checkpoint, for these environments, on this device; a live one as it is.

    Raises:
        CheckpointError: the file is no checkpoint or does not fit.
    """
    if isinstance(checkpoint, Agent):
        return checkpoint
    path = Path(checkpoint)
    loaded = load_checkpoint(path)
    agent = make_policy(config, vector.observation_layout, vector.action_layout)
    fit_or_raise(agent, loaded.agent, path)
    return agent.to(device)


def choose_actions(
    distribution: ActionDistribution, action_scores: torch.Tensor, generator: torch.Generator | None
) -> torch.Tensor:
    """Actions for scores (B, K): sampled with the generator, the likeliest without one."""
    if generator is None:
        return distribution.greedy(action_scores)
    noise = distribution.draw_noise((len(action_scores),), generator)
    return distribution.sample(action_scores, noise)


class _Player:
    """Plays one episode in each environment."""

    def __init__(
        self,
        vector: VectorEnv,
        agent: Agent,
        metric: str,
        device: torch.device,
        seed: int,
        *,
        greedy: bool,
    ) -> None:
        self.vector = vector
        self.agent = agent
        self.metric = metric
        self.device = device
        self.distribution: ActionDistribution = make_distribution(vector.action_layout)
        self.generator = None if greedy else torch.Generator(device).manual_seed(seed)

    def play(
        self, seed: int, wanted: int, max_steps: int, on_step: Callable[[], None]
    ) -> tuple[list[float], list[int], int]:
        """Scores, lengths and how many were cut off, of at most `wanted` environments from `seed` on."""
        vector = self.vector
        rows = vector.num_agents
        scores = torch.full((rows,), torch.nan, dtype=torch.float64)
        lengths = torch.zeros(rows, dtype=torch.int64)
        rewards = torch.zeros(rows, dtype=torch.float64)
        state = self.agent.initial_state(rows, self.device)
        vector.reset(seed)
        batch = vector.recv()
        # Not inference mode: an environment of tensors keeps what it is given, and is reset outside of it.
        with torch.no_grad():
            for _ in range(max_steps):
                on_step()
                going_on = ~(batch.terminated | batch.truncated)
                state = tuple(part * going_on.unsqueeze(-1) for part in state)
                action_scores, _, state = self.agent.step(batch.observations, state)
                vector.send(choose_actions(self.distribution, action_scores, self.generator))
                batch = vector.recv()
                playing = scores.isnan()
                counted = playing & batch.live.cpu()
                rewards += batch.rewards.cpu() * counted
                lengths += counted
                self._note_ends(batch, playing, scores, lengths)
                if not scores[: wanted * vector.agents_per_env].isnan().any():
                    break
        cut = scores.isnan()
        scores = torch.where(cut, rewards, scores)
        per_env = (min(wanted, vector.num_envs), vector.agents_per_env)
        used = per_env[0] * per_env[1]
        return (
            scores[:used].view(per_env).mean(1).tolist(),
            lengths[:used].view(per_env).amax(1).tolist(),
            int(cut[:used].view(per_env).any(1).sum()),
        )

    def _note_ends(
        self, batch: StepBatch, playing: torch.Tensor, scores: torch.Tensor, lengths: torch.Tensor
    ) -> None:
        ended = batch.episodes
        if ended is None:
            return
        assert ended.rows is not None
        values = metric_of_episodes(self.metric, ended.returns, ended.lengths, ended.extra)
        if values is None:
            values = ended.returns
        values = torch.where(values.isfinite(), values.double(), ended.returns)
        first = playing[ended.rows]
        rows = ended.rows[first]
        scores[rows] = values[first]
        lengths[rows] = ended.lengths[first]
