"""PPO's losses: Schulman et al., "Proximal policy optimization algorithms" (2017), equations 7 and 9.

Every mean is a sum over the live steps divided by a weight that the caller gives: the number of live steps
of the whole minibatch, so that pieces of a minibatch add up to the whole (gradient accumulation).
"""

from __future__ import annotations

from typing import NamedTuple

import torch


class LossInputs(NamedTuple):
    """One piece of a minibatch, all (T, M).

    Attributes:
        log_probs, entropies, values: of the policy as it is now.
        old_log_probs, old_values: as they were in the rollout.
        advantages: normalised and weighted.
        returns: what the values should be.
        live: 1.0 for steps that count, else 0.0.
    """

    log_probs: torch.Tensor
    entropies: torch.Tensor
    values: torch.Tensor
    old_log_probs: torch.Tensor
    old_values: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor
    live: torch.Tensor


class LossCoefficients(NamedTuple):
    """0-dimensional tensors: hyperparameters that vary between trials."""

    clip: torch.Tensor
    value: torch.Tensor
    value_clip: torch.Tensor
    entropy: torch.Tensor


LOSS_NAMES = ("policy", "value", "entropy", "kl", "clip_fraction", "total")
"""The rows of the second result of `ppo_loss`."""


def normalise_advantages(advantages: torch.Tensor, live: torch.Tensor) -> torch.Tensor:
    """To mean 0 and standard deviation 1 over the live steps of a minibatch (T, M); dead steps become 0."""
    count = live.sum().clamp(min=1.0)
    mean = (advantages * live).sum() / count
    centred = (advantages - mean) * live
    deviation = (centred.square().sum() / (count - 1.0).clamp(min=1.0)).sqrt()
    return centred / (deviation + 1e-8)


def ppo_loss(
    inputs: LossInputs, coefficients: LossCoefficients, total_weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The loss to minimise, its parts, and the ratios.

    Args:
        inputs: one piece of a minibatch.
        coefficients: the weights and clips.
        total_weight: live steps of the whole minibatch.

    Returns:
        The loss (scalar, with gradient); detached parts in the order of `LOSS_NAMES`; ratios (T, M),
        detached.
    """
    log_ratios = inputs.log_probs - inputs.old_log_probs
    ratios = log_ratios.exp()
    low, high = 1.0 - coefficients.clip, 1.0 + coefficients.clip
    clipped = torch.minimum(torch.maximum(ratios, low), high)
    policy = torch.maximum(-inputs.advantages * ratios, -inputs.advantages * clipped)

    moved = inputs.values - inputs.old_values
    moved = torch.minimum(torch.maximum(moved, -coefficients.value_clip), coefficients.value_clip)
    errors = (inputs.values - inputs.returns).square()
    clipped_errors = (inputs.old_values + moved - inputs.returns).square()
    value = 0.5 * torch.maximum(errors, clipped_errors)

    with torch.no_grad():
        ratios = ratios.detach()
        kl = ratios - 1.0 - log_ratios  # Schulman's low-variance estimator, never negative
        outside = ((ratios - 1.0).abs() > coefficients.clip).to(ratios.dtype)
    terms = torch.stack([policy, value, inputs.entropies, kl, outside])
    means = (terms * inputs.live).sum((1, 2)) / total_weight
    loss = means[0] + coefficients.value * means[1] - coefficients.entropy * means[2]
    parts = torch.cat([means.detach(), loss.detach().unsqueeze(0)])
    return loss, parts, ratios


class LossGradients(NamedTuple):
    """What `ppo_loss_gradients` returns, all detached.

    Attributes:
        parts: in the order of `LOSS_NAMES`.
        ratios: (T, M).
        log_probs, entropies, values: d loss / d of each, (T, M).
    """

    parts: torch.Tensor
    ratios: torch.Tensor
    log_probs: torch.Tensor
    entropies: torch.Tensor
    values: torch.Tensor


def ppo_loss_gradients(
    inputs: LossInputs, coefficients: LossCoefficients, total_weight: torch.Tensor
) -> LossGradients:
    """`ppo_loss` and its gradients, written out by hand.

    On small networks autograd's book-keeping for the loss takes longer than the networks themselves; this is
    the same arithmetic in a third of the operations.
    """
    log_ratios = inputs.log_probs - inputs.old_log_probs
    ratios = log_ratios.exp()
    free = inputs.advantages * ratios
    bound = inputs.advantages * torch.clamp(ratios, 1.0 - coefficients.clip, 1.0 + coefficients.clip)
    policy = torch.minimum(free, bound)

    moved = inputs.values - inputs.old_values
    kept = torch.clamp(moved, -coefficients.value_clip, coefficients.value_clip)
    errors = inputs.values - inputs.returns
    squares = errors.square()
    clipped_squares = (inputs.old_values + kept - inputs.returns).square()
    value = torch.maximum(squares, clipped_squares)

    share = inputs.live / total_weight
    off = ratios - 1.0
    outside = (off.abs() > coefficients.clip).to(ratios.dtype)
    terms = torch.stack([policy, value, inputs.entropies, off - log_ratios, outside])
    sums = (terms * share).sum((1, 2)).unbind()
    means = torch.stack([-sums[0], 0.5 * sums[1], *sums[2:]])
    total = means[0] + coefficients.value * means[1] - coefficients.entropy * means[2]

    # Where the clip binds and keeps the larger loss, nothing flows back; inside the clip both branches are
    # one.
    policy_flows = free <= bound
    value_flows = (squares >= clipped_squares) | (moved == kept)
    return LossGradients(
        parts=torch.cat([means, total.unsqueeze(0)]),
        ratios=ratios,
        log_probs=-(free * policy_flows * share),
        entropies=-coefficients.entropy * share,
        values=errors * value_flows * share * coefficients.value,
    )
