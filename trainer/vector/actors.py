"""The Ray backend: shards in Ray actors, on this machine or on a cluster."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.envs.shard import FaultyEnvironmentError, Slots, check_finite
from trainer.errors import EnvironmentFault, MissingExtraError, PufferError
from trainer.vector.base import StepBatch, VectorEnv
from trainer.vector.batches import BatchBuilder, actions_to_numpy, to_fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from trainer.envs.recipe import Recipe
    from trainer.envs.shard import Array

_START_SECONDS = 120.0
"""Beyond the timeout for steps: an actor's start is that of a Python process with its imports."""


class ShardHost:
    """What an actor is: a shard, and slots of its own. Failures are returned, since Ray would wrap them."""

    def __init__(self, recipe: Recipe, num_envs: int) -> None:
        self._failure: Exception | None = None
        try:
            self._shard = recipe.make_shard(num_envs)
            self._slots = Slots.allocate(self._shard.num_rows, self._shard.observation_layout)
        except Exception as error:  # noqa: BLE001 - told to the caller by `ready`
            self._failure = _portable(error)

    def ready(self) -> Exception | None:
        """Why the environments could not be made, None if they are there."""
        return self._failure

    def reset(self, seed: int) -> Any:
        """Slots' arrays and extras of a reset, or what went wrong."""
        try:
            self._shard.reset(seed, self._slots)
            check_finite(self._slots, None, self._shard.agents_per_env)
        except Exception as error:  # noqa: BLE001 - told to the caller
            return _portable(error)
        return self._arrays(), {}

    def step(self, actions: Array) -> Any:
        """Slots' arrays and extras of a step, or what went wrong."""
        try:
            report = self._shard.step(actions, self._slots)
            check_finite(self._slots, actions, self._shard.agents_per_env)
        except Exception as error:  # noqa: BLE001 - told to the caller
            return _portable(error)
        return self._arrays(), dict(report.extras)

    def _arrays(self) -> dict[str, Array]:
        """Last observations travel only where an episode was truncated."""
        names = list(Slots.shapes(0, self._shard.observation_layout))
        if not self._slots.truncated.any():
            names.remove("final_observations")
        return {name: getattr(self._slots, name) for name in names}

    def close(self) -> None:
        """Close the environments."""
        self._shard.close()


def _portable(error: Exception) -> Exception:
    if isinstance(error, FaultyEnvironmentError | PufferError):
        return error
    return FaultyEnvironmentError(0, f"failed: {type(error).__name__}: {error}")


def _import_ray() -> Any:
    if importlib.util.find_spec("ray") is None:
        raise MissingExtraError("ray", extra="ray", purpose="Environments on Ray")
    import ray

    return ray


class RayVectorEnv(VectorEnv):
    """Shards in Ray actors. Batches come in a fixed order, so that runs repeat bit by bit.

    A Ray that runs already is used and left running; one that was started for this is shut down by `close`.

    Args:
        recipe: of the environment.
        num_envs: of all actors together, a multiple of `num_workers`.
        num_workers: actors.
        batch_envs: environments per batch: a whole number of actors' worth that divides `num_envs`.
        device: where batches go.
        timeout_seconds: an actor that is silent for so long hangs.
    """

    backend = "Ray"

    def __init__(
        self,
        recipe: Recipe,
        num_envs: int,
        num_workers: int,
        batch_envs: int,
        device: torch.device,
        *,
        timeout_seconds: float,
    ) -> None:
        self._ray = _import_ray()
        self.num_envs = num_envs
        self.agents_per_env = recipe.agents_per_env
        self.num_agents = num_envs * recipe.agents_per_env
        self.batch_agents = batch_envs * recipe.agents_per_env
        self.observation_layout = recipe.observation_layout
        self.action_layout = recipe.action_layout
        self.device = device
        self._timeout_seconds = timeout_seconds
        self._envs_per_worker = num_envs // num_workers
        self._workers_per_batch = batch_envs // self._envs_per_worker
        num_batches = num_envs // batch_envs
        self._batches = [
            Slots.allocate(self.batch_agents, self.observation_layout) for _ in range(num_batches)
        ]
        self._builders = [BatchBuilder(device) for _ in range(num_batches)]
        self._answers: dict[int, Any] = {}
        self._actions: dict[int, Array] = {}
        self._flying: deque[int] = deque()
        self._awaited: int | None = None
        self._fault: PufferError | None = None
        self._actors: list[Any] = []
        self._started_ray = not self._ray.is_initialized()
        if self._started_ray:
            self._ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
        try:
            self._start(recipe, num_workers)
        except BaseException:
            self.close()
            raise

    def _start(self, recipe: Recipe, num_workers: int) -> None:
        # As many actors as asked for, however few cores there are: each takes its share of one.
        share = min(1.0, self._ray.cluster_resources().get("CPU", 1.0) / num_workers / 2)
        environment = {
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "OMP_NUM_THREADS": "1",
        }
        actor = self._ray.remote(ShardHost).options(
            num_cpus=round(share, 4), scheduling_strategy="SPREAD", runtime_env={"env_vars": environment}
        )
        self._actors = [actor.remote(recipe, self._envs_per_worker) for _ in range(num_workers)]
        for number, host in enumerate(self._actors):
            failure = self._get(host.ready.remote(), number, self._timeout_seconds + _START_SECONDS)
            if isinstance(failure, FaultyEnvironmentError):
                raise to_fault(failure, number * self._envs_per_worker, self.backend)
            if failure is not None:
                raise failure

    def reset(self, seed: int) -> None:
        """Begin all episodes anew, after the steps that are under way."""
        self._check_usable()
        for number in list(self._answers):
            self._get(self._answers.pop(number), number, self._timeout_seconds)
        for number, host in enumerate(self._actors):
            self._answers[number] = host.reset.remote(seed + number * self._envs_per_worker)
        self._actions = {}
        self._flying = deque(range(len(self._batches)))
        self._awaited = None

    def recv(self) -> StepBatch:
        """Wait for the batch that has been under way longest."""
        self._check_usable()
        if not self._flying:
            raise RuntimeError("recv() before reset() or send()")
        batch = self._flying.popleft()
        slots = self._batches[batch]
        extras: dict[int, Mapping[str, float]] = {}
        rows = self._envs_per_worker * self.agents_per_env
        for place, number in enumerate(self._team(batch)):
            answer = self._get(self._answers.pop(number), number, self._timeout_seconds)
            if isinstance(answer, FaultyEnvironmentError):
                self._fault = to_fault(answer, number * self._envs_per_worker, self.backend)
                raise self._fault
            arrays, reported = answer
            for name, array in arrays.items():
                getattr(slots, name)[place * rows : (place + 1) * rows] = array
            extras.update({row + place * rows: numbers for row, numbers in reported.items()})
        self._awaited = batch
        return self._builders[batch].build(slots, extras, batch * self.batch_agents)

    def send(self, actions: torch.Tensor) -> None:
        """Let the actors of the last batch step."""
        self._check_usable()
        if self._awaited is None:
            raise RuntimeError("send() before recv()")
        choices = actions_to_numpy(actions, self.action_layout, self.batch_agents)
        batch, self._awaited = self._awaited, None
        rows = self._envs_per_worker * self.agents_per_env
        for place, number in enumerate(self._team(batch)):
            # A copy: Ray reads it later, and the policy's next actions come in the same memory.
            mine = np.array(choices[place * rows : (place + 1) * rows])
            self._actions[number] = mine
            self._answers[number] = self._actors[number].step.remote(mine)
        self._flying.append(batch)

    def _team(self, batch: int) -> range:
        return range(batch * self._workers_per_batch, (batch + 1) * self._workers_per_batch)

    def _get(self, answer: Any, number: int, timeout_seconds: float) -> Any:
        """Wait for an actor's answer.

        Raises:
            EnvironmentFault: it hangs or has died.
        """
        try:
            return self._ray.get(answer, timeout=timeout_seconds)
        except self._ray.exceptions.GetTimeoutError:
            what = f"has not answered for {timeout_seconds:g} seconds"
        except self._ray.exceptions.RayError as error:
            what = f"died: {str(error).strip().splitlines()[0]}"
        first = number * self._envs_per_worker
        last = first + self._envs_per_worker - 1
        which = f"Environment {first}" if first == last else f"The actor of environments {first} to {last}"
        actions = self._actions.get(number)
        after = "" if actions is None else f" after the action {actions.squeeze().tolist()}"
        self._fault = EnvironmentFault(f"{which} (Ray) {what}{after}")
        raise self._fault

    def _check_usable(self) -> None:
        if not self._actors:
            raise RuntimeError("the vector environment is closed")
        if self._fault is not None:
            raise self._fault

    def close(self) -> None:
        """End the actors, and Ray if it was started for them."""
        actors, self._actors = self._actors, []
        for actor in actors:
            self._ray.kill(actor)
        self._answers = {}
        if self._started_ray:
            self._started_ray = False
            self._ray.shutdown()
