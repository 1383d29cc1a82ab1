"""Runs side by side: trainings, architectures, or a series of checkpoints, layer by layer and over layers.

Only tables of finished runs are read; nothing is scanned or scored again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from polyscan.maps.atlas import MapColumn
from polyscan.maps.comparison import (
    Comparison,
    LayerDifference,
    LayerMean,
    NetworkMean,
    OverallDifference,
    Pairing,
    RunFacts,
)
from polyscan.maps.comparison_page import comparison_files
from polyscan.storage import Storage
from polyscan.studies.compare.differing import ABSENT, Correspondence, correspondence, differing
from polyscan.studies.compare.means import (
    DRAWS,
    SEED,
    Cells,
    Difference,
    cells_of,
    difference,
    network_mean,
    overall,
    pooled_sd,
)
from polyscan.studies.compare.metrics import metrics_of, order_of
from polyscan.studies.compare.runs import ComparedRun, common_columns, opened
from polyscan.studies.compare.sentences import notes, spoken_of, statement, warnings
from polyscan.studies.compare.table import table_of
from polyscan.studies.compare.units import unit_table

__all__ = ["Compared", "compare", "comparison_of", "table_of"]

FOLDER = "comparison"


@dataclass(frozen=True)
class Compared:
    """What came of it, and where it was written."""

    address: str
    comparison: Comparison


def compare(
    addresses: Sequence[str], *, metric: str | None = None, out: str | None = None, same_training: bool | None = None
) -> Compared:
    """Compares runs with the first one and writes the comparison's folder.

    Args:
        addresses: two runs or more.
        metric: a CSV file with numbers of each run.
        out: where to; default: `comparison` beside the first run.
        same_training: whether channels of runs with the same layers correspond; default: only where it is known.

    Raises:
        JobError: if there are fewer than two runs, the CSV is wrong, or runs can't be checkpoints as the user says.
        TableError: if one is no run, has no map, or no score is common to all.
        StoreError: if an address is none, or an object store refuses.
    """
    sides = opened(addresses)
    found = comparison_of(sides, metrics_of(metric, sides) if metric else {}, same_training)
    storage = Storage(out or beside(addresses[0]))
    # The new files are written over the old ones, the page last: it never points at what is not there.
    for name, content in comparison_files(found):
        storage.put(name, content)
    return Compared(storage.address, found)


def beside(address: str) -> str:
    """The default folder: `comparison` in the first run's parent.

    >>> beside("runs/a/"), beside("a"), beside("s3://bucket/runs/a")
    ('runs/comparison', 'comparison', 's3://bucket/runs/comparison')
    """
    parent, slash, _ = address.rstrip("/").rpartition("/")
    return f"{parent}{slash}{FOLDER}"


def comparison_of(
    sides: Sequence[ComparedRun], metrics: Mapping[str, Sequence[float]], same_training: bool | None
) -> Comparison:
    """All numbers and words of a comparison; the first side is what the others are compared with."""
    columns = common_columns(sides)
    first, others = sides[0], sides[1:]
    correspondences = [correspondence(first, other, same_training) for other in others]
    cells = [cells_of(side, columns) for side in sides]
    is_one_network = all(list(side.widths) == list(first.widths) for side in others)
    rows = differing(sides)
    differences, overalls = _all_differences(sides, cells, columns, correspondences)
    return Comparison(
        title=_title(sides),
        runs=[_facts(side) for side in sides],
        statements=list(_statements(sides, columns, overalls)),
        warnings=list(warnings(rows)),
        differing=rows,
        columns=columns,
        layers=list(first.widths) if is_one_network else [],
        means=[row for side, its in zip(sides, cells, strict=True) for row in _mean_rows(side, its)],
        network=[row for side, its in zip(sides, cells, strict=True) for row in _network_rows(side, its, columns)],
        differences=differences,
        overall=overalls,
        pairings=[
            Pairing(side.place, tie.why, unit_table(first, side, columns) if tie.holds else None)
            for side, tie in zip(others, correspondences, strict=True)
        ],
        metrics={name: metrics[name] for name in order_of(metrics)},
        notes=list(notes(sides, columns)),
        seed=SEED,
        draws=DRAWS,
    )


def _all_differences(
    sides: Sequence[ComparedRun],
    cells: Sequence[Cells],
    columns: Sequence[MapColumn],
    correspondences: Sequence[Correspondence],
) -> tuple[list[LayerDifference], list[OverallDifference]]:
    """Of each run from the first one: layer by layer, and over layers."""
    scales = {
        column.name: pooled_sd([cell for its in cells for key, cell in its.items() if key[0] == column.name])
        for column in columns
    }
    differences: list[LayerDifference] = []
    overalls: list[OverallDifference] = []
    for side, its, tie in zip(sides[1:], cells[1:], correspondences, strict=True):
        found = _differences(sides[0], cells[0], its, columns, tie)
        for column in columns:
            by_layer = found[column.name]
            differences += _layer_rows(side, column, by_layer, scales[column.name])
            if by_layer:
                overalls.append(_overall_row(side, column, cells[0], its, by_layer))
    return differences, overalls


def _differences(
    first: ComparedRun, here: Cells, there: Cells, columns: Sequence[MapColumn], tie: Correspondence
) -> dict[str, dict[str, Difference]]:
    """By column and layer, in the first run's forward order; layers are matched by name."""
    found: dict[str, dict[str, Difference]] = {column.name: {} for column in columns}
    for layer in first.widths:  # layer by layer: all columns have the same units drawn again
        for column in columns:
            a, b = here.get((column.name, layer)), there.get((column.name, layer))
            if a and b and (its := difference(a, b, is_paired=tie.holds)):
                found[column.name][layer] = its
    return found


def _layer_rows(
    side: ComparedRun, column: MapColumn, found: Mapping[str, Difference], sd: float
) -> Iterator[LayerDifference]:
    for layer, its in found.items():
        # All units alike: no difference is one in standard deviations, any other can't be told in them.
        in_sd = its.interval.mean / sd if sd > 0 else 0.0 if its.interval.mean == 0 else float("nan")
        yield LayerDifference(side.place, column.name, layer, its.n, *its.interval, its.is_paired, in_sd)


def _overall_row(
    side: ComparedRun, column: MapColumn, here: Cells, there: Cells, found: Mapping[str, Difference]
) -> OverallDifference:
    own = [there[column.name, layer].interval.mean - here[column.name, layer].interval.mean for layer in found]
    its = overall(list(found.values()), own)
    return OverallDifference(side.place, column.name, its.n, *its.interval, its.inner, its.own, its.is_claimed)


def _statements(
    sides: Sequence[ComparedRun], columns: Sequence[MapColumn], overalls: Sequence[OverallDifference]
) -> Iterator[str]:
    found = {(row.run, row.column): row for row in overalls}
    for side in sides[1:]:
        for column in spoken_of(columns):
            yield statement(column, sides[0].name, side.name, found.get((side.place, column.name)))


def _mean_rows(side: ComparedRun, cells: Cells) -> Iterator[LayerMean]:
    places = {layer.name: at for at, layer in enumerate(side.layers)}
    last = max(1, len(side.layers) - 1)
    for (column, layer), cell in cells.items():
        at = places[layer]
        yield LayerMean(side.place, column, layer, at, at / last, len(cell.values), *cell.interval)


def _network_rows(side: ComparedRun, cells: Cells, columns: Sequence[MapColumn]) -> Iterator[NetworkMean]:
    for column in columns:
        mine = [cell for key, cell in cells.items() if key[0] == column.name]
        if mine:
            yield NetworkMean(side.place, column.name, len(mine), *network_mean(mine))


def _title(sides: Sequence[ComparedRun]) -> str:
    names = [side.name for side in sides]
    return " · ".join(names) if len(names) <= 3 else f"{names[0]} · {names[1]} ... {names[-1]} ({len(names)} runs)"


def _facts(side: ComparedRun) -> RunFacts:
    network, images = side.manifest.get("network", {}), side.manifest.get("images", {})
    return RunFacts(
        name=side.name,
        address=side.address,
        network=str(network.get("name", ABSENT)),
        weights=str(network.get("weights", "")),
        digest=side.digest[:12],
        images=f"{images.get('source', ABSENT)}, {images.get('n', ABSENT)}",
        embedder=str(side.manifest.get("embedder", {}).get("name", ABSENT)),
        n_layers=len(side.layers),
        n_units=len(side.frame),
        n_dead=int(side.frame["is_dead"].sum()),
    )
