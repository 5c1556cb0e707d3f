"""Who runs a study: one row, taken and given back by compare-and-swap.

A holder is alive when its process is, where that can be seen from here (same host, same boot, same process
namespace); otherwise when it has given a sign of life lately.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import psutil
from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from sweeper.errors import StudyLockedError
from sweeper.store.records import LockInfo
from sweeper.store.tables import LOCKS

if TYPE_CHECKING:
    from sweeper.clock import Clock

BEAT_INTERVAL_SECONDS = 10.0
SILENT_SECONDS = 120.0
"""After so long without a sign of life a holder that cannot be looked at counts as gone."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that can hold a lock.

    Attributes:
        host: the host's name.
        machine: boot and process namespace: equal for two processes that can see each other.
        pid: the process.
        started_at: when it began, seconds since the epoch: tells it from another process of the same pid.
    """

    host: str
    machine: str
    pid: int
    started_at: float


def this_process() -> Holder:
    """The process that asks."""
    return Holder(socket.gethostname(), _machine(), os.getpid(), psutil.Process().create_time())


def take_lock(connection: Connection, study_uuid: str, study_name: str, holder: Holder, clock: Clock) -> str:
    """Take a study's lock, from a holder that is gone if need be.

    Returns:
        A token that proves the possession.

    Raises:
        StudyLockedError: somebody holds it: with host, pid and start.
    """
    token = str(uuid4())
    columns = {
        "token": token,
        "host": holder.host,
        "machine": holder.machine,
        "pid": holder.pid,
        "started_at": holder.started_at,
        "beat_at": clock.now(),
    }
    row = connection.execute(select(LOCKS).where(LOCKS.c.study_uuid == study_uuid)).one_or_none()
    if row is None:
        try:
            with connection.begin_nested():
                connection.execute(insert(LOCKS).values(study_uuid=study_uuid, **columns))
        except IntegrityError:
            row = connection.execute(select(LOCKS).where(LOCKS.c.study_uuid == study_uuid)).one()
        else:
            return token
    if is_alive(row, clock):
        raise _refusal(study_name, row)
    taken = connection.execute(
        update(LOCKS).where(LOCKS.c.study_uuid == study_uuid, LOCKS.c.token == row.token).values(**columns)
    )
    if taken.rowcount != 1:
        row = connection.execute(select(LOCKS).where(LOCKS.c.study_uuid == study_uuid)).one()
        raise _refusal(study_name, row)
    return token


def beat(connection: Connection, study_uuid: str, token: str, now: float) -> bool:
    """Give a sign of life; False if the lock is no longer ours."""
    mine = update(LOCKS).where(LOCKS.c.study_uuid == study_uuid, LOCKS.c.token == token)
    return connection.execute(mine.values(beat_at=now)).rowcount == 1


def give_back(connection: Connection, study_uuid: str, token: str) -> None:
    """Give a lock back; nothing happens if it is no longer ours."""
    connection.execute(delete(LOCKS).where(LOCKS.c.study_uuid == study_uuid, LOCKS.c.token == token))


def read_lock(connection: Connection, study_uuid: str, clock: Clock) -> LockInfo | None:
    """Who holds a study's lock, alive or not."""
    row = connection.execute(select(LOCKS).where(LOCKS.c.study_uuid == study_uuid)).one_or_none()
    return None if row is None else info_of(row, clock)


def refuse_if_held(connection: Connection, study_uuid: str, study_name: str, clock: Clock) -> None:
    """Look, without taking it, whether a study's lock could be taken.

    Raises:
        StudyLockedError: somebody holds it.
    """
    row = connection.execute(select(LOCKS).where(LOCKS.c.study_uuid == study_uuid)).one_or_none()
    if row is not None and is_alive(row, clock):
        raise _refusal(study_name, row)


def info_of(row: Row[tuple[object, ...]], clock: Clock) -> LockInfo:
    """A lock's row for people."""
    return LockInfo(row.host, row.pid, row.started_at, row.beat_at, is_alive(row, clock))


def is_alive(row: Row[tuple[object, ...]], clock: Clock) -> bool:
    """Whether a lock's holder lives, as far as can be told from here."""
    if row.host == socket.gethostname() and row.machine == _machine():
        try:
            process = psutil.Process(row.pid)
            same = abs(process.create_time() - row.started_at) < 1.0
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            return True
    return bool(clock.now() - row.beat_at < SILENT_SECONDS)


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}:{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _refusal(study_name: str, row: Row[tuple[object, ...]]) -> StudyLockedError:
    since = datetime.fromtimestamp(row.started_at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return StudyLockedError(
        f"Study {study_name!r} is being run by process {row.pid} on {row.host}, started {since}.",
        rule="One process at a time runs a study.",
        remedy=f"Look at it with `puffer-sweep status {study_name}`, end it with `puffer-sweep stop {study_name}`, "
        "or give it a larger budget with `puffer-sweep extend`.",
    )
