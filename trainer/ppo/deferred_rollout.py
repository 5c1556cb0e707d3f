"""Collecting experience with a network so small that its steps cost little more than the calls that make them.

Step by step only the actions are worked out; scores, values, log-probabilities and whatever follows from the ends
of episodes are computed for the whole rollout in one pass when it is done, which the policy, being the same all
along, cannot tell from the plain way.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from trainer.ppo.rollout import Collector, Episodes, PhaseSeconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.ppo.buffer import RolloutBuffer
    from trainer.vector.base import StepBatch, VectorEnv

    Chooser = Callable[[int, Any, Any], None]


@dataclass(frozen=True, slots=True)
class _Places:
    """Where one step of all rows goes in a buffer: NumPy arrays over its memory, and the actions as a tensor too."""

    observations: Any
    flat_observations: Any
    actions: Any
    action_tensor: torch.Tensor
    rewards: Any
    terminated: Any
    truncated: Any
    live: Any


class DeferringCollector(Collector):
    """A `Collector` for one synchronous environment and an agent without memory, both on the CPU.

    Args:
        make_chooser: from the noise of a rollout (steps, B, width) to a function of a step's number, its
            observations (B, size) and the array (B, width) that its actions go to.
        evaluate: from observations (B, *O) to scores (B, K) and values (B,).
        **arguments: as of `Collector`.
    """

    def __init__(
        self,
        vector: VectorEnv,
        *arguments: Any,
        make_chooser: Callable[[torch.Tensor], Chooser],
        evaluate: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
        **settings: Any,
    ) -> None:
        super().__init__(vector, *arguments, **settings)
        self.make_chooser = make_chooser
        self.evaluate = evaluate
        self._buffer: RolloutBuffer | None = None
        self._places: list[_Places] = []

    def collect(self, buffer: RolloutBuffer) -> tuple[Episodes, PhaseSeconds]:
        """Fill a buffer; on return every field of it is set."""
        episodes, seconds = Episodes(), PhaseSeconds()
        with torch.no_grad():
            noise = self.distribution.draw_noise((self.num_steps + 1, self.group_size), self.generator)
            began = time.perf_counter()
            batch = self._first_batch()
            seconds.environment += time.perf_counter() - began
            finals = self._play(batch, self.make_chooser(noise), self._places_of(buffer), episodes, seconds)
            began = time.perf_counter()
            assert self.held is not None
            self._evaluate(buffer, self.held, finals)
            seconds.forward += time.perf_counter() - began
        return episodes, seconds

    def _first_batch(self) -> StepBatch:
        if self.held is not None:
            return self.held
        batch = self.vector.recv()
        self.on_step()
        self.resets.fill_(True)
        return batch

    def _play(
        self,
        batch: StepBatch,
        write_actions: Chooser,
        places: list[_Places],
        episodes: Episodes,
        seconds: PhaseSeconds,
    ) -> list[tuple[int, torch.Tensor, torch.Tensor]]:
        """All steps of a rollout; the last observations of truncated episodes: step, rows, observations."""
        finals = []
        clock, vector = time.perf_counter, self.vector
        environment = forward = 0.0
        began = first = clock()
        for step, place in enumerate(places):
            place.observations[...] = batch.observations.numpy()
            write_actions(step, place.flat_observations, place.actions)
            chosen = clock()
            vector.send(place.action_tensor)
            batch = vector.recv()
            received = clock()
            forward += chosen - began
            environment += received - chosen
            began = received
            self.on_step()
            place.rewards[...] = batch.rewards.numpy()
            place.terminated[...] = batch.terminated.numpy()
            place.truncated[...] = batch.truncated.numpy()
            place.live[...] = batch.live.numpy()
            if batch.final_observations is not None:
                final = batch.final_observations
                finals.append((step, final.rows.clone(), final.observations.clone()))
            if batch.episodes is not None:
                episodes.add(batch.episodes)
        self.held = batch
        seconds.environment += environment
        seconds.forward += forward
        seconds.copy += clock() - first - environment - forward
        return finals

    def _places_of(self, buffer: RolloutBuffer) -> list[_Places]:
        if self._buffer is not buffer:
            self._buffer = buffer
            self._places = [self._place_of(buffer, *self._place(0, step)) for step in range(self.num_steps)]
        return self._places

    @staticmethod
    def _place_of(buffer: RolloutBuffer, t: int, columns: slice) -> _Places:
        observations = buffer.observations[t, columns].numpy()
        flat = observations.reshape(len(observations), -1)
        return _Places(
            observations,
            flat,
            buffer.actions[t, columns].numpy(),
            buffer.actions[t, columns],
            *(
                fields[t, columns].numpy()
                for fields in (buffer.rewards, buffer.terminated, buffer.truncated, buffer.live)
            ),
        )

    def _evaluate(
        self, buffer: RolloutBuffer, last: StepBatch, finals: list[tuple[int, torch.Tensor, torch.Tensor]]
    ) -> None:
        """Everything that a rollout's observations and outcomes determine."""
        num_rows = self.vector.num_agents
        scores, values = self.evaluate(buffer.observations.flatten(0, 1))
        buffer.scores.copy_(scores.view_as(buffer.scores))
        buffer.values.copy_(values.view_as(buffer.values))
        buffer.log_probs.copy_(self.distribution.log_probs(buffer.scores, buffer.actions))

        cut = buffer.terminated | buffer.truncated | ~buffer.live
        buffer.resets[1:] = cut[:-1]
        buffer.resets[0, :num_rows] = self.resets
        buffer.resets[0, num_rows:] = cut[-1, :-num_rows]
        self.resets.copy_(cut[-1, -num_rows:])

        _, following = self.evaluate(torch.cat([last.observations, *(final[2] for final in finals)]))
        buffer.following_values.zero_()
        buffer.following_values[-1, :-num_rows] = buffer.values[0, num_rows:]
        buffer.following_values[-1, -num_rows:] = following[:num_rows]
        buffer.following_values[-1] *= ~cut[-1]
        if finals:
            places = [self._place(0, step) for step, _, _ in finals]
            steps = torch.cat(
                [torch.full_like(rows, t) for (t, _), (_, rows, _) in zip(places, finals, strict=True)]
            )
            columns = torch.cat(
                [rows + where.start for (_, where), (_, rows, _) in zip(places, finals, strict=True)]
            )
            buffer.following_values[steps, columns] = following[num_rows:]
