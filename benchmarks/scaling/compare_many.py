"""How long a series of eight runs of 30,000 units takes to compare: `python -m benchmarks.scaling.compare_many [RUNS]`.

Copies of one synthetic run whose scores are moved a little, run by run: first as checkpoints of one training, whose
units correspond, then as trainings of their own.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.synthetic.network import Plan
from benchmarks.synthetic.run import write
from polyscan.report.unit_map import calibrated_rows, unit_map
from polyscan.run import Run
from polyscan.studies.compare import compare
from polyscan.studies.showing import stored_job

N_RUNS = 8
MOVED = ("gap", "separation", "psi")


def runs(folder: Path, n: int) -> list[str]:
    """So many runs that differ in three scores."""
    first = write(folder / "0", Plan(sprites=0))
    job = stored_job(first, {})
    frame = unit_map(job, first, calibrated_rows(first))
    made: list[str] = []
    for place in range(n):
        path = folder / str(place)
        if place:
            shutil.copytree(folder / "0", path, copy_function=shutil.copyfile)
        _moved(frame, place).to_parquet(path / "map.parquet", index=False)
        made.append(Run(str(path)).address)
    return made


def _moved(frame: pd.DataFrame, place: int) -> pd.DataFrame:
    noise = np.random.default_rng(place).normal(0.05 * place, 0.1, len(frame))
    return frame.assign(**{name: frame[name] + noise for name in MOVED if name in frame})


def main(words: list[str]) -> None:
    n = int(words[0]) if words else N_RUNS
    with tempfile.TemporaryDirectory() as name:
        addresses = runs(Path(name), n)
        for same in (True, False):
            clock, cpu = time.perf_counter(), time.process_time()
            found = compare(addresses, out=f"{name}/compared", same_training=same)
            size = sum(path.stat().st_size for path in Path(name, "compared").glob("*.*")) / 1e6
            print(
                f"{n} runs of {found.comparison.runs[0].n_units:,} units, units correspond: {same}: "
                f"{time.perf_counter() - clock:.1f} s, {time.process_time() - cpu:.1f} s of CPU, {size:.2f} MB"
            )


if __name__ == "__main__":
    main(sys.argv[1:])
