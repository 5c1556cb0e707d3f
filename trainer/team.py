"""Threads of Python that compute side by side, each with one thread of torch's.

On the CPU, torch's own threads share every single operation, and many operations share badly: the gradients of a
convolution's weights take as long on two threads as on one. Two halves of a batch on a thread each take half as
long, whatever the operations; torch lets go of the interpreter's lock while it computes.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Result = TypeVar("Result")


class Team:
    """The calling thread and `size - 1` others. The others end when the team is forgotten.

    Args:
        size: jobs at once, at least two.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._others = ThreadPoolExecutor(
            size - 1, thread_name_prefix="team", initializer=torch.set_num_threads, initargs=(1,)
        )

    def run(self, jobs: Sequence[Callable[[], Result]]) -> list[Result]:
        """All jobs' results, in order. The first failure is raised when all have ended.

        Whether gradients are recorded is each thread's own affair: a job says so itself.
        """
        promises = [self._others.submit(job) for job in jobs[1:]]
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            first = jobs[0]()
        finally:
            for promise in promises:
                promise.exception()
            torch.set_num_threads(threads)
        return [first, *(promise.result() for promise in promises)]

    def shares(self, count: int) -> list[slice]:
        """`count` things in as many nearly equal ranges as there are jobs at once, none empty."""
        parts = min(self.size, count)
        bounds = [count * i // parts for i in range(parts + 1)]
        return [slice(first, last) for first, last in itertools.pairwise(bounds)]
