"""A process that decodes what may kill it, and writes down which file it is at before each.

    python jury.py VERDICTS SEED FIRST COUNT       mutants FIRST to FIRST + COUNT - 1 of a seed
    python jury.py VERDICTS bombs NAME...          bombs

It may take `ROOM` bytes more of memory than it has when it begins, and `PATIENCE_S` of processor time for one file;
the kernel sees to both, since only the kernel counts what C libraries take.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz import pictures

from polyscan.images.decode import decode
from polyscan.images.decoding import Decoding

ROOM = 1 << 30
PATIENCE_S = 10
MAX_PIXELS = 64_000_000  # a job's default
HOW = (
    Decoding(),
    Decoding(exif="ignore", alpha="keep", tiff_pages="channels", npy_axes="cyx"),
    Decoding(alpha="black", value_range="image", tiff_pages="channels"),
    Decoding(alpha="drop", value_range=(0.0, 4095.0), npy_axes="yxc"),
)
"""Choices of decoding; a file's length picks one, so the same file is always read in the same way."""


def limit_memory() -> None:
    """Linux alone says how much there is already; elsewhere the peak in the verdicts has to do."""
    for line in Path("/proc/self/status").read_text().splitlines() if sys.platform == "linux" else ():
        if line.startswith("VmSize"):
            limit = int(line.split()[1]) * 1024 + ROOM
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def limit_time() -> None:
    """From now on; whoever takes longer is killed by SIGXCPU."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 1 + PATIENCE_S, most))


def judge(name: str, content: bytes, verdicts: Any) -> None:
    """One line before and one after: what came of it, how long it took, and the memory at its highest."""
    print(json.dumps({"begin": name}), file=verdicts, flush=True)
    limit_time()
    started = time.process_time()
    try:
        found = decode(content, MAX_PIXELS, HOW[len(content) % len(HOW)])
        outcome = found if isinstance(found, str) else f"picture {found.shape} {found.dtype}"
    except BaseException as error:  # nothing may be raised; whoever reads this says so
        outcome = f"RAISED {type(error).__name__}: {error}"
    about = {
        "outcome": outcome,
        "seconds": time.process_time() - started,
        "peak_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }
    print(json.dumps({"end": name, **about}), file=verdicts, flush=True)


def mutants(seed: int, first: int, count: int) -> Iterator[tuple[str, bytes]]:
    for index in range(first, first + count):
        kind, content = pictures.mutant(seed, index)
        yield f"seed {seed}, file {index} ({kind})", content


def main(verdicts: str, *what: str) -> None:
    pictures.sound_files()
    if what[0] == "bombs":
        files: Any = [(name, pictures.BOMBS[name]()) for name in what[1:]]
    else:
        files = mutants(*map(int, what))
    limit_memory()
    with open(verdicts, "w") as file:
        for name, content in files:
            judge(name, content, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
