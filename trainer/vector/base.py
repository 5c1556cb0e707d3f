"""The contract between the trainer and whatever steps many environments at once.

A vector environment hands out batches of rows; a row is one agent of one environment, and keeps its number
for life. `send` gives actions to the rows that the last `recv` returned; `recv` waits for the next batch. A
synchronous backend returns every row each time; an asynchronous one returns `batch_agents` of them, always a
whole, contiguous range, while the others step.

Ends of episodes follow one rule on every backend (Gymnasium's SAME_STEP): the observation that comes with
`terminated` or `truncated` is already the first of the next episode, and for a truncated row the last
observation of the old episode is in `final_observations`, so that its value can be bootstrapped. Backends
whose environments know only NEXT_STEP mark the dummy step that follows an end with `live = False`: such a
row is neither learnt from nor counted as an agent step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from trainer.envs.layout import ActionLayout, ObservationLayout

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

__all__ = [
    "ActionLayout",
    "EpisodeStats",
    "FinalObservations",
    "ObservationLayout",
    "StepBatch",
    "VectorEnv",
]


@dataclass(frozen=True, slots=True)
class FinalObservations:
    """Last observations of the episodes that were truncated in this batch.

    Attributes:
        rows: int64 (K,), positions within the batch.
        observations: (K, *O).
    """

    rows: torch.Tensor
    observations: torch.Tensor


@dataclass(frozen=True, slots=True)
class EpisodeStats:
    """Episodes that ended in this batch, for the agents for which they ended.

    Attributes:
        returns: undiscounted sum of raw rewards (before clipping), float64 (K,).
        lengths: agent steps, int64 (K,).
        extra: what the environment reports by itself at an episode's end, name → float64 (K,); NaN where an
            environment did not report that name.
        rows: int64 (K,), positions within the batch, rising.
    """

    returns: torch.Tensor
    lengths: torch.Tensor
    extra: Mapping[str, torch.Tensor] = field(default_factory=dict)
    rows: torch.Tensor | None = None


class StepBatch(NamedTuple):
    """One batch of rows after a step (or after the reset, with zero rewards and no ends).

    A named tuple: one is made every step. The tensors are valid until the next `send`: whoever wants to keep one copies
    it (zero copy by contract). They lie on the vector environment's `device`.

    Attributes:
        first_row, num_rows: the contiguous range of rows this batch holds.
        observations: (B, *O) in the layout's dtype.
        rewards: float32 (B,), clipped where the environment's config says so.
        terminated, truncated: bool (B,).
        live: bool (B,); False for dummy steps and for agents that are not there.
        final_observations: for truncated rows; None when there are none.
        episodes: for rows whose episode ended; None when there are none.
    """

    first_row: int
    num_rows: int
    observations: torch.Tensor
    rewards: torch.Tensor
    terminated: torch.Tensor
    truncated: torch.Tensor
    live: torch.Tensor
    final_observations: FinalObservations | None = None
    episodes: EpisodeStats | None = None


class VectorEnv(ABC):
    """Many environments stepped at once. Made by `trainer.vector.make_vector`.

    Life: `reset(seed)`, then `recv`, `send`, `recv`, `send` …, `close`. `reset` may be called again at any
    time, also on an environment kept from an earlier run: what follows is bit-identical to a fresh one.
    Calls out of order raise RuntimeError (a bug of ours). Not thread-safe.

    A fault in any environment raises `trainer.errors.EnvironmentFault` out of `recv`, with the environment's
    index, the action and the worker's traceback; afterwards only `close` may be called. `close` is
    idempotent and leaves no process, shared-memory segment or file behind.

    Attributes:
        num_envs, agents_per_env, num_agents: `num_agents = num_envs * agents_per_env` rows in all.
        batch_agents: rows per batch; equals `num_agents` for synchronous backends.
        observation_layout, action_layout: of one agent.
        device: where batches live and where `send` wants its actions.
        backend: the backend's name as in `[vec] backend`.
    """

    num_envs: int
    agents_per_env: int
    num_agents: int
    batch_agents: int
    observation_layout: ObservationLayout
    action_layout: ActionLayout
    device: torch.device
    backend: str

    @abstractmethod
    def reset(self, seed: int) -> None:
        """Begin all episodes anew; environment i is seeded with `seed + i`."""

    @abstractmethod
    def recv(self) -> StepBatch:
        """Wait for the next batch of rows."""

    @abstractmethod
    def send(self, actions: torch.Tensor) -> None:
        """Step the rows of the last batch with actions of shape (B, action_layout.width)."""

    @abstractmethod
    def close(self) -> None:
        """Free everything; may be called twice."""

    def state_dict(self) -> dict[str, torch.Tensor] | None:
        """The environments' state as tensors, or None where it cannot be saved (then a resume resets)."""
        return None

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Put back what `state_dict` gave; comes after `reset`. The next `recv` has no rewards and no ends."""
        raise RuntimeError(
            f"{type(self).__name__} cannot restore its state ({len(state)} tensors)"
        )  # pragma: no cover
