"""The gradient step on static memory: advantages → segments → loss → step, nothing for the host to look at.

The same arithmetic as `trainer.ppo.update.Learner`, of which it takes the place: what changes from minibatch
to minibatch lies in tensors that stay where they are, so that one captured graph is replayed for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from trainer.cuda.advantage import advantages_by_scan
from trainer.ppo.images import choose_segments
from trainer.ppo.loss import LOSS_NAMES, LossCoefficients, normalise_advantages
from trainer.ppo.prioritise import draw_segments, importance_weights, segment_probabilities
from trainer.ppo.update import Piece, PieceGradients, UpdateStats, explained_variance, piece_gradients

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.cuda.capture import Capture, Captured
    from trainer.cuda.optimizers import FlatOptimizer
    from trainer.policies.base import Agent
    from trainer.policies.precision import Compute
    from trainer.policies.sampling import ActionDistribution
    from trainer.ppo.buffer import RolloutBuffer
    from trainer.ppo.update import Coefficients, Plan


class StaticUpdate:
    """What an update works on, and its two steps: `prepare` once a batch, `minibatch` once a gradient step.

    Args:
        agent: what is learnt.
        compute: what runs it.
        optimizer: over the agent's parameters.
        buffer, coefficients: read in place.
        plan: how a batch is cut; its `max_grad_norm` is the optimiser's here.
        generator: draws the segments.
        advantages: by the scan, or by the kernel that stands in for it.
        differentiate: `piece_gradients` or a compiled loss in its form.
    """

    def __init__(
        self,
        agent: Agent,
        compute: Compute,
        distribution: ActionDistribution,
        optimizer: FlatOptimizer,
        buffer: RolloutBuffer,
        coefficients: Coefficients,
        plan: Plan,
        *,
        generator: torch.Generator,
        advantages: Callable[..., torch.Tensor] = advantages_by_scan,
        differentiate: Callable[..., PieceGradients] = piece_gradients,
    ) -> None:
        self.compute = compute
        self.distribution = distribution
        self.optimizer = optimizer
        self.buffer = buffer
        self.coefficients = coefficients
        self.plan = plan
        self.generator = generator
        self.advantages = advantages
        self.differentiate = differentiate
        values = buffer.values
        self.num_segments = values.shape[1]
        # A minibatch of everything is not drawn, so there is no preference to correct for either.
        self.prioritised = plan.prioritised and plan.minibatch_segments < self.num_segments
        self.values, self.ratios = torch.zeros_like(values), torch.ones_like(values)
        self.fixed = torch.zeros((3, *values.shape), dtype=values.dtype, device=values.device)
        self.parts = torch.zeros(len(LOSS_NAMES), dtype=values.dtype, device=values.device)
        self.length = torch.zeros((), dtype=values.dtype, device=values.device)
        self.explained = torch.zeros((), dtype=values.dtype, device=values.device)
        self.dealt = torch.arange(
            min(plan.minibatch_segments, self.num_segments), dtype=torch.int64, device=values.device
        )
        # The parameters that compute (casts of the learnt ones, or the same), in the optimiser's order.
        used = {
            id(learnt): one
            for learnt, one in zip(agent.parameters(), compute.agent.parameters(), strict=True)
        }
        self._used = [used[id(parameter)] for parameter in optimizer.parameters]

    def tensors(self) -> list[torch.Tensor]:
        """All that the steps change, but for the computing agent's casts, which each step makes anew."""
        own = [self.values, self.ratios, self.fixed, self.parts, self.length, self.explained]
        return [*own, *self.optimizer.tensors()]

    def prepare(self) -> None:
        """Begin with a new batch."""
        buffer = self.buffer
        live = buffer.live.to(buffer.values.dtype)
        self.values.copy_(buffer.values)
        self.ratios.fill_(1.0)
        self.fixed.copy_(torch.stack([buffer.log_probs, buffer.values, live]))
        self.parts.zero_()
        self.length.zero_()
        returns = self._advantages() + self.values
        self.explained.copy_(explained_variance(self.values, returns, live))

    def _advantages(self) -> torch.Tensor:
        coefficients = self.coefficients
        return self.advantages(
            self.buffer.transitions(),
            self.values,
            self.ratios,
            gamma=coefficients.gamma,
            gae_lambda=coefficients.gae_lambda,
            rho_clip=coefficients.rho_clip,
            c_clip=coefficients.c_clip,
        )

    def minibatch(self) -> None:
        """One gradient step."""
        self.compute.refresh()
        advantages = self._advantages()
        weights: torch.Tensor | None = None
        if self.prioritised:
            probabilities = segment_probabilities(advantages, self.coefficients.prio_alpha)
            chosen = draw_segments(probabilities, self.plan.minibatch_segments, self.generator)
            weights = importance_weights(probabilities, chosen, self.coefficients.prio_beta)
        else:
            chosen = self.dealt
        parts, gradient = self._accumulate(chosen, weights, advantages)
        self.length.add_(self.optimizer.step(gradient))
        self.parts.add_(parts)

    def _accumulate(
        self, chosen: torch.Tensor, weights: torch.Tensor | None, advantages: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss's parts and the gradient of one minibatch; notes the new values and ratios."""
        buffer, coefficients = self.buffer, self.coefficients
        old_log_probs, old_values, live = self.fixed.index_select(2, chosen)
        mine, baseline = torch.stack([advantages, self.values]).index_select(2, chosen)
        normalised = normalise_advantages(mine, live)
        if weights is not None:
            normalised = normalised * weights
        returns = mine + baseline
        total_weight = live.sum().clamp(min=1.0)
        loss_coefficients = LossCoefficients(
            coefficients.clip, coefficients.value, coefficients.value_clip, coefficients.entropy
        )
        total: torch.Tensor | None = None
        gradient: torch.Tensor | None = None
        size = self.plan.piece_segments
        for first in range(0, chosen.shape[0], size):
            part = slice(first, first + size)
            columns = chosen[part]
            piece = Piece(
                observations=choose_segments(buffer.observations, columns),
                states=tuple(state.index_select(0, columns) for state in buffer.states),
                resets=buffer.resets.index_select(1, columns) if buffer.states else buffer.resets,
                actions=buffer.actions.index_select(1, columns),
                old_log_probs=old_log_probs[:, part],
                old_values=old_values[:, part],
                advantages=normalised[:, part],
                returns=returns[:, part],
                live=live[:, part],
            )
            found = self.differentiate(
                self.compute.agent, self.distribution, piece, loss_coefficients, total_weight
            )
            grads = torch.autograd.grad(
                found.outputs, self._used, found.gradients, allow_unused=True, materialize_grads=True
            )
            flat = self.optimizer.flatten(grads)
            gradient = flat if gradient is None else gradient.add_(flat)
            total = found.parts if total is None else total + found.parts
            self.values.index_copy_(1, columns, found.values)
            self.ratios.index_copy_(1, columns, found.ratios)
        assert total is not None
        assert gradient is not None
        return total, gradient


class StaticLearner:
    """Stands in for `trainer.ppo.update.Learner`, by a `StaticUpdate` that is captured at the first update.

    Args:
        update: the steps.
        capture: makes them replayable.
        on_minibatch: called at every gradient step.
    """

    def __init__(self, update: StaticUpdate, capture: Capture, on_minibatch: Callable[[], None]) -> None:
        self.static = update
        self.on_minibatch = on_minibatch
        self.parameters = update.optimizer.parameters
        self._capture = capture
        self._steps: tuple[Captured, Captured] | None = None

    @property
    def captured(self) -> tuple[Captured, ...]:
        """The captured steps; none before the first update."""
        return self._steps or ()

    def update(self, buffer: RolloutBuffer, coefficients: Coefficients) -> UpdateStats:
        """All gradient steps that one batch is good for. The buffer is left as it is."""
        static = self.static
        if buffer is not static.buffer or coefficients is not static.coefficients:
            raise ValueError(
                "a captured update works on the buffer and the coefficients that it was made for"
            )
        if self._steps is None:
            kept, generators = static.tensors(), [static.generator]
            self._steps = (
                self._capture("The beginning of an update", static.prepare, kept, generators),
                self._capture("The gradient step", static.minibatch, kept, generators),
            )
        prepare, minibatch = self._steps
        prepare.replay()
        deck = static.dealt[:0]
        for _ in range(static.plan.num_minibatches):
            self.on_minibatch()
            if not static.prioritised:
                deck = self._deal(deck)
            minibatch.replay()
        number = static.plan.num_minibatches
        return UpdateStats(static.parts / number, static.length / number, static.explained.clone())

    def _deal(self, deck: torch.Tensor) -> torch.Tensor:
        """Deal the next minibatch's segments, each once before any twice."""
        static = self.static
        count = static.plan.minibatch_segments
        if count >= static.num_segments:
            return deck
        if len(deck) < count:
            deck = torch.randperm(
                static.num_segments, generator=static.generator, device=static.generator.device
            )
        static.dealt.copy_(deck[:count].sort().values)
        return deck[count:]


def differentiate_through(
    loss_function: Callable[..., tuple[torch.Tensor, ...]],
) -> Callable[..., PieceGradients]:
    """`piece_gradients` by a loss with a graph: `piece_loss`, or a compiled form of it."""

    def differentiate(*arguments: Any) -> PieceGradients:
        loss, parts, ratios, values = loss_function(*arguments)
        # A compiled function may hand out the same memory again the next time.
        return PieceGradients((loss,), (torch.ones_like(loss),), parts.clone(), ratios, values)

    return differentiate
