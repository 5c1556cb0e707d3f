"""Which way the advantages are computed on a CUDA device: by Triton's kernel where it runs, else by the scan."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch

from trainer.ppo.advantage import Transitions, accumulate_by_doubling, compute_advantages

if TYPE_CHECKING:
    from collections.abc import Callable


def advantages_by_scan(
    transitions: Transitions,
    values: torch.Tensor,
    ratios: torch.Tensor,
    *,
    gamma: torch.Tensor,
    gae_lambda: torch.Tensor,
    rho_clip: torch.Tensor,
    c_clip: torch.Tensor,
) -> torch.Tensor:
    """`compute_advantages` by the doubling scan wherever it runs: the form that can be captured."""
    return compute_advantages(
        transitions,
        values,
        ratios,
        gamma=gamma,
        gae_lambda=gae_lambda,
        rho_clip=rho_clip,
        c_clip=c_clip,
        accumulate=accumulate_by_doubling,
    )


def advantages_by_kernel(
    transitions: Transitions,
    values: torch.Tensor,
    ratios: torch.Tensor,
    *,
    gamma: torch.Tensor,
    gae_lambda: torch.Tensor,
    rho_clip: torch.Tensor,
    c_clip: torch.Tensor,
) -> torch.Tensor:
    """`compute_advantages` in one launch. Needs Triton."""
    from trainer.cuda.advantage_kernel import BLOCK_SEGMENTS, advantage_kernel

    steps, segments = values.shape
    output = torch.empty_like(values, memory_format=torch.contiguous_format)
    numbers = (transitions.rewards, transitions.following_values, values, ratios)
    flags = (transitions.cut, transitions.live)
    grid = (-(-segments // BLOCK_SEGMENTS),)
    advantage_kernel[grid](
        *(tensor.contiguous() for tensor in numbers),
        *(flag.contiguous().view(torch.uint8) for flag in flags),
        *(coefficient.to(values.dtype) for coefficient in (gamma, gae_lambda, rho_clip, c_clip)),
        output,
        steps,
        segments,
        BLOCK=BLOCK_SEGMENTS,
    )
    return output


@functools.cache
def choose_advantages(device: torch.device) -> tuple[Callable[..., torch.Tensor], str]:
    """The function for a device, and one sentence about it. The kernel is tried once before it is taken."""
    if device.type != "cuda":
        return advantages_by_scan, "advantages by the doubling scan: there is no CUDA device"
    try:
        _try_kernel(device)
    except Exception as error:  # noqa: BLE001 - whatever Triton lacks here (a compiler, a driver), the scan needs not
        text = str(error).strip().splitlines()
        return advantages_by_scan, (
            f"advantages by the doubling scan: Triton cannot be used here "
            f"({type(error).__name__}: {text[0] if text else ''})"
        )
    return advantages_by_kernel, "advantages by one Triton kernel"


def _try_kernel(device: torch.device) -> None:
    numbers = torch.ones(2, 3, device=device)
    flags = torch.ones(2, 3, dtype=torch.bool, device=device)
    one = torch.ones((), device=device)
    arguments = {"gamma": one, "gae_lambda": one, "rho_clip": one, "c_clip": one}
    transitions = Transitions(numbers, numbers, ~flags, flags)
    mine = advantages_by_kernel(transitions, numbers, numbers, **arguments)
    if not torch.equal(mine, advantages_by_scan(transitions, numbers, numbers, **arguments)):
        raise ArithmeticError("the kernel's numbers are wrong")
