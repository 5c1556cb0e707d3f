"""What the machine is called, and how its C library hands out memory.

Nothing here imports torch, so that the sweeper can ask as well.
"""

from __future__ import annotations

import ctypes
import functools
import platform
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_QUICK = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 16 * 2**20}
_USUAL = {_MMAP_MAX: 65_536, _TRIM_THRESHOLD: 128 * 2**10, _TOP_PAD: 128 * 2**10}


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    if platform.libc_ver()[0] != "glibc":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


@contextmanager
def large_blocks_kept() -> Iterator[None]:
    """Let the C library keep freed memory for the next allocation instead of giving it back to the system.

    A training step allocates the same large arrays again and again. By default glibc returns each of them and the
    system clears every page anew: a third of the time of a step on a few thousand rows. Afterwards what is free is
    given back. Other C libraries are left alone.
    """
    library = _glibc()
    if library is None:
        yield
        return
    for option, value in _QUICK.items():
        library.mallopt(option, value)
    try:
        yield
    finally:
        for option, value in _USUAL.items():
            library.mallopt(option, value)
        library.malloc_trim(0)


@functools.cache
def processor_name() -> str:
    """The processor's own name where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
