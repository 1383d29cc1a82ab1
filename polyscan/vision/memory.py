"""Memory: what a process on the CPU keeps, and what happens where a GPU has no more."""

from __future__ import annotations

import ctypes
import gc

import torch

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


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a GPU's memory ran out: in torch's own allocator, or in one of its libraries."""
    words = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(word in str(error) for word in words)


def free_memory() -> None:
    """Gives back what nobody holds any more, on the GPU too."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
