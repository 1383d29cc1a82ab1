"""How a process on the CPU gets its memory."""

from __future__ import annotations

import ctypes

# glibc's names for what `mallopt` sets (malloc.h).
TRIM_THRESHOLD, MMAP_MAX = -1, -4
LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Large blocks that are freed stay with the process; returns whether its allocator can be told so (glibc).

    A network's maps are large, freed at once and wanted again. By default each goes back to the system, which hands it
    out anew as zeroed pages, one fault each: a fifth of a step of gradient ascent in batches of 32 (ResNet-18's
    layers). The process's peak does not grow; after it, it holds on to more.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    return bool(mallopt(MMAP_MAX, 0) and mallopt(TRIM_THRESHOLD, LARGEST))
