"""From scores to actions: sampling, log-probabilities and entropies, without building distribution objects.

Noise is drawn apart from sampling so that a whole rollout's noise comes from one call.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.vector.base import ActionLayout

    PullBack = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    # Gradients of log-probabilities and of entropies, (…,) each → gradients of the scores (…, K).


class ActionDistribution(ABC):
    """How an agent's scores (…, K) become actions (…, width)."""

    width: int
    num_scores: int
    dtype: torch.dtype

    @abstractmethod
    def draw_noise(self, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        """The randomness of `shape` actions: (*shape, width) on the generator's device."""

    @abstractmethod
    def sample(self, scores: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Actions (B, width) from scores (B, K) and noise (B, width)."""

    @abstractmethod
    def greedy(self, scores: torch.Tensor) -> torch.Tensor:
        """The likeliest actions (B, width)."""

    @abstractmethod
    def log_probs(self, scores: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Log-probabilities (densities) of actions (…, width): (…,), summed over the width."""

    @abstractmethod
    def log_probs_and_entropies(
        self, scores: torch.Tensor, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities and entropies, (…,) each, summed over the width."""

    @abstractmethod
    def pull_back(
        self, scores: torch.Tensor, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, PullBack]:
        """`log_probs_and_entropies` without a graph, and how gradients go back through them to the scores."""


class DiscreteActions(ActionDistribution):
    """One categorical choice or several independent ones; their logits stand side by side."""

    dtype = torch.int64

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self.sizes = sizes
        self.width = len(sizes)
        self.num_scores = sum(sizes)

    def draw_noise(self, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        """Uniform in [0, 1)."""
        return torch.rand((*shape, self.width), generator=generator, device=generator.device)

    def sample(self, scores: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """By inverting the distribution function: one uniform number a choice."""
        choices = [
            # The sum of rounded probabilities may end below the noise: the last choice takes the rest.
            (part.softmax(-1).cumsum(-1)[:, :-1] <= noise[:, i : i + 1]).sum(-1, keepdim=True)
            for i, part in enumerate(self._parts(scores))
        ]
        return choices[0] if self.width == 1 else torch.cat(choices, dim=-1)

    def greedy(self, scores: torch.Tensor) -> torch.Tensor:
        """The choice of the largest logit."""
        return torch.cat([part.argmax(-1, keepdim=True) for part in self._parts(scores)], dim=-1)

    def log_probs(self, scores: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Of the chosen ones."""
        total = None
        for i, part in enumerate(self._parts(scores)):
            chosen = part.log_softmax(-1).gather(-1, actions[..., i : i + 1]).squeeze(-1)
            total = chosen if total is None else total + chosen
        assert total is not None
        return total

    def log_probs_and_entropies(
        self, scores: torch.Tensor, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the chosen ones, and the entropy in nats."""
        log_probs, entropies = [], []
        for i, part in enumerate(self._parts(scores)):
            every = part.log_softmax(-1)
            log_probs.append(every.gather(-1, actions[..., i : i + 1]).squeeze(-1))
            entropies.append(-(every.exp() * every).sum(-1))
        if self.width == 1:
            return log_probs[0], entropies[0]
        return torch.stack(log_probs).sum(0), torch.stack(entropies).sum(0)

    def pull_back(
        self, scores: torch.Tensor, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, PullBack]:
        """D log p(a) / d scores = [a] - p, and d H / d scores = -p (log p + H)."""
        every = [part.log_softmax(-1) for part in self._parts(scores)]
        chosen = [part.gather(-1, actions[..., i : i + 1]) for i, part in enumerate(every)]
        shares = [part.exp() for part in every]
        entropies = [-(p * log_p).sum(-1, keepdim=True) for p, log_p in zip(shares, every, strict=True)]

        def to_scores(log_prob_gradients: torch.Tensor, entropy_gradients: torch.Tensor) -> torch.Tensor:
            by_log_prob, by_entropy = log_prob_gradients.unsqueeze(-1), entropy_gradients.unsqueeze(-1)
            gradients = []
            for i, (p, log_p, entropy) in enumerate(zip(shares, every, entropies, strict=True)):
                gradient = (log_p + entropy).mul_(by_entropy).add_(by_log_prob).mul_(p).neg_()
                gradients.append(gradient.scatter_add_(-1, actions[..., i : i + 1], by_log_prob))
            return gradients[0] if self.width == 1 else torch.cat(gradients, dim=-1)

        if self.width == 1:
            return chosen[0].squeeze(-1), entropies[0].squeeze(-1), to_scores
        return torch.cat(chosen, -1).sum(-1), torch.cat(entropies, -1).sum(-1), to_scores

    def _parts(self, scores: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (scores,) if self.width == 1 else torch.split(scores, list(self.sizes), dim=-1)


class GaussianActions(ActionDistribution):
    """Independent normal distributions: means and log deviations stand side by side.

    The sample itself is stored and its density is learnt from; the environment gets it clipped to its bounds,
    which is part of the environment as far as the policy can tell.
    """

    dtype = torch.float32

    def __init__(self, width: int) -> None:
        self.width = width
        self.num_scores = 2 * width

    def draw_noise(self, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        """Standard normal."""
        return torch.randn((*shape, self.width), generator=generator, device=generator.device)

    def sample(self, scores: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Mean plus deviation times noise."""
        mean, log_deviation = scores[..., : self.width], scores[..., self.width :]
        return mean + log_deviation.exp() * noise

    def greedy(self, scores: torch.Tensor) -> torch.Tensor:
        """The means."""
        return scores[..., : self.width]

    def log_probs(self, scores: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Log-densities."""
        mean, log_deviation = scores[..., : self.width], scores[..., self.width :]
        deviates = (actions - mean) * (-log_deviation).exp()
        return -(0.5 * deviates.square() + log_deviation).sum(-1) - 0.5 * self.width * math.log(2 * math.pi)

    def log_probs_and_entropies(
        self, scores: torch.Tensor, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-densities, and the differential entropy in nats."""
        log_deviation = scores[..., self.width :]
        entropies = log_deviation.sum(-1) + 0.5 * self.width * (1 + math.log(2 * math.pi))
        return self.log_probs(scores, actions), entropies

    def pull_back(
        self, scores: torch.Tensor, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, PullBack]:
        """With z = (a - mean) / deviation: z / deviation for the mean, z² - 1 for the log deviation."""
        mean, log_deviation = scores[..., : self.width], scores[..., self.width :]
        inverse = (-log_deviation).exp()
        deviates = (actions - mean) * inverse
        log_probs, entropies = self.log_probs_and_entropies(scores, actions)

        def to_scores(log_prob_gradients: torch.Tensor, entropy_gradients: torch.Tensor) -> torch.Tensor:
            by_log_prob, by_entropy = log_prob_gradients.unsqueeze(-1), entropy_gradients.unsqueeze(-1)
            return torch.cat(
                [by_log_prob * deviates * inverse, by_log_prob * (deviates.square() - 1) + by_entropy], dim=-1
            )

        return log_probs, entropies, to_scores


def make_distribution(layout: ActionLayout) -> ActionDistribution:
    """The distribution that fits an environment's actions."""
    if layout.kind == "continuous":
        return GaussianActions(layout.width)
    return DiscreteActions(layout.sizes)
