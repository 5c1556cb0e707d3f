"""Learning from one batch of experience: minibatch by minibatch, advantages → segments → loss → step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from trainer.ppo.advantage import compute_advantages
from trainer.ppo.images import choose_segments
from trainer.ppo.loss import (
    LOSS_NAMES,
    LossCoefficients,
    LossInputs,
    normalise_advantages,
    ppo_loss,
    ppo_loss_gradients,
)
from trainer.ppo.prioritise import draw_segments, importance_weights, segment_probabilities

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainer.policies.base import Agent, State
    from trainer.policies.precision import Compute
    from trainer.policies.sampling import ActionDistribution
    from trainer.ppo.buffer import RolloutBuffer


class Coefficients(NamedTuple):
    """The hyperparameters of a gradient step as 0-dimensional tensors on the device.

    As tensors they can change between trials without a compiled or captured step being made again.
    """

    gamma: torch.Tensor
    gae_lambda: torch.Tensor
    rho_clip: torch.Tensor
    c_clip: torch.Tensor
    clip: torch.Tensor
    value: torch.Tensor
    value_clip: torch.Tensor
    entropy: torch.Tensor
    prio_alpha: torch.Tensor
    prio_beta: torch.Tensor


@dataclass(frozen=True, slots=True)
class Plan:
    """How a batch is cut: fixed for a run.

    Attributes:
        num_minibatches: gradient steps per batch.
        minibatch_segments: segments per gradient step.
        piece_segments: segments in memory at once; fewer than a minibatch's means gradients are accumulated.
        max_grad_norm: longer gradients are scaled down to it.
        prioritised: False (prio_alpha = 0) deals all segments out in random order, each once before any
            twice.
    """

    num_minibatches: int
    minibatch_segments: int
    piece_segments: int
    max_grad_norm: float
    prioritised: bool


@dataclass(frozen=True, slots=True)
class UpdateStats:
    """What an update measured, still on the device.

    Attributes:
        losses: mean over the minibatches, in the order of `LOSS_NAMES`.
        grad_norm: mean length of the gradients before clipping.
        explained_variance: share of the returns' variance that the rollout's values explain.
    """

    losses: torch.Tensor
    grad_norm: torch.Tensor
    explained_variance: torch.Tensor

    def numbers(self) -> torch.Tensor:
        """All of it side by side, in the order of `UPDATE_NAMES`."""
        return torch.cat([self.losses, self.grad_norm.reshape(1), self.explained_variance.reshape(1)])

    def read(self) -> dict[str, float]:
        """All of it as numbers, with one wait for the device."""
        return dict(zip(UPDATE_NAMES, self.numbers().tolist(), strict=True))


UPDATE_NAMES = (*LOSS_NAMES, "grad_norm", "explained_variance")
"""What `UpdateStats` holds."""


class Piece(NamedTuple):
    """The part of a minibatch that is in memory at once: everything a loss is computed from, (T, M, …)."""

    observations: torch.Tensor
    states: State
    resets: torch.Tensor
    actions: torch.Tensor
    old_log_probs: torch.Tensor
    old_values: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor
    live: torch.Tensor


def piece_loss(
    agent: Agent,
    distribution: ActionDistribution,
    piece: Piece,
    coefficients: LossCoefficients,
    total_weight: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Run the agent on a piece: loss, its parts, the ratios and the values (the last three detached).

    A function of tensors without side effects, so that it can be compiled once and serve every trial.
    """
    scores, values = agent(piece.observations, piece.states, piece.resets)
    log_probs, entropies = distribution.log_probs_and_entropies(scores, piece.actions)
    inputs = LossInputs(
        log_probs=log_probs,
        entropies=entropies,
        values=values,
        old_log_probs=piece.old_log_probs,
        old_values=piece.old_values,
        advantages=piece.advantages,
        returns=piece.returns,
        live=piece.live,
    )
    loss, parts, ratios = ppo_loss(inputs, coefficients, total_weight)
    return loss, parts, ratios, values.detach()


class PieceGradients(NamedTuple):
    """What remains to be backpropagated of a piece, and what was measured on the way.

    Attributes:
        outputs: of the agent, with their graph.
        gradients: of the loss with respect to the outputs.
        parts: of the loss, in the order of `LOSS_NAMES`.
        ratios, values: (T, M), detached.
    """

    outputs: tuple[torch.Tensor, ...]
    gradients: tuple[torch.Tensor, ...]
    parts: torch.Tensor
    ratios: torch.Tensor
    values: torch.Tensor


def piece_gradients(
    agent: Agent,
    distribution: ActionDistribution,
    piece: Piece,
    coefficients: LossCoefficients,
    total_weight: torch.Tensor,
) -> PieceGradients:
    """Run the agent on a piece, and the loss with its own gradients by formula."""
    scores, values = agent(piece.observations, piece.states, piece.resets)
    with torch.no_grad():
        log_probs, entropies, to_scores = distribution.pull_back(scores, piece.actions)
        inputs = LossInputs(
            log_probs=log_probs,
            entropies=entropies,
            values=values,
            old_log_probs=piece.old_log_probs,
            old_values=piece.old_values,
            advantages=piece.advantages,
            returns=piece.returns,
            live=piece.live,
        )
        gradients = ppo_loss_gradients(inputs, coefficients, total_weight)
        score_gradients = to_scores(gradients.log_probs, gradients.entropies)
    return PieceGradients(
        (scores, values),
        (score_gradients, gradients.values),
        gradients.parts,
        gradients.ratios,
        values.detach(),
    )


def backpropagate_piece(
    agent: Agent,
    distribution: ActionDistribution,
    piece: Piece,
    coefficients: LossCoefficients,
    total_weight: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Add the gradients of a piece to the agent's weights: the loss's parts, the ratios, the values.

    The same as `piece_loss` and a backward pass, with the loss's own gradients by formula.
    """
    found = piece_gradients(agent, distribution, piece, coefficients, total_weight)
    torch.autograd.backward(found.outputs, found.gradients)
    return found.parts, found.ratios, found.values


def backpropagate_through(
    loss_function: Callable[..., tuple[torch.Tensor, ...]],
) -> Callable[..., tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """`backpropagate_piece` by a loss with a graph: `piece_loss`, or a compiled form of it."""

    def backpropagate(*arguments: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        loss, parts, ratios, values = loss_function(*arguments)
        loss.backward()  # type: ignore[no-untyped-call]
        return parts, ratios, values

    return backpropagate


class Learner:
    """Updates an agent from a buffer.

    Args:
        agent: what is learnt.
        compute: what runs it; its own weights are brought up to date before every gradient step.
        distribution: of the actions.
        optimizer: over the agent's parameters.
        plan: how a batch is cut.
        generator: draws the segments.
        on_minibatch: called at every gradient step.
        backpropagate: `backpropagate_piece` or what `backpropagate_through` makes of a compiled loss.
    """

    def __init__(
        self,
        agent: Agent,
        compute: Compute,
        distribution: ActionDistribution,
        optimizer: torch.optim.Optimizer,
        plan: Plan,
        *,
        generator: torch.Generator,
        on_minibatch: Callable[[], None],
        backpropagate: Callable[..., tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = backpropagate_piece,
    ) -> None:
        self.compute = compute
        self.distribution = distribution
        self.optimizer = optimizer
        self.plan = plan
        self.generator = generator
        self.on_minibatch = on_minibatch
        self.backpropagate = backpropagate
        self.parameters = [parameter for parameter in agent.parameters() if parameter.requires_grad]

    def update(self, buffer: RolloutBuffer, coefficients: Coefficients) -> UpdateStats:
        """All gradient steps that one batch is good for. The buffer is left as it is."""
        transitions = buffer.transitions()
        values, ratios = buffer.values.clone(), torch.ones_like(buffer.values)
        live = transitions.live.to(values.dtype)
        # What belongs to each step and never changes, side by side: one gather a minibatch instead of three.
        fixed = torch.stack([buffer.log_probs, buffer.values, live])
        loss_coefficients = LossCoefficients(
            coefficients.clip, coefficients.value, coefficients.value_clip, coefficients.entropy
        )
        all_parts, lengths = [], []
        explained: torch.Tensor | None = None
        # A minibatch of everything is not drawn, so there is no preference to correct for either.
        prioritised = self.plan.prioritised and self.plan.minibatch_segments < values.shape[1]
        deck = torch.empty(0, dtype=torch.int64, device=values.device)
        for _ in range(self.plan.num_minibatches):
            self.on_minibatch()
            self.compute.refresh()
            # Both move with the policy: values and ratios of segments learnt from are the newest known.
            advantages = compute_advantages(
                transitions,
                values,
                ratios,
                gamma=coefficients.gamma,
                gae_lambda=coefficients.gae_lambda,
                rho_clip=coefficients.rho_clip,
                c_clip=coefficients.c_clip,
            )
            if explained is None:
                explained = explained_variance(values, advantages + values, live)
            if prioritised:
                probabilities = segment_probabilities(advantages, coefficients.prio_alpha)
                chosen = draw_segments(probabilities, self.plan.minibatch_segments, self.generator)
                weights = importance_weights(probabilities, chosen, coefficients.prio_beta)
            else:
                chosen, deck = self._deal(deck, values.shape[1])
                weights = None
            parts = self._accumulate(
                buffer, fixed, chosen, weights, advantages, values, ratios, loss_coefficients
            )
            lengths.append(clip_gradients(self.parameters, self.plan.max_grad_norm))
            self.optimizer.step()
            all_parts.append(parts)
        assert explained is not None
        return UpdateStats(torch.stack(all_parts).mean(0), torch.stack(lengths).mean(), explained)

    def _deal(self, deck: torch.Tensor, num_segments: int) -> tuple[torch.Tensor, torch.Tensor]:
        count = self.plan.minibatch_segments
        if count >= num_segments:
            return torch.arange(num_segments, device=deck.device), deck
        if len(deck) < count:
            deck = torch.randperm(num_segments, generator=self.generator, device=self.generator.device)
        return deck[:count].sort().values, deck[count:]

    def _accumulate(
        self,
        buffer: RolloutBuffer,
        fixed: torch.Tensor,
        chosen: torch.Tensor,
        weights: torch.Tensor | None,
        advantages: torch.Tensor,
        values: torch.Tensor,
        ratios: torch.Tensor,
        coefficients: LossCoefficients,
    ) -> torch.Tensor:
        """Leave the gradients of one minibatch in place; the loss's parts.

        Writes the new values and ratios of the chosen segments.
        """
        old_log_probs, old_values, live = fixed.index_select(2, chosen)
        mine, baseline = torch.stack([advantages, values]).index_select(2, chosen)
        normalised = normalise_advantages(mine, live)
        if weights is not None:
            normalised = normalised * weights
        returns = mine + baseline
        total_weight = live.sum().clamp(min=1.0)
        self.optimizer.zero_grad(set_to_none=True)
        total: torch.Tensor | None = None
        size = self.plan.piece_segments
        for first in range(0, chosen.shape[0], size):
            part = slice(first, first + size)
            columns = chosen[part]
            piece = Piece(
                observations=take_observations(buffer, columns),
                states=tuple(state.index_select(0, columns) for state in buffer.states),
                resets=buffer.resets.index_select(1, columns) if buffer.states else buffer.resets,
                actions=buffer.actions.index_select(1, columns),
                old_log_probs=old_log_probs[:, part],
                old_values=old_values[:, part],
                advantages=normalised[:, part],
                returns=returns[:, part],
                live=live[:, part],
            )
            parts, new_ratios, new_values = self.backpropagate(
                self.compute.agent, self.distribution, piece, coefficients, total_weight
            )
            self.compute.return_gradients()
            # A compiled function may hand out the same memory again the next time.
            total = parts.clone() if total is None else total + parts
            values.index_copy_(1, columns, new_values)
            ratios.index_copy_(1, columns, new_ratios)
        assert total is not None
        return total


def take_observations(buffer: RolloutBuffer, columns: torch.Tensor) -> torch.Tensor:
    """The observations of some segments, (T, M, *O), on the device of the rest of the buffer."""
    observations = buffer.observations
    if observations.device == columns.device:
        return choose_segments(observations, columns)
    chosen = columns.to(observations.device)
    if not observations.is_pinned():
        return choose_segments(observations, chosen).to(columns.device)
    # Through pinned memory, from where they travel while the host goes on; the allocator keeps the memory until
    # they have arrived.
    steps, _, *shape = observations.shape
    staging = torch.empty((steps, len(chosen), *shape), dtype=observations.dtype, pin_memory=True)
    torch.index_select(observations, 1, chosen, out=staging)
    return staging.to(columns.device, non_blocking=True)


def clip_gradients(parameters: Sequence[torch.Tensor], max_norm: float) -> torch.Tensor:
    """Scale all gradients down until their length is at most `max_norm`; the length before, 0-dimensional."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if any(gradient.is_cuda for gradient in gradients):
        return torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    # The same arithmetic; on the CPU the other one's book-keeping takes longer than a small network's gradients.
    arrays = [gradient.numpy().reshape(-1) for gradient in gradients]
    length = math.sqrt(sum(float(np.dot(array, array)) for array in arrays))
    if length > max_norm:
        torch._foreach_mul_(gradients, max_norm / (length + 1e-6))
    return torch.tensor(length)


def health_numbers(live: torch.Tensor, parameters: Sequence[torch.Tensor]) -> torch.Tensor:
    """Live steps of a batch, and 1 where all weights are finite; both on the device, float64 (2,)."""
    # A sum of squares is finite only where every term is (weights near float32's limit are lost anyway).
    squares = torch.stack([parameter.detach().square().sum() for parameter in parameters])
    return torch.stack([live.sum(dtype=torch.float64), squares.isfinite().all().to(torch.float64)])


def explained_variance(values: torch.Tensor, returns: torch.Tensor, live: torch.Tensor) -> torch.Tensor:
    """1 - Var(returns - values) / Var(returns) over live steps; 0 where the returns do not vary."""
    count = live.sum().clamp(min=1.0)

    def variance(numbers: torch.Tensor) -> torch.Tensor:
        mean = (numbers * live).sum() / count
        return ((numbers - mean).square() * live).sum() / count

    spread = variance(returns)
    share = 1.0 - variance(returns - values) / spread.clamp(min=1e-12)
    return torch.where(spread > 1e-12, share, torch.zeros_like(share))
