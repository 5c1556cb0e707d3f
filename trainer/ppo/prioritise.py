"""Which segments a minibatch learns from: those with large advantages more often, and corrected for it.

Schaul et al., "Prioritized experience replay" (2016), equation 1 and section 3.4, on segments instead of
steps.
"""

from __future__ import annotations

import torch

PRIORITY_FLOOR = 1e-6
"""Added to every priority: a segment without any advantage keeps a chance, and all zero means uniform."""


def segment_probabilities(advantages: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Probabilities (S,) ∝ (Σ_t |A_t|)^alpha + floor, from advantages (T, S); alpha = 0 is uniform."""
    # What is not finite is found out by the loss; drawing from it would bring a CUDA device down.
    sizes = torch.nan_to_num(advantages.abs().sum(0), nan=0.0, posinf=0.0)
    priorities = sizes.pow(alpha) + PRIORITY_FLOOR
    return priorities / priorities.sum()


def importance_weights(probabilities: torch.Tensor, chosen: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
    """Weights (M,) = (S p)^-beta of the chosen segments (M,); 1 where all are equally likely."""
    return (probabilities[chosen] * probabilities.shape[0]).pow(-beta)


def draw_segments(probabilities: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """`count` different segments, drawn by their probabilities one after the other, in rising order.

    The order within a minibatch means nothing to the loss, and gathering in rising order is kinder to caches.
    """
    if count >= probabilities.shape[0]:
        return torch.arange(probabilities.shape[0], device=probabilities.device)
    # An exponential race (Efraimidis and Spirakis, 2006), to the bit what torch.multinomial does, without its
    # look at the numbers, for which the host would wait.
    arrivals = torch.empty_like(probabilities).exponential_(generator=generator)
    return (probabilities / arrivals).topk(count, sorted=False).indices.sort().values
