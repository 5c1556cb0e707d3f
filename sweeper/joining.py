"""`start --join`: more slots for a sweep that runs already, from another terminal, with other GPUs.

The process that holds the study's lock stays the only one that asks and writes. Whoever joins runs what it is sent.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from sweeper.clock import SystemClock
from sweeper.errors import StudyNotFoundError, SweepError
from sweeper.interrupt import Interrupts
from sweeper.launchers.guest import Guest
from sweeper.launchers.invitation import Invitation, read_invitation
from sweeper.launchers.make import make_local_launcher
from sweeper.setup import process_token, study_spec
from sweeper.space import SearchSpace
from sweeper.store.database import open_store, refuse_differences, storage_url

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sweeper.launchers.local import LocalLauncher
    from sweeper.store import LockInfo, StoredStudy
    from trainer.config import Config

DOOR_SECONDS = 30.0
"""How long a sweep that has just begun may take to open its door."""


def join_sweep(
    config: Config,
    storage: str | Path,
    name: str,
    on_note: Callable[[str], None],
    launcher: LocalLauncher | None = None,
) -> bool:
    """Offer this process's slots to the sweep that runs on a study, until it ends or somebody interrupts.

    Args:
        config: as the sweep's; its slots (workers, gpus, trials_per_gpu) are this process's own.
        storage: of the study.
        name: of the study.
        on_note: told what happens, one sentence each.
        launcher: None for the one that the config asks for; it is closed at the end.

    Returns:
        False if no sweep runs on the study: nothing was done.

    Raises:
        StudyMismatchError: the sweep has another space or other settings.
        SweepError: it takes no guests, runs on another machine, or has gone without a word.
    """
    try:
        found = _running(config, storage, name)
        if found is None:
            return False
        study, lock = found
        invitation = _wait_for_invitation(study, lock)
        launcher = launcher or make_local_launcher(config, token=process_token(storage, name), clock=None)
        with Interrupts(launcher.wake) as interrupts:
            survey = launcher.survey(config)
            guest = Guest(
                invitation,
                launcher,
                cuda_available=survey.cuda_available,
                clock=SystemClock(),
                on_note=on_note,
            )
            many = "1 slot" if launcher.slots == 1 else f"{launcher.slots} slots"
            on_note(f"Joined the sweep on {name} in process {lock.pid} with {many}.")
            try:
                ended = guest.serve(interrupts)
            finally:
                guest.close()
    finally:
        if launcher is not None:
            launcher.close()
    on_note("The sweep has ended." if ended else "Left the sweep; it goes on without this process.")
    return True


def _running(config: Config, storage: str | Path, name: str) -> tuple[StoredStudy, LockInfo] | None:
    """The study and its holder, if a sweep runs on it."""
    _, path = storage_url(storage)
    if path is not None and (not path.exists() or path.stat().st_size == 0):
        return None
    store = open_store(storage, must_exist=True)
    try:
        study = store.open(name)
    except StudyNotFoundError:
        return None
    lock = study.lock_info()
    if lock is None or not lock.alive:
        return None
    refuse_differences(
        study.spec, study_spec(config, SearchSpace.from_config(config), name, study.spec.artifacts_folder)
    )
    if lock.host != socket.gethostname():
        raise SweepError(
            f"The sweep on {name} runs on another machine ({lock.host}).",
            rule="Only processes on the same machine can join a sweep.",
            remedy="For several machines: [sweep] launcher = ray.",
        )
    return study, lock


def _wait_for_invitation(study: StoredStudy, lock: LockInfo) -> Invitation:
    deadline = time.monotonic() + DOOR_SECONDS
    while (invitation := read_invitation(study.folder, lock.pid)) is None:
        holder = study.lock_info()
        if time.monotonic() > deadline or holder is None or holder.pid != lock.pid:
            raise SweepError(
                f"The sweep on {study.name} (process {lock.pid}) takes no guests.",
                rule="Sweeps with launcher = local do, while they run.",
                remedy="More nodes for the Ray cluster give a sweep on Ray more slots.",
            )
        time.sleep(0.2)
    return invitation
