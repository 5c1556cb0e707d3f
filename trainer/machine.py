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
def _told_by_the_system() -> dict[str, str]:
    """What Linux says of the first core; nothing elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    first = text.partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def processor_name() -> str:
    """The processor's own name where the system tells it, else its architecture."""
    return _told_by_the_system().get("model name") or platform.processor() or platform.machine()


def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for products of bfloat16; False where the system does not tell."""
    told = _told_by_the_system()
    flags = f"{told.get('flags', '')} {told.get('Features', '')}".split()
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags)
