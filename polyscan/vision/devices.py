"""The device that networks run on, and its settings: exact arithmetic on a GPU, kept memory on a CPU."""

from __future__ import annotations

import functools
import platform

import torch
from threadpoolctl import threadpool_info

from polyscan.errors import ModelError
from polyscan.vision.memory import keep_freed_memory


def pick_device(name: str) -> torch.device:
    """The device of that name; `auto` is the GPU if there is one.

    Raises:
        ModelError: if the machine has no such device.
    """
    name = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f'unknown `device` "{name}"; allowed: auto, cpu, cuda, cuda:0 ...') from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(
            f'`device` is "{name}", but this machine has {torch.cuda.device_count()} CUDA GPUs; use "auto" or "cpu"'
        )
    return device


def prepare_device(device: torch.device) -> None:
    """Sets up this process for a device: reproducible float32 on a GPU, kept memory on a CPU.

    By default cuDNN rounds the factors of a convolution to 10 bits (TF32), which reorders exemplars, and picks kernels
    by their speed at run time, which makes visualizations of the same seed differ.
    """
    if device.type != "cuda":
        keep_freed_memory()
        return
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


@functools.cache
def cpu_kind() -> str:
    """The kind of CPU that this process computes on, by the kernels that torch and NumPy's BLAS chose for it.

    CPUs of one kind give the same bits; on different kinds, the order of float sums differs.

    >>> cpu_kind()  # doctest: +SKIP
    'x86_64 AVX512, BLAS SkylakeX'
    """
    pools = threadpool_info()
    blas = sorted({str(pool["architecture"]) for pool in pools if "architecture" in pool})
    kind = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return f"{kind}, BLAS {' and '.join(blas)}" if blas else kind


def arithmetic() -> dict[str, bool]:
    """The precision settings of this process on a GPU, for the run's record."""
    return {"tf32": torch.backends.cudnn.allow_tf32, "deterministic": torch.backends.cudnn.deterministic}
