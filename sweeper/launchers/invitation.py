"""Where a sweep's door is, and what is said through it.

A sweep on local workers opens a door; another process of the same user on the same machine that knows the word at the
door may offer its slots. Address and word stand in a file of the study's folder that only its owner can read.

From the guest: hello, events, signs, slots, surveyed, leaving. To the guest: welcome or refused, launch, verdict, kill,
survey, farewell, end.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

INVITATION_FILE = "join.json"


@dataclass(frozen=True, slots=True)
class Invitation:
    """A sweep's door.

    Attributes:
        pid: of the sweep.
        address: of a Unix socket, or host and port.
        key: the word at the door.
    """

    pid: int
    address: str | tuple[str, int]
    key: bytes

    def write(self, folder: Path) -> None:
        """Leave it in a study's folder, for its owner's eyes.

        Raises:
            OSError: the folder cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{INVITATION_FILE}.partial"
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - made with its permissions
            json.dump({"pid": self.pid, "address": self.address, "key": self.key.hex()}, file)
        partial.replace(folder / INVITATION_FILE)


def read_invitation(folder: Path, pid: int) -> Invitation | None:
    """The invitation of the sweep with this process id; None if there is none (yet)."""
    try:
        content = json.loads((folder / INVITATION_FILE).read_text(encoding="utf-8"))
        address = content["address"]
        found = Invitation(
            int(content["pid"]),
            address if isinstance(address, str) else (str(address[0]), int(address[1])),
            bytes.fromhex(content["key"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found.pid == pid else None


def withdraw(folder: Path) -> None:
    """Take an invitation back."""
    with contextlib.suppress(OSError):
        (folder / INVITATION_FILE).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Hello:
    """What a guest says first.

    Attributes:
        pid: of the guest.
        token: what its workers carry in their environment.
        num_slots: trials that it can run side by side.
        cuda_available: whether its workers see a CUDA device.
        version: of puffer-sweep.
    """

    pid: int
    token: str
    num_slots: int
    cuda_available: bool
    version: str
