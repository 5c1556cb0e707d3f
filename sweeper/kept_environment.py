"""The environment that a worker keeps between trials, and the one that it begins for the next while a trial runs.

Thirty-two Atari games take seconds to begin: each loads its cartridge anew to be seeded. A worker that runs one trial
after the other of the same environment keeps the games, and begins a second set for the trial that it expects next
in a thread beside the trial that runs, so that the next one starts at once. A wrong guess costs nothing but the
beginning that would have been needed anyway.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING

from sweeper.seeds import trial_seed

if TYPE_CHECKING:
    from typing import Protocol

    from sweeper.records import Assignment
    from trainer.config import Config
    from trainer.vector.base import VectorEnv

    class MakeVector(Protocol):
        """`trainer.vector.make_vector`, by way of the one module that may call it."""

        def __call__(self, config: Config, device: str, *, num_threads: int | None) -> VectorEnv:
            """An environment that has not begun."""


WORTHWHILE_SECONDS = 0.5
"""Environments that begin more quickly are not begun ahead."""

STEPPED_IN_PROCESS = "PufferEnv"
"""The backend whose environments cost memory only; the others would cost processes."""


class KeptEnvironment:
    """At most two vector environments of one kind: the one in use and its spare.

    Args:
        make_vector: makes an environment that has not begun.
    """

    def __init__(self, make_vector: MakeVector) -> None:
        self._make_vector = make_vector
        self._vector: VectorEnv | None = None
        self._key: object = None
        self._spare: VectorEnv | None = None
        self._spare_seed: int | None = None
        self._thread: threading.Thread | None = None
        self._begin_seconds = 0.0
        self._last_number: int | None = None
        self._stride: int | None = None

    def take(self, assignment: Assignment) -> VectorEnv:
        """An environment for a trial, begun with its seed unless the trial goes on from a checkpoint.

        Raises:
            PufferError: it cannot be made or begun.
        """
        self._wait()
        config = assignment.config
        key = (
            config.base,
            config.env,
            config.vec.model_copy(update={"seed": 0}),
            config.train.device,
            assignment.num_threads,
        )
        if self._key != key:
            self.close()
            self._key = key
        self._learn_stride(assignment.number)
        if self._spare is not None and self._spare_seed == config.vec.seed and assignment.resume_from is None:
            self._vector, self._spare, self._spare_seed = self._spare, self._vector, None
            return self._vector
        if self._vector is None:
            self._vector = self._make_vector(config, config.train.device, num_threads=assignment.num_threads)
        if assignment.resume_from is None:
            began = time.monotonic()
            self._vector.reset(config.vec.seed)
            self._begin_seconds = time.monotonic() - began
        return self._vector

    def foresee(self, assignment: Assignment) -> None:
        """Begin what the trial after this one will need, if that takes long and its seed can be guessed."""
        vector, config = self._vector, assignment.config
        if (
            vector is None
            or vector.backend != STEPPED_IN_PROCESS
            or self._begin_seconds < WORTHWHILE_SECONDS
            or self._thread is not None
            or config.vec.seed != trial_seed(config.sweep.seed, assignment.number)
        ):
            return
        seed = trial_seed(config.sweep.seed, assignment.number + (self._stride or assignment.num_slots))
        self._thread = threading.Thread(
            target=self._begin_spare, args=(assignment, seed), name="next trial's environment", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Close both. A broken one may fail at that too: it is dropped all the same."""
        self._wait()
        vectors = (self._vector, self._spare)
        self._vector = self._spare = self._key = self._spare_seed = None
        for vector in vectors:
            if vector is None:
                continue
            try:
                vector.close()
            except Exception:  # noqa: BLE001 - it goes to the log, and what has failed before is what counts
                traceback.print_exc(file=sys.stderr)

    def _begin_spare(self, assignment: Assignment, seed: int) -> None:
        config = assignment.config
        try:
            if self._spare is None:
                self._spare = self._make_vector(
                    config, config.train.device, num_threads=assignment.num_threads
                )
            self._spare.reset(seed)
        except BaseException:  # noqa: BLE001 - the next trial makes its own environment and tells what is wrong
            traceback.print_exc(file=sys.stderr)
            self._spare, self._spare_seed = None, None
        else:
            self._spare_seed = seed

    def _wait(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _learn_stride(self, number: int) -> None:
        """Trials come to a worker about as many numbers apart as there are workers; how many, the last two say."""
        if self._last_number is not None and number > self._last_number:
            self._stride = number - self._last_number
        self._last_number = number
