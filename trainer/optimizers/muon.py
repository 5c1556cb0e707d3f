"""Muon: momentum, made orthogonal. Jordan et al., "Muon: an optimizer for hidden layers" (2024).

Matrices and convolution kernels take a step along the nearest (semi-)orthogonal matrix to their Nesterov
momentum, found by five Newton-Schulz steps; everything else, and the output head, takes an Adam step at the
same rate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from trainer.optimizers import symmetric

if TYPE_CHECKING:
    from collections.abc import Callable

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""The quintic a x + b x³ + c x⁵ whose slope at zero is as steep as convergence allows (Jordan et al.)."""

NUM_NEWTON_SCHULZ_STEPS = 5

GRAM_ASPECT = 2.0
"""From this ratio of the sides on, iterating on the smaller side's Gram matrix needs less arithmetic."""


def orthogonalise(matrix: torch.Tensor, eps: float | torch.Tensor = 1e-8) -> torch.Tensor:
    """Singular values of a matrix (n, m), or of each of several (B, n, m), moved near 1 (0.7 … 1.2).

    In float32 or wider.

    Wide matrices are iterated on as X ← P(XXᵀ) X with the n × n products gathered first: P only ever
    multiplies from the left and commutes with the Gram matrix, so that X itself is touched twice instead of
    at every step. In bfloat16 this blows up on decaying spectra, hence float32.
    """
    tall = matrix.shape[-2] > matrix.shape[-1]
    wide = matrix.mT if tall else matrix
    if symmetric.pays(wide, GRAM_ASPECT):
        result = _left_factor(wide, eps) @ wide
        return result.mT if tall else result
    wide = wide / (torch.linalg.vector_norm(wide, dim=(-2, -1), keepdim=True) + eps)
    by_gram = wide.shape[-1] >= GRAM_ASPECT * wide.shape[-2]
    result = _iterate_on_gram(wide) if by_gram else _iterate(wide)
    return result.mT if tall else result


def _left_factor(wide: torch.Tensor, eps: float | torch.Tensor) -> torch.Tensor:
    return symmetric.left_factor(wide, eps, COEFFICIENTS, NUM_NEWTON_SCHULZ_STEPS)


def _iterate(matrix: torch.Tensor) -> torch.Tensor:
    a, b, c = COEFFICIENTS
    multiply_and_add = torch.addmm if matrix.ndim == 2 else torch.baddbmm
    for _ in range(NUM_NEWTON_SCHULZ_STEPS):
        gram = matrix @ matrix.mT
        inner = multiply_and_add(gram, gram, gram, beta=b, alpha=c)
        matrix = multiply_and_add(matrix, inner, matrix, beta=a)
    return matrix


def _iterate_on_gram(matrix: torch.Tensor) -> torch.Tensor:
    a, b, c = COEFFICIENTS
    multiply_and_add = torch.addmm if matrix.ndim == 2 else torch.baddbmm
    gram = matrix @ matrix.mT
    product: torch.Tensor | None = None
    for step in range(NUM_NEWTON_SCHULZ_STEPS):
        factor = multiply_and_add(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal(dim1=-2, dim2=-1).add_(a)
        product = factor if product is None else factor @ product
        if step < NUM_NEWTON_SCHULZ_STEPS - 1:
            gram = factor @ (factor @ gram)
    assert product is not None
    return product @ matrix


class Muon(torch.optim.Optimizer):
    """Muon for weights of two and more axes, Adam for the rest.

    An orthogonal step of size lr, scaled by sqrt(rows / columns) where rows exceed columns, changes a layer's
    outputs by at most about lr for inputs of unit scale; so does an Adam step of size lr on a bias. One
    learning rate therefore serves both.

    Args:
        policy: its parameters; those of modules whose attribute `adam_only` is true go to Adam.
        learning_rate: of both.
        betas: the momentum of Muon is the first; Adam takes both.
        eps: Adam's, and added to the norm that Muon divides by.
    """

    def __init__(
        self, policy: nn.Module, *, learning_rate: float, betas: tuple[float, float], eps: float
    ) -> None:
        adam_only = {
            id(parameter)
            for module in policy.modules()
            if getattr(module, "adam_only", False)
            for parameter in module.parameters()
        }
        matrices: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for parameter in policy.parameters():
            if parameter.requires_grad:
                is_matrix = parameter.ndim >= 2 and id(parameter) not in adam_only
                (matrices if is_matrix else others).append(parameter)
        rate: float | torch.Tensor = learning_rate
        if any(parameter.is_cuda for parameter in matrices + others):
            rate = torch.tensor(learning_rate, device=(matrices + others)[0].device)
        groups = [
            {"params": parameters, "kind": kind, "lr": rate, "betas": betas, "eps": eps}
            for kind, parameters in (("muon", matrices), ("adam", others))
            if parameters
        ]
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step from the gradients at hand."""
        if closure is not None:
            raise TypeError("Muon takes no closure")
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if group["kind"] == "muon":
                self._step_matrices(parameters, group)
            else:
                self._step_others(parameters, group)

    def _step_matrices(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        beta = group["betas"][0]
        for parameter in parameters:
            assert parameter.grad is not None
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            momentum = state["momentum"]
            momentum.lerp_(parameter.grad, 1 - beta)
            direction = torch.lerp(parameter.grad, momentum, beta).flatten(1)
            rows, columns = direction.shape
            size = group["lr"] * max(1.0, rows / columns) ** 0.5
            wide = direction.mT if rows > columns else direction
            if symmetric.pays(wide, GRAM_ASPECT) and parameter.is_contiguous():
                # The product that makes the step takes it as well.
                factor = _left_factor(wide, group["eps"]).mul_(-size)
                pair = (direction, factor) if rows > columns else (factor, direction)
                parameter.view(rows, columns).addmm_(*pair)
            else:
                parameter.sub_((orthogonalise(direction, group["eps"]) * size).view_as(parameter))

    def _step_others(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["step"] = torch.zeros((), device=parameter.device)
                state["exp_avg"] = torch.zeros_like(parameter)
                state["exp_avg_sq"] = torch.zeros_like(parameter)
        states = [self.state[parameter] for parameter in parameters]
        steps = [state["step"] for state in states]
        torch._foreach_add_(steps, 1)
        torch._fused_adam_(
            list[torch.Tensor](parameters),
            [parameter.grad for parameter in parameters if parameter.grad is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            steps,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=0.0,
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )
