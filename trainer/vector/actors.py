"""The Ray backend: shards in Ray actors, on this machine or on a cluster."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trainer.envs.shard import FaultyEnvironmentError, Slots, check_finite
from trainer.errors import EnvironmentMakeError, MissingExtraError, Place, PufferError
from trainer.vector.sharded import ShardedVectorEnv
from trainer.vector.watchdog import OverdueError, Watchdog

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from trainer.envs.recipe import Recipe
    from trainer.envs.shard import Array

_START_SECONDS = 120.0
"""Beyond the timeout for steps: an actor's start is that of a Python process with its imports."""


_ACTORS_SHARE = 0.9
"""Of the timeout: an actor that can tell where it hangs does so before the trainer stops waiting for it."""


class Hang(NamedTuple):
    """An actor's answer in place of slots when a step was interrupted.

    Attributes:
        cursor: the shard's, -1 where all environments step at once.
        what: as the rest of a sentence.
        cause: the traceback's text.
    """

    cursor: int
    what: str
    cause: str


class _ActorWatchdog(Watchdog):
    """Interrupts a step; where native code does not let itself be interrupted, the trainer ends the actor."""

    def end_process(self) -> None:
        """The trainer does, which says more than an actor that has died."""


class ShardHost:
    """What an actor is: a shard, and slots of its own. Failures are returned, since Ray would wrap them."""

    def __init__(self, recipe: Recipe, num_envs: int, timeout_seconds: float) -> None:
        self._failure: Exception | None = None
        self._watchdog = _ActorWatchdog(_ACTORS_SHARE * timeout_seconds, lambda: "")
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
            with self._watchdog:
                self._shard.reset(seed, self._slots)
            check_finite(self._shard, self._slots, None)
        except OverdueError as error:
            return self._hang(error)
        except Exception as error:  # noqa: BLE001 - told to the caller
            return _portable(error)
        return self._arrays(), {}

    def step(self, actions: Array) -> Any:
        """Slots' arrays and extras of a step, or what went wrong."""
        try:
            with self._watchdog:
                report = self._shard.step(actions, self._slots)
            check_finite(self._shard, self._slots, actions)
        except OverdueError as error:
            return self._hang(error)
        except Exception as error:  # noqa: BLE001 - told to the caller
            return _portable(error)
        return self._arrays(), dict(report.extras)

    def _hang(self, error: OverdueError) -> Hang:
        what = f"has not come back for {self._watchdog.patience_seconds:g} seconds"
        return Hang(int(self._shard.cursor[0]), what, "".join(traceback.format_exception(error)))

    def _arrays(self) -> dict[str, Array]:
        """Last observations travel only where an episode was truncated."""
        names = list(Slots.shapes(0, self._shard.observation_layout))
        if not self._slots.truncated.any():
            names.remove("final_observations")
        return {name: getattr(self._slots, name) for name in names}

    def close(self) -> None:
        """Close the environments."""
        self._watchdog.close()
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


def _begin(ray: Any) -> None:
    """Join the cluster that RAY_ADDRESS names, or start one of our own.

    Left to itself, Ray would also join whatever a file in its temporary folder tells of, long after that ended.

    Raises:
        EnvironmentMakeError: no cluster answers.
    """
    named = os.environ.get("RAY_ADDRESS")
    options = {} if named else {"address": "local", "include_dashboard": False}
    try:
        ray.init(log_to_driver=False, logging_level="error", **options)
    except Exception as error:  # Ray raises plain ones when its processes take too long to start
        raise EnvironmentMakeError(
            f"No Ray answers: {' '.join(str(error).split())[:300]}.",
            place=Place(section="vec", key="backend"),
            value=named,
            remedy="Name a running cluster in RAY_ADDRESS, or none to start one here. One that wants a token "
            "(Ray 2.59 and later) takes the RAY_AUTH_TOKEN that it was started with.",
        ) from error


class RayVectorEnv(ShardedVectorEnv):
    """Shards in Ray actors; see `ShardedVectorEnv` for the arguments.

    A Ray that this process has begun already is used and left alone. Else the cluster that RAY_ADDRESS names
    (`auto` for one of this machine) is joined, and left by `close`; without that, one is started for this and
    shut down by `close`.
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
        super().__init__(
            recipe,
            num_envs,
            num_workers,
            batch_envs,
            device,
            copy=False,
            timeout_seconds=timeout_seconds,
        )
        self._batches = [
            Slots.allocate(self.batch_agents, self.observation_layout) for _ in range(self._num_batches)
        ]
        self._answers: dict[int, Any] = {}
        self._actions: dict[int, Array] = {}
        self._actors: list[Any] = []
        self._began_ray = not self._ray.is_initialized()
        if self._began_ray:
            _begin(self._ray)
        try:
            self._start(recipe, timeout_seconds)
        except BaseException:
            self.close()
            raise

    def _start(self, recipe: Recipe, timeout_seconds: float) -> None:
        # As many actors as asked for, however few cores there are: each takes its share of one.
        share = min(1.0, self._ray.cluster_resources().get("CPU", 1.0) / self._num_workers / 2)
        environment = {
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "OMP_NUM_THREADS": "1",
        }
        actor = self._ray.remote(ShardHost).options(
            num_cpus=round(share, 4), scheduling_strategy="SPREAD", runtime_env={"env_vars": environment}
        )
        self._actors = [
            actor.remote(recipe, self._envs_per_worker, timeout_seconds) for _ in range(self._num_workers)
        ]
        for number, host in enumerate(self._actors):
            failure = self._get(host.ready.remote(), number, _START_SECONDS)
            if isinstance(failure, FaultyEnvironmentError):
                raise self._told(failure, number)
            if failure is not None:
                raise failure

    def _is_open(self) -> bool:
        return bool(self._actors)

    def _let_reset(self, seed: int) -> None:
        for number in list(self._answers):
            self._get(self._answers.pop(number), number)
        self._actions = {}
        for number, host in enumerate(self._actors):
            self._answers[number] = host.reset.remote(seed + self._first_env(number))

    def _let_step(self, batch: int, actions: torch.Tensor) -> None:
        choices = self._carriers[batch].fetch(actions)
        rows = self._rows_per_worker
        for place, number in enumerate(self._team(batch)):
            # A copy: Ray reads it later, and the policy's next actions come in the same memory.
            mine = np.array(choices[place * rows : (place + 1) * rows])
            self._actions[number] = mine
            self._answers[number] = self._actors[number].step.remote(mine)

    def _collect(self, batch: int) -> tuple[Slots, dict[int, Mapping[str, float]]]:
        slots = self._batches[batch]
        extras: dict[int, Mapping[str, float]] = {}
        for place, number in enumerate(self._team(batch)):
            answer = self._get(self._answers.pop(number), number)
            if isinstance(answer, FaultyEnvironmentError):
                raise self._told(answer, number)
            if isinstance(answer, Hang):
                actions = self._actions.get(number)
                raise self._silent(number, answer.cursor, answer.what, actions, answer.cause)
            arrays, reported = answer
            offset = place * self._rows_per_worker
            for name, array in arrays.items():
                getattr(slots, name)[offset : offset + self._rows_per_worker] = array
            extras.update({row + offset: numbers for row, numbers in reported.items()})
        return slots, extras

    def _get(self, answer: Any, number: int, extra_seconds: float = 0.0) -> Any:
        """Wait for an actor's answer.

        Raises:
            EnvironmentFault: it hangs or has died.
        """
        seconds = self._patience_seconds + extra_seconds
        try:
            return self._ray.get(answer, timeout=seconds)
        except self._ray.exceptions.GetTimeoutError:
            what = f"has not answered for {seconds:g} seconds"
        except self._ray.exceptions.RayError as error:
            what = f"died: {str(error).strip().splitlines()[0]}"
        raise self._silent(number, -1, what, self._actions.get(number), "")

    def close(self) -> None:
        """End the actors, and Ray if it was started for them; a cluster that was joined goes on."""
        actors, self._actors = self._actors, []
        for actor in actors:
            self._ray.kill(actor)
        self._answers = {}
        if self._began_ray:
            self._began_ray = False
            self._ray.shutdown()
