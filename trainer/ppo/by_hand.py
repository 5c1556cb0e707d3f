"""The loss and its gradients for small networks on the CPU, in NumPy.

With a thousand numbers an operation the calls themselves are what costs, and NumPy's cost a third of torch's. The
arithmetic is that of `trainer.ppo.loss.ppo_loss_gradients` and `DiscreteActions.pull_back`, to which a test holds
it; outputs stand one below the other, (K + 1, B), so that each is a row of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from trainer.ppo.loss import LossCoefficients
    from trainer.ppo.update import Piece

    Floats = NDArray[np.float32]


class HandMadeNetwork(Protocol):
    """A network that knows its own gradients; its last output is the value."""

    choices: list[slice]
    """Which outputs are the logits of each choice."""

    def forward(self, observations: torch.Tensor) -> tuple[Floats, Callable[[Floats], None]]:
        """Outputs (K + 1, B) of observations (T, M, *O), B = T M, and what turns their gradients into the weights'."""


class Choice(NamedTuple):
    """One categorical choice of k for B rows."""

    shares: Floats
    """Probabilities, (k, B)."""
    logs: Floats
    """Their logarithms."""
    entropies: Floats
    """Nats, (B,)."""
    chosen: tuple[NDArray[np.int64], NDArray[np.int64]]
    """Where the actions taken lie in (k, B)."""


def backpropagate_by_hand(
    network: HandMadeNetwork,
) -> Callable[..., tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """`trainer.ppo.update.backpropagate_piece` for such a network and discrete actions."""

    def backpropagate(
        agent: Any,  # noqa: ARG001
        distribution: Any,  # noqa: ARG001
        piece: Piece,
        coefficients: LossCoefficients,
        total_weight: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        shape = piece.advantages.shape
        outputs, pull_back = network.forward(piece.observations)
        gradients, parts, ratios = output_gradients(
            outputs, network.choices, piece, coefficients, float(total_weight)
        )
        pull_back(gradients)
        values = torch.from_numpy(outputs[-1]).view(shape)
        return torch.from_numpy(parts), torch.from_numpy(ratios).view(shape), values

    return backpropagate


def weigh(logits: Floats, actions: NDArray[np.int64], rows: NDArray[np.int64]) -> Choice:
    """Probabilities, their logarithms and entropies of logits (k, B) and the actions (B,) that were taken."""
    shifted = logits - logits.max(axis=0)
    shares = np.exp(shifted)
    total = shares.sum(axis=0)
    shares /= total
    shifted -= np.log(total)
    return Choice(shares, shifted, -np.add.reduce(shares * shifted, axis=0), (actions, rows))


def output_gradients(
    outputs: Floats,
    choices: Sequence[slice],
    piece: Piece,
    coefficients: LossCoefficients,
    total_weight: float,
) -> tuple[Floats, Floats, Floats]:
    """The gradients of PPO's loss in a network's outputs.

    Args:
        outputs: (K + 1, B).
        choices: which rows are the logits of each choice.
        piece: what the loss is made of, (T, M) each, B = T M.
        coefficients: weights and clips.
        total_weight: live steps of the whole minibatch.

    Returns:
        The gradients (K + 1, B); the loss's parts in the order of `trainer.ppo.loss.LOSS_NAMES`; the ratios (B,).
    """
    clip, value_weight, value_clip, entropy_weight = (float(coefficient) for coefficient in coefficients)
    old_log_probs, old_values, advantages, returns, live = (
        tensor.reshape(-1).numpy()
        for tensor in (piece.old_log_probs, piece.old_values, piece.advantages, piece.returns, piece.live)
    )
    actions = piece.actions.numpy().reshape(len(live), -1)
    rows = np.arange(len(live))
    weighed = [weigh(outputs[part], actions[:, i], rows) for i, part in enumerate(choices)]
    log_probs, entropies = weighed[0].logs[weighed[0].chosen], weighed[0].entropies
    for choice in weighed[1:]:
        log_probs, entropies = log_probs + choice.logs[choice.chosen], entropies + choice.entropies

    log_ratios = log_probs - old_log_probs
    ratios = np.exp(log_ratios)
    free = advantages * ratios
    bound = advantages * np.minimum(np.maximum(ratios, 1.0 - clip), 1.0 + clip)
    moved = outputs[-1] - old_values
    kept = np.minimum(np.maximum(moved, -value_clip), value_clip)
    errors = outputs[-1] - returns
    squares = np.square(errors)
    clipped_squares = np.square(old_values + kept - returns)
    off = ratios - 1.0
    share = live / np.float32(total_weight)

    # Where the clip binds and keeps the larger loss, nothing flows back; inside the clip both branches are one.
    by_log_prob = free * (free <= bound)
    by_log_prob *= -share
    by_entropy = share * -entropy_weight
    gradients = np.empty_like(outputs)
    for part, choice in zip(choices, weighed, strict=True):
        gradient = choice.logs + choice.entropies
        gradient *= by_entropy
        gradient += by_log_prob
        np.multiply(gradient, choice.shares, out=gradients[part])
        np.negative(gradients[part], out=gradients[part])
        gradients[part][choice.chosen] += by_log_prob
    np.multiply(errors, (squares >= clipped_squares) | (moved == kept), out=gradients[-1])
    gradients[-1] *= share
    gradients[-1] *= value_weight

    policy = -np.dot(np.minimum(free, bound), share)
    value = 0.5 * np.dot(np.maximum(squares, clipped_squares), share)
    entropy = np.dot(entropies, share)
    parts = (
        policy,
        value,
        entropy,
        np.dot(off - log_ratios, share),
        np.dot((np.abs(off) > clip).astype(np.float32), share),
        policy + value_weight * value - entropy_weight * entropy,
    )
    return gradients, np.array(parts, np.float32), ratios
