"""Advantages: V-trace targets with a lambda, which are GAE while the policy has not moved.

With importance ratios r_t, rho_t = min(r_t, rho_clip), c_t = min(r_t, c_clip) and n_t the value of what
follows step t (the next step's value, zero after a termination, the final observation's after a truncation):

    delta_t = rho_t (reward_t + gamma n_t - value_t)
    A_t     = delta_t + gamma lambda c_t A_{t+1}      (the second term is cut where an episode ends)

Espeholt et al., "IMPALA" (2018), equation 1, with the lambda of Schulman et al., "High-dimensional continuous
control using generalized advantage estimation" (2016), equation 16; ratios of 1 give the latter exactly.

All arrays are time first: (T, S).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Transitions:
    """What advantages are made of besides values and ratios: fixed once a rollout is done.

    Attributes:
        rewards: float32 (T, S).
        following_values: float32 (T, S): the value to bootstrap from after step t where the episode ends
            there by truncation, zero where it ends by termination; unused elsewhere except in the last row,
            which holds the value of the observation after the segment.
        cut: bool (T, S): the step's successor in the segment belongs to another episode (or the step is
            dead).
        live: bool (T, S): False for steps that never happened; their advantage is zero.
    """

    rewards: torch.Tensor
    following_values: torch.Tensor
    cut: torch.Tensor
    live: torch.Tensor


def compute_advantages(
    transitions: Transitions,
    values: torch.Tensor,
    ratios: torch.Tensor,
    *,
    gamma: torch.Tensor,
    gae_lambda: torch.Tensor,
    rho_clip: torch.Tensor,
    c_clip: torch.Tensor,
    accumulate: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
) -> torch.Tensor:
    """Advantages (T, S) from the current values and importance ratios of every step.

    The coefficients are 0-dimensional tensors: a compiled or captured caller serves every trial. `accumulate`
    is one of the two functions below; None takes the quicker one for the device.
    """
    own_next = ~transitions.cut
    own_next[-1].zero_()
    shifted = torch.cat([values[1:], values[-1:]])
    following = torch.where(own_next, shifted, transitions.following_values)
    deltas = torch.minimum(ratios, rho_clip) * (transitions.rewards + gamma * following - values)
    deltas = deltas * transitions.live
    decays = torch.minimum(ratios, c_clip) * (gamma * gae_lambda) * own_next
    if accumulate is None:
        accumulate = accumulate_in_place if deltas.device.type == "cpu" else accumulate_by_doubling
    return accumulate(deltas, decays)


def accumulate_in_place(deltas: torch.Tensor, decays: torch.Tensor) -> torch.Tensor:
    """A_t = deltas_t + decays_t A_{t+1}, by a loop over t in the memory of `deltas` (CPU).

    NumPy's calls cost a fifth of torch's at these sizes; with T = 64 the loop beats the doubling scan from 32
    segments up and is even with it below.
    """
    result, factors = deltas.numpy(), decays.numpy()
    for step in range(len(result) - 2, -1, -1):
        result[step] += factors[step] * result[step + 1]
    return deltas


def accumulate_by_doubling(deltas: torch.Tensor, decays: torch.Tensor) -> torch.Tensor:
    """The same in log2 T rounds: each merges every step with the one 2^k later (Hillis, Steele, 1986)."""
    sums, factors = deltas, decays
    reach = 1
    while reach < len(sums):
        zeros = torch.zeros_like(sums[:reach])
        sums = sums + factors * torch.cat([sums[reach:], zeros])
        factors = factors * torch.cat([factors[reach:], zeros])
        reach *= 2
    return sums
