"""The environment variables of a process that trains: everything that must be settled before torch is imported."""

from __future__ import annotations

import os
import sys

from sweeper.launchers.gpus import device_name
from sweeper.launchers.process_tree import TOKEN_VARIABLE

SHARE_VARIABLE = "PUFFER_SWEEP_DEVICE_SHARE"
"""The share of its GPU's memory that a process may take; the trainer reads it before it allocates."""

USABLE_SHARE = 0.95
"""Of a GPU's memory, divided among the trials on it; the driver's own part of each process needs the rest."""


def worker_environment(
    num_threads: int, gpu: int | None, token: str, trials_on_gpu: int = 1
) -> dict[str, str]:
    """The environment of a local worker.

    A GPU is named here, before CUDA starts, so that each worker sees its own as cuda:0. Of several trials on one GPU
    each gets its share of the memory, so that a greedy one fails alone.
    """
    environment = {
        **os.environ,
        **thread_variables(num_threads),
        "PYTHONPATH": python_path(),
        TOKEN_VARIABLE: token,
    }
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = device_name(gpu)
        environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        if trials_on_gpu > 1:
            environment[SHARE_VARIABLE] = f"{USABLE_SHARE / trials_on_gpu:.4f}"
    return environment


def thread_variables(num_threads: int) -> dict[str, str]:
    """Threads of a forward pass; those that spin afterwards would steal cores from environments and other trials."""
    return {
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": str(num_threads),
        "MKL_NUM_THREADS": str(num_threads),
        # NumPy's BLAS serves small networks only, whose products a second thread slows down.
        "OPENBLAS_NUM_THREADS": "1",
    }


def python_path() -> str:
    """The parent's own search path, so that whatever it can import its workers can."""
    return os.pathsep.join(dict.fromkeys(entry or os.getcwd() for entry in sys.path))  # noqa: PTH109
