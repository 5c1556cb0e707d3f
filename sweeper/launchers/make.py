"""The launcher that a config asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweeper.launchers.cores import SlotPlan, plan_slots, usable_cores
from sweeper.launchers.gpus import usable_gpus
from sweeper.launchers.local import LocalLauncher
from sweeper.launchers.open_house import OpenHouse
from sweeper.launchers.sharing import Sharing
from trainer.errors import DeviceError, Place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sweeper.clock import Clock
    from sweeper.launchers.base import Launcher
    from sweeper.trial import Survey
    from trainer.config import Config

PROCESS_BACKENDS = frozenset({"multiprocessing", "ray"})
"""Backends whose environment workers are processes that need cores of their own."""


def make_launcher(config: Config, *, token: str | None = None, clock: Clock | None = None) -> Launcher:
    """The launcher that `[sweep] launcher` names, with as many slots as the config and the machine give.

    Local slots are in an open house: others may join them.

    Raises:
        DeviceError: GPUs that are not there.
        MissingExtraError: Ray is asked for and not installed.
    """
    if config.sweep.launcher == "ray":
        from sweeper.launchers.ray_cluster import RayLauncher

        return RayLauncher.from_config(config, clock=clock)
    return OpenHouse(make_local_launcher(config, token=token, clock=clock), clock)


def make_local_launcher(config: Config, *, token: str | None, clock: Clock | None) -> LocalLauncher:
    """The slots of this process alone.

    Raises:
        DeviceError: GPUs that are not there.
    """
    backend = _Backend(str(config.vec.backend).lower())
    return LocalLauncher(
        plan_for(config, backend.name),
        token=token,
        clock=clock,
        memory_limit_bytes=memory_limit_bytes(config),
        replan=lambda survey: plan_for(config, backend.found(survey)),
        sharing=_sharing(config, backend),
    )


@dataclass(slots=True)
class _Backend:
    """Which backend runs the environments: as configured, and from the first survey on as found."""

    name: str

    def found(self, survey: Survey) -> str:
        if self.name == "auto":
            self.name = survey.environment.backend.lower()
        return self.name


def _sharing(config: Config, backend: _Backend) -> Sharing | None:
    gpus = chosen_gpus(config)
    if config.sweep.trials_per_gpu != "auto" or not gpus or config.sweep.workers != "auto":
        return None
    return Sharing(gpus, lambda per_gpu: plan_for(config, backend.name, per_gpu))


def plan_for(config: Config, backend: str, trials_per_gpu: Mapping[int, int] | None = None) -> SlotPlan:
    """The slots of this machine for a config whose backend is known.

    Args:
        config: as loaded.
        backend: lower-case.
        trials_per_gpu: as measured, by GPU; None for what the config says, one where it says `auto`.

    Raises:
        DeviceError: GPUs that are not there.
    """
    sweep = config.sweep
    gpus = chosen_gpus(config)
    env_workers = 0
    if backend in PROCESS_BACKENDS:
        workers = config.vec.num_workers
        env_workers = config.vec.num_envs if workers == "auto" else int(workers)
        env_workers = min(env_workers, usable_cores())
    return plan_slots(
        workers=_number(sweep.workers),
        gpus=gpus,
        trials_per_gpu=trials_per_gpu or _number(sweep.trials_per_gpu) or 1,
        num_cores=usable_cores(),
        env_workers=env_workers,
        num_threads=_number(config.train.num_threads),
    )


def chosen_gpus(config: Config) -> tuple[int, ...]:
    """The GPUs whose slots run trials; none where the config trains on the CPU or names one GPU by itself.

    Raises:
        DeviceError: `[sweep] gpus` names one that is not there.
    """
    device = str(config.train.device)
    if device == "cpu" or device.startswith("cuda:"):
        return ()
    there = usable_gpus()
    asked = config.sweep.gpus
    if asked == "auto":
        return there
    wanted = tuple(int(index) for index in asked)
    missing = [index for index in wanted if index not in there]
    if missing:
        raise DeviceError(
            "There is no such GPU that PyTorch can use.",
            place=Place(section="sweep", key="gpus"),
            value=missing[0],
            rule=f"This machine has {len(there)}.",
            remedy="Leave gpus at auto.",
        )
    return wanted


def memory_limit_bytes(config: Config) -> int | None:
    """The memory that a trial may take, where `[sweep]` limits it."""
    limit = config.sweep.memory_limit_gb
    return None if limit is None else int(limit * 2**30)


def _number(value: Any) -> int | None:
    return None if value is None or value == "auto" else int(value)
