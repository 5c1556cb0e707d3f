"""The optimisers' steps with every hyperparameter in a tensor, all parameters in one piece.

The moments lie side by side in one flat tensor each, of which the optimiser's own state (what checkpoints
hold) is made of views. A step is a dozen operations whatever the number of parameters, and a captured one
serves every learning rate, beta, epsilon and norm.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from trainer.optimizers import Muon
from trainer.optimizers.muon import orthogonalise

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import nn


class FlatOptimizer:
    """Steps a `torch.optim.Adam` or a `Muon` from one flat gradient.

    Attributes:
        parameters: in the order in which gradients are laid side by side: Muon's matrices, then the rest.
        lr, beta1, beta2, eps, max_norm: 0-dimensional tensors, read at every step.

    Args:
        optimizer: keeps its state and its groups, and with them its checkpoints.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        groups: dict[str, list[nn.Parameter]] = {"muon": [], "adam": []}
        for group in optimizer.param_groups:
            kind = group["kind"] if isinstance(optimizer, Muon) else "adam"
            groups[kind] += group["params"]
        self.parameters = groups["muon"] + groups["adam"]
        first = self.parameters[0]

        def zeros(*shape: int) -> torch.Tensor:
            return torch.zeros(shape, dtype=first.dtype, device=first.device)

        self.lr, self.beta1, self.beta2, self.eps, self.max_norm = (zeros() for _ in range(5))
        self._sizes = [parameter.numel() for parameter in self.parameters]
        self._num_matrices = len(groups["muon"])
        self._head = sum(self._sizes[: self._num_matrices])
        num_adam = sum(self._sizes) - self._head
        self._momentum = zeros(self._head)
        self._mean, self._square = zeros(num_adam), zeros(num_adam)
        self._step = torch.zeros((), dtype=torch.float32, device=first.device)
        self._shapes: dict[tuple[int, int], list[int]] = {}
        for index, matrix in enumerate(groups["muon"]):
            rows, columns = matrix.shape[0], matrix[0].numel()
            self._shapes.setdefault((rows, columns), []).append(index)
        self._install()

    def _views(self, flat: torch.Tensor, first: int, last: int) -> list[torch.Tensor]:
        pieces = torch.split(flat, self._sizes[first:last])
        return [piece.view(p.shape) for piece, p in zip(pieces, self.parameters[first:last], strict=True)]

    def _install(self) -> None:
        """Put views of the flat moments where the optimiser keeps its state."""
        count, end = self._num_matrices, len(self.parameters)
        for parameter, view in zip(
            self.parameters[:count], self._views(self._momentum, 0, count), strict=True
        ):
            self.optimizer.state[parameter] = {"momentum": view}
        means, squares = self._views(self._mean, count, end), self._views(self._square, count, end)
        for parameter, mean, square in zip(self.parameters[count:], means, squares, strict=True):
            self.optimizer.state[parameter] = {"step": self._step, "exp_avg": mean, "exp_avg_sq": square}
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr

    def tensors(self) -> list[torch.Tensor]:
        """All that a step changes."""
        own = [self._momentum, self._mean, self._square, self._step]
        return [parameter.data for parameter in self.parameters] + own

    def begin(self, betas: tuple[float, float], eps: float, max_norm: float) -> None:
        """Forget all gradients, and take over a run's hyperparameters."""
        for tensor in (self._momentum, self._mean, self._square, self._step):
            tensor.zero_()
        self.beta1.fill_(betas[0])
        self.beta2.fill_(betas[1])
        self.eps.fill_(eps)
        self.max_norm.fill_(max_norm)
        for group in self.optimizer.param_groups:
            group["betas"], group["eps"] = betas, eps

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take over an optimiser's `state_dict`, into the memory that the step knows.

        Raises:
            ValueError, KeyError, RuntimeError: it is of other parameters.
        """
        own = {parameter: dict(self.optimizer.state[parameter]) for parameter in self.parameters}
        self.optimizer.load_state_dict(dict(saved))
        with torch.no_grad():
            for parameter, tensors in own.items():
                loaded = self.optimizer.state[parameter]
                for name, tensor in tensors.items():
                    if name in loaded:
                        tensor.copy_(loaded[name])
        self._install()

    def flatten(self, gradients: Sequence[torch.Tensor]) -> torch.Tensor:
        """Gradients in the parameters' order, side by side in the parameters' dtype."""
        return torch.cat([gradient.flatten().to(self.lr.dtype) for gradient in gradients])

    @torch.no_grad()
    def step(self, gradient: torch.Tensor) -> torch.Tensor:
        """One step; the length of the gradient before clipping. `gradient` is used up.

        The same as `clip_grad_norm_` and the optimiser's own step.
        """
        length: torch.Tensor = torch.linalg.vector_norm(gradient)
        gradient.mul_((self.max_norm / (length + 1e-6)).clamp(max=1.0))
        updates = []
        if self._num_matrices:
            updates += self._muon(gradient[: self._head])
        if self._num_matrices < len(self.parameters):
            updates += self._adam(gradient[self._head :])
        torch._foreach_sub_(list[torch.Tensor](self.parameters), updates)
        return length

    def _adam(self, gradient: torch.Tensor) -> list[torch.Tensor]:
        self._step.add_(1.0)
        self._mean.lerp_(gradient, 1.0 - self.beta1)
        self._square.lerp_(gradient.square(), 1.0 - self.beta2)
        # In float64: 1 - beta^t is a small difference in the first steps.
        step = self._step.double()
        first = 1.0 - self.beta1.double().pow(step)
        second = (1.0 - self.beta2.double().pow(step)).sqrt()
        size, root = (self.lr.double() / first).to(self.lr.dtype), second.to(self.lr.dtype)
        update = (self._mean * size).div_(self._square.sqrt().div_(root).add_(self.eps))
        return self._views(update, self._num_matrices, len(self.parameters))

    def _muon(self, gradient: torch.Tensor) -> list[torch.Tensor]:
        self._momentum.lerp_(gradient, 1.0 - self.beta1)
        directions = torch.split(
            torch.lerp(gradient, self._momentum, self.beta1), self._sizes[: self._num_matrices]
        )
        updates: list[torch.Tensor] = [gradient] * self._num_matrices
        for (rows, columns), indices in self._shapes.items():
            stacked = torch.stack([directions[index].view(rows, columns) for index in indices])
            with full_precision():
                steps = orthogonalise(stacked, self.eps)
            steps = steps * (self.lr * max(1.0, rows / columns) ** 0.5)
            for index, step in zip(indices, steps, strict=True):
                updates[index] = step.reshape(self.parameters[index].shape)
        return updates


@contextmanager
def full_precision() -> Iterator[None]:
    """Products of float32 matrices in float32: TF32 has too few digits for Newton and Schulz's iteration."""
    before = torch.get_float32_matmul_precision()
    if before != "highest":
        torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        if before != "highest":
            torch.set_float32_matmul_precision(before)
