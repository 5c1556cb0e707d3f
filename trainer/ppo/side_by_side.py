"""Acting and learning in shares of a batch that are computed side by side."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch

from trainer.ppo.rollout import act
from trainer.ppo.update import Piece, piece_gradients

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainer.policies.base import Agent, State
    from trainer.policies.sampling import ActionDistribution
    from trainer.ppo.loss import LossCoefficients

    Result = TypeVar("Result")


class Crew(Protocol):
    """See `trainer.team.Team`."""

    def run(self, jobs: Sequence[Callable[[], Result]]) -> list[Result]:
        """All jobs' results, in order."""

    def shares(self, count: int) -> list[slice]:
        """Ranges of `count` things."""


def backpropagate_side_by_side(
    crew: Crew,
) -> Callable[..., tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """`trainer.ppo.update.backpropagate_piece`, each thread with a share of the segments."""

    def backpropagate(
        agent: Agent,
        distribution: ActionDistribution,
        piece: Piece,
        coefficients: LossCoefficients,
        total_weight: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        parameters = [parameter for parameter in agent.parameters() if parameter.requires_grad]

        # A remembering agent goes through whole segments; for others a range of steps is as good, and lies together.
        axis = 1 if piece.states else 0

        def learn_from(part: slice) -> tuple[torch.Tensor, ...]:
            with torch.enable_grad():
                share = share_of(piece, axis, part)
                found = piece_gradients(agent, distribution, share, coefficients, total_weight)
                gradients = torch.autograd.grad(
                    found.outputs, parameters, found.gradients, allow_unused=True, materialize_grads=True
                )
            return found.parts, found.ratios, found.values, *gradients

        jobs = [functools.partial(learn_from, part) for part in crew.shares(piece.advantages.shape[axis])]
        answers = list(zip(*crew.run(jobs), strict=True))
        for parameter, gradients in zip(parameters, answers[3:], strict=True):
            total = gradients[0]
            for gradient in gradients[1:]:
                total = total + gradient
            parameter.grad = total if parameter.grad is None else parameter.grad + total
        return torch.stack(answers[0]).sum(0), torch.cat(answers[1], axis), torch.cat(answers[2], axis)

    return backpropagate


def share_of(piece: Piece, axis: int, part: slice) -> Piece:
    """A range of a piece's steps (axis 0) or segments (axis 1)."""
    where = (slice(None),) * axis + (part,)
    return Piece(
        observations=piece.observations[where],
        states=tuple(state[part] for state in piece.states),
        resets=piece.resets[where] if piece.states else piece.resets,
        actions=piece.actions[where],
        old_log_probs=piece.old_log_probs[where],
        old_values=piece.old_values[where],
        advantages=piece.advantages[where],
        returns=piece.returns[where],
        live=piece.live[where],
    )


def act_side_by_side(
    crew: Crew, least_rows: int
) -> Callable[..., tuple[torch.Tensor, torch.Tensor, torch.Tensor, State, State]]:
    """`trainer.ppo.rollout.act`, each thread with a share of the rows where there are at least so many."""

    def act_in_shares(
        agent: Agent,
        distribution: ActionDistribution,
        observations: torch.Tensor,
        state: State,
        resets: torch.Tensor,
        noise: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, State, State]:
        if len(observations) < least_rows:
            return act(agent, distribution, observations, state, resets, noise)

        def act_for(
            rows: slice,
        ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, State, State]:
            with torch.no_grad():
                mine = tuple(part[rows] for part in state)
                return act(agent, distribution, observations[rows], mine, resets[rows], noise[rows])

        jobs = [functools.partial(act_for, rows) for rows in crew.shares(len(observations))]
        actions, scores, values, before, after = zip(*crew.run(jobs), strict=True)
        return (
            torch.cat(actions),
            torch.cat(scores),
            torch.cat(values),
            tuple(torch.cat(parts) for parts in zip(*before, strict=True)),
            tuple(torch.cat(parts) for parts in zip(*after, strict=True)),
        )

    return act_in_shares
