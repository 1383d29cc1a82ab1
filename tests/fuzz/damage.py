"""A process that reads a run after harm was done to one of its files, again and again, and writes down where it is.

    python damage.py VERDICTS RUN SEED FIRST COUNT

RUN is changed and mended again. It may take 20 s of processor time a file, and 2 GiB beyond what it has.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from fuzz import jury, pictures

from polyscan.errors import PolyscanError
from polyscan.results import open_run
from polyscan.run import Run
from polyscan.studies.status import status_of
from polyscan.tables import TABLES

jury.ROOM, jury.PATIENCE_S = 2 << 30, 20
Random = np.random.Generator


def emptied(data: bytearray, random: Random) -> None:
    data.clear()


def zeroed(data: bytearray, random: Random) -> None:
    start = int(random.integers(0, max(1, len(data))))
    length = len(data[start : start + int(random.integers(1, 400))])
    data[start : start + length] = bytes(length)


def shifted(data: bytearray, random: Random) -> None:
    """Harm to the footer of a Parquet file, or to the end of any other."""
    for _ in range(3):
        data[-int(random.integers(1, min(len(data), 900) + 1))] = int(random.integers(0, 256))


HARMS = (
    *(pictures.flip_bits, pictures.cut_off, pictures.cut_out, pictures.repeat, pictures.noise, pictures.bad_number),
    *(emptied, zeroed, shifted, shifted),
)


def victims(folder: Path) -> list[Path]:
    """One file after the other, of all kinds in turn, so that few rounds see every kind."""
    kinds: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "maps" not in path.parts:
            kind = path.relative_to(folder).parts[0]
            kinds.setdefault(kind, []).append(path)
    rounds = max(map(len, kinds.values()))
    return [files[turn] for turn in range(rounds) for files in kinds.values() if turn < len(files)]


@contextlib.contextmanager
def harmed(folder: Path, seed: int, index: int) -> Iterator[tuple[str, str]]:
    """A run one of whose files is not what it was: the file's name, and what was done to it."""
    random = np.random.default_rng([seed, index])
    files = victims(folder)
    victim = files[index % len(files)]
    sound = victim.read_bytes()
    choice = int(random.integers(0, len(HARMS) + 2))
    if choice < len(HARMS):
        data = bytearray(sound)
        HARMS[choice](data, random)
        what = HARMS[choice].__name__
        victim.write_bytes(data)
    elif choice == len(HARMS):
        other = files[int(random.integers(0, len(files)))]
        victim.write_bytes(other.read_bytes())
        what = f"replaced by {other.relative_to(folder)}"
    else:
        victim.unlink()
        what = "deleted"
    try:
        yield str(victim.relative_to(folder)), what
    finally:
        victim.write_bytes(sound)


def vectors(address: str) -> None:
    run = Run(address)
    run.vectors(run.read("embeddings", ["item"])["item"].to_numpy())
    for layer in run.layers():
        if layer.is_real:
            run.features(layer.name, "own")
            run.features(layer.name, "next")


READERS: dict[str, Callable[[str], object]] = {
    "map": lambda address: open_run(address).map,
    "tables": lambda address: open_run(address).tables(),
    **{f"table {name}": lambda address, name=name: open_run(address).table(name) for name in TABLES},
    "unit": lambda address: open_run(address).unit("paint", 0),
    "vectors": vectors,
    "status": status_of,
    "verify": lambda address: Run(address).ledger.verify(),
}


class Words(logging.Handler):
    """What was warned of."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def read_by_all(address: str, file: str, words: Words) -> dict[str, str]:
    """What came of every reader: `fine`, the words of a PolyscanError, or RAISED and a traceback's end."""
    found: dict[str, str] = {}
    for name, reader in READERS.items():
        if name.startswith("table ") and "/part-" in file and name != f"table {file.partition('/')[0]}":
            continue  # nothing of it is read
        words.said.clear()
        try:
            reader(address)
            found[name] = "fine"
        except PolyscanError as error:
            told = [str(error), *words.said]
            # A done record that is harmed within a part's name sends the reader to a file that never was.
            misled = file.startswith("done/") and " is gone; " in str(error)
            found[name] = "named" if misled or any(file in each for each in told) else f"NAMELESS {error}"
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)
            ours = [frame for frame in where if "polyscan" in frame.filename]
            at = " < ".join(f"{Path(frame.filename).name}:{frame.name}" for frame in reversed(ours[-3:]))
            found[name] = f"RAISED {type(error).__name__}: {str(error)[:200]} in {at}"
    return found


def main(verdicts: str, address: str, *what: str) -> None:
    seed, first, count = map(int, what)
    words = Words()
    logging.getLogger("polyscan").addHandler(words)
    logging.getLogger("polyscan").propagate = False
    sound = {name: "fine" for name in READERS}
    assert read_by_all(address, "none", words) == sound, read_by_all(address, "none", words)
    jury.limit_memory()
    with open(verdicts, "w") as out:
        for index in range(first, first + count):
            with harmed(Path(address), seed, index) as (file, harm):
                print(json.dumps({"begin": f"seed {seed}, {index}: {file} {harm}"}), file=out, flush=True)
                jury.limit_time()
                found: Any = read_by_all(address, file, words)
            print(json.dumps({"end": index, "file": file, "harm": harm, "found": found}), file=out, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
