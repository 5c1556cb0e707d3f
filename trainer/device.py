"""What a run sets in torch while it lasts (device, kernels, threads), and that all of it is put back."""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch

from trainer.errors import DeviceError, Place
from trainer.machine import large_blocks_kept, processor_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainer.config import TrainSection


def choose_device(name: str) -> torch.device:
    """The device that `train.device` names; `auto` is CUDA where there is one.

    Raises:
        DeviceError: it is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise DeviceError(
                "PyTorch sees no such CUDA device.",
                place=Place(section="train", key="device"),
                value=name,
                rule=f"This machine has {count} that PyTorch can use.",
                remedy="Take device = auto or cpu.",
            )
        return torch.device("cuda", device.index if device.index is not None else torch.cuda.current_device())
    return device


def describe_device(device: torch.device) -> str:
    """The device's own name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return processor_name()


@contextmanager
def torch_settings(settings: TrainSection, device: torch.device) -> Iterator[None]:
    """Threads, determinism, random states and memory of one run; afterwards everything is as it was."""
    threads = torch.get_num_threads()
    flags = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
    )
    products = torch.get_float32_matmul_precision()
    convolutions = torch.backends.cudnn.allow_tf32
    workspace = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    cuda_devices = [device] if device.type == "cuda" else []
    quiet = _known_kernels_quiet() if device.type == "cuda" else nullcontext()
    try:
        if settings.num_threads != "auto" and settings.num_threads != threads:
            torch.set_num_threads(settings.num_threads)
        if device.type == "cuda":
            _set_kernels(deterministic=settings.torch_deterministic)
            _set_tf32("high" if settings.tf32 else "highest", settings.tf32)
        with quiet, torch.random.fork_rng(devices=cuda_devices), large_blocks_kept():
            torch.manual_seed(settings.seed)
            yield
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if device.type == "cuda":
            torch.use_deterministic_algorithms(flags[0], warn_only=flags[1])
            torch.utils.deterministic.fill_uninitialized_memory = flags[2]  # type: ignore[attr-defined]
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = flags[3:]
            _set_tf32(products, convolutions)
            if workspace is None:
                os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
            else:
                os.environ["CUBLAS_WORKSPACE_CONFIG"] = workspace


def _set_tf32(products: str, convolutions: bool) -> None:  # noqa: FBT001 - passed on by place
    with warnings.catch_warnings():
        # The settings' older form, which sets the newer one along: readers of either find them consistent.
        warnings.simplefilter("ignore")
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions


@contextmanager
def _known_kernels_quiet() -> Iterator[None]:
    """No warnings about kernels that PyTorch does not call deterministic, and that are so as they are used here.

    Sums along rows too short to be split among blocks, and additions to places that no two threads share.
    """
    with warnings.catch_warnings():
        for kernel in ("cumsum_cuda_kernel", "scatter_add_cuda_kernel"):
            warnings.filterwarnings(
                "ignore", message=f"{kernel} does not have a deterministic implementation"
            )
        yield


def _set_kernels(*, deterministic: bool) -> None:
    # The CPU's kernels repeat by themselves at a fixed number of threads; only CUDA needs asking.
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        # cuBLAS reads this when its handle is made, which is at the first product on the device.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    # Every buffer is written before it is read here; filling it first would cost a pass each.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
