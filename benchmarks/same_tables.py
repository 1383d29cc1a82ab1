"""Whether two runs hold the same tables: every row of every column to the bit, but for columns that are new or renamed.

    python -m benchmarks.same_tables runs/before runs/after [--new parent role is_main] [--renamed read_out=readout]

Files are read by pyarrow alone, since another version of polyscan refuses tables of other columns. Prints a line a
table and exits with 1 where one differs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


def tables_of(run: Path) -> dict[str, list[Path]]:
    """Files of each table in shard order, and the map."""
    folders = sorted({file.parent for file in run.glob("*/part-*.parquet")})
    return {folder.name: sorted(folder.glob("part-*.parquet")) for folder in folders} | {"map": [run / "map.parquet"]}


def columns_of(files: list[Path]) -> pa.Table:
    """All rows."""
    parts = [pq.read_table(file) for file in files]
    return pa.concat_tables([part.replace_schema_metadata(None) for part in parts])


def bits(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column such that NaN equals itself and 0 is not -0."""
    numbers = {pa.float64(): pa.int64(), pa.float32(): pa.int32()}
    if column.type in numbers:
        return pa.chunked_array([chunk.view(numbers[column.type]) for chunk in column.chunks], numbers[column.type])
    return column


def differences(before: pa.Table, after: pa.Table, new: set[str], renamed: dict[str, str]) -> list[str]:
    """What is not the same, in words."""
    found = []
    if before.num_rows != after.num_rows:
        return [f"{before.num_rows} rows before, {after.num_rows} after"]
    for name in before.column_names:
        now = renamed.get(name, name)
        if now not in after.column_names:
            found.append(f"`{name}` is gone")
        elif before[name].type != after[now].type:
            found.append(f"`{name}` was {before[name].type}, is {after[now].type}")
        elif not bits(before[name]).equals(bits(after[now])):
            unlike = pc.sum(pc.not_equal(before[name].cast(pa.string(), safe=False), after[now].cast(pa.string())))
            found.append(f"`{name}` differs in {unlike} rows")
    extra = set(after.column_names) - set(before.column_names) - new - set(renamed.values())
    return found + [f"`{name}` is new" for name in sorted(extra)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--new", nargs="*", default=[])
    parser.add_argument("--renamed", nargs="*", default=[])
    asked = parser.parse_args()
    renamed = dict(pair.split("=") for pair in asked.renamed)
    before, after = tables_of(asked.before), tables_of(asked.after)
    n_wrong = 0
    for name in sorted(set(before) | set(after)):
        if name not in before or name not in after:
            found = ["only in one of the runs"]
        else:
            ours, theirs = columns_of(before[name]), columns_of(after[name])
            found = differences(ours, theirs, set(asked.new), renamed)
            added = sorted((set(theirs.column_names) - set(ours.column_names)) & set(asked.new))
        n_wrong += bool(found)
        print(f"{name}: {'; '.join(found) or f'same {ours.num_rows} rows of {ours.num_columns} columns, new: {added}'}")
    return int(n_wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
