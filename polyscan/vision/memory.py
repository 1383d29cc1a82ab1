"""Memory: keeping freed memory on a CPU, and running out of memory on a GPU."""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Generator
from contextlib import contextmanager, suppress

import torch

from polyscan.errors import ModelError

# glibc's names of the parameters of `mallopt` (malloc.h).
TRIM_THRESHOLD, MMAP_MAX = -1, -4
LARGEST = 2**31 - 1
ASKED = re.compile(r"DefaultCPUAllocator: .*you tried to allocate (\d+) bytes")


def keep_freed_memory() -> bool:
    """Makes the process keep large blocks that are freed; returns whether its allocator supports this (glibc).

    A network's maps are large, freed at once and needed again. By default each block goes back to the system, and a
    new one comes as zeroed pages with one page fault each: a fifth of the time of a step of gradient ascent in batches
    of 32 (ResNet-18's layers). The process's peak memory does not grow, but it keeps more memory after the peak.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    return bool(mallopt(MMAP_MAX, 0) and mallopt(TRIM_THRESHOLD, LARGEST))


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a GPU's memory ran out, in torch's own allocator or in one of its libraries."""
    messages = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(message in str(error) for message in messages)


@contextmanager
def enough_memory(name: str, input_px: object) -> Generator[None]:
    """Context for opening and trying a network: running out of memory becomes a sentence.

    Args:
        name: of the network, for the message.
        input_px: the input's size as the job sets it; None if it does not.

    Raises:
        ModelError: if memory runs out, on the GPU or the CPU.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        asked = ASKED.search(str(error))
        if not (isinstance(error, MemoryError) or asked or is_out_of_memory(error)):
            raise
        size = "" if input_px is None else f" with `network.input_px` {input_px}"
        amount = f"; {int(asked[1]) / 1e9:.1f} GB were asked for at once" if asked else ""
        raise ModelError(
            f"{name}{size} needs more memory than there is{amount}. Lower network.input_px, or use another machine"
        ) from error


def free_memory() -> None:
    """Frees memory that is no longer referenced, on the GPU too, and gives it back to the system.

    The allocator would keep gigabytes of a worker's last stage, or of tables from which it has made its arrays.
    """
    gc.collect()
    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
