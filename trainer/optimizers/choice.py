"""From `[train] optimizer` to an optimiser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from trainer.optimizers.muon import Muon

if TYPE_CHECKING:
    from trainer.config import Config


def make_optimizer(config: Config, policy: nn.Module) -> torch.optim.Optimizer:
    """Adam or Muon over a policy's parameters, with `[train]`'s betas and epsilon."""
    settings = config.train
    betas = (settings.adam_beta1, settings.adam_beta2)
    if settings.optimizer == "adam":
        parameters = [parameter for parameter in policy.parameters() if parameter.requires_grad]
        return torch.optim.Adam(
            parameters,
            lr=_rate(settings.learning_rate, parameters),
            betas=betas,
            eps=settings.adam_eps,
            fused=True,
            capturable=parameters[0].is_cuda,
        )
    return Muon(policy, learning_rate=settings.learning_rate, betas=betas, eps=settings.adam_eps)


def _rate(value: float, parameters: list[nn.Parameter]) -> float | torch.Tensor:
    # On CUDA a tensor, which a captured step reads anew at every replay; on the CPU a plain number is
    # quicker.
    device = parameters[0].device
    return torch.tensor(value, device=device) if device.type == "cuda" else value


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """For the steps from now on."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(value)
        else:
            group["lr"] = value
