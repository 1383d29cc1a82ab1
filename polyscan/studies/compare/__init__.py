"""Compares runs of several trainings, architectures or checkpoints, layer by layer and over layers.

It reads only tables of finished runs; nothing is scanned or scored again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

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
from polyscan.studies.compare.controls import beyond_controls_table, found_beyond_controls
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
from polyscan.studies.writing import writing_out

__all__ = ["Compared", "beyond_controls_table", "compare", "comparison_of", "table_of"]

FOLDER = "comparison"


@dataclass(frozen=True)
class Compared:
    """A comparison, and the address of the folder that it was written to."""

    address: str
    comparison: Comparison


def compare(
    addresses: Sequence[str],
    *,
    metric: str | None = None,
    out: str | None = None,
    same_training: bool | None = None,
    beyond_controls: bool = False,
) -> Compared:
    """Compares runs with the first one and writes the comparison's folder.

    To compare a run with its untrained twin, scan the twin by `untrained_twin`, and set `beyond_controls`.

    Args:
        addresses: two runs or more.
        metric: a CSV file with numbers of each run.
        out: the output folder; default: `comparison` next to the first run.
        same_training: whether channels of runs with the same layers correspond; default: only if it is known.
        beyond_controls: whether the sentences also tell the share of units with p <= .05, beside that of controls.

    Raises:
        JobError: if there are fewer than two runs, the CSV is wrong, runs can't be of one training as the user says, or
            the folder can't be written.
        TableError: if an address holds no run or no map, or no score is common to all.
        StoreError: if an address is invalid, or an object store refuses.
    """
    runs = opened(addresses)
    comparison = comparison_of(runs, metrics_of(metric, runs) if metric else {}, same_training)
    if beyond_controls:
        comparison = replace(comparison, statements=[*found_beyond_controls(comparison), *comparison.statements])
    storage = Storage(out or default_folder(addresses[0]))
    # Old files are overwritten, and the page is written last, so that it never refers to missing files.
    for name, content in comparison_files(comparison):
        with writing_out(storage.address):
            storage.put(name, content)
    return Compared(storage.address, comparison)


def default_folder(address: str) -> str:
    """The default output folder: `comparison` in the parent folder of the first run.

    >>> default_folder("runs/a/"), default_folder("a"), default_folder("s3://bucket/runs/a")
    ('runs/comparison', 'comparison', 's3://bucket/runs/comparison')
    """
    parent, slash, _ = address.rstrip("/").rpartition("/")
    return f"{parent}{slash}{FOLDER}"


def comparison_of(
    runs: Sequence[ComparedRun], metrics: Mapping[str, Sequence[float]], same_training: bool | None
) -> Comparison:
    """All numbers and sentences of a comparison; each run is compared with the first."""
    columns = common_columns(runs)
    correspondences = [correspondence(runs[0], other, same_training) for other in runs[1:]]
    cells = [cells_of(run, columns) for run in runs]
    rows = differing(runs)
    differences, overalls = _all_differences(runs, cells, columns, correspondences)
    return Comparison(
        title=_title(runs),
        runs=[_facts(run) for run in runs],
        statements=list(_statements(runs, columns, overalls)),
        warnings=list(warnings(rows)),
        differing=rows,
        columns=columns,
        layers=_layers_of_all(runs),
        means=[row for run, of_run in zip(runs, cells, strict=True) for row in _mean_rows(run, of_run)],
        network=[row for run, of_run in zip(runs, cells, strict=True) for row in _network_rows(run, of_run, columns)],
        differences=differences,
        overall=overalls,
        pairings=list(_pairings(runs, columns, correspondences)),
        metrics={name: metrics[name] for name in order_of(metrics)},
        notes=list(notes(runs, columns)),
        seed=SEED,
        draws=DRAWS,
    )


def _layers_of_all(runs: Sequence[ComparedRun]) -> list[str]:
    """The layers in forward order, if all runs have the same; else empty."""
    first = list(runs[0].widths)
    return first if all(list(run.widths) == first for run in runs[1:]) else []


def _pairings(
    runs: Sequence[ComparedRun], columns: Sequence[MapColumn], correspondences: Sequence[Correspondence]
) -> Iterator[Pairing]:
    """For each run but the first, whether its units correspond to those of the first, and their comparison."""
    for run, correspondence_ in zip(runs[1:], correspondences, strict=True):
        table = unit_table(runs[0], run, columns) if correspondence_.holds else None
        yield Pairing(run.place, correspondence_.why, table)


def _all_differences(
    runs: Sequence[ComparedRun],
    cells: Sequence[Cells],
    columns: Sequence[MapColumn],
    correspondences: Sequence[Correspondence],
) -> tuple[list[LayerDifference], list[OverallDifference]]:
    """The differences of each run from the first: layer by layer, and over layers."""
    scales = {
        column.name: pooled_sd([cell for of_run in cells for key, cell in of_run.items() if key[0] == column.name])
        for column in columns
    }
    differences: list[LayerDifference] = []
    overalls: list[OverallDifference] = []
    for run, of_run, correspondence_ in zip(runs[1:], cells[1:], correspondences, strict=True):
        of_columns = _differences(runs[0], cells[0], of_run, columns, correspondence_)
        for column in columns:
            by_layer = of_columns[column.name]
            differences += _layer_rows(run, column, by_layer, scales[column.name])
            if by_layer:
                overalls.append(_overall_row(run, column, cells[0], of_run, by_layer))
    return differences, overalls


def _differences(
    first: ComparedRun,
    first_cells: Cells,
    other_cells: Cells,
    columns: Sequence[MapColumn],
    correspondence_: Correspondence,
) -> dict[str, dict[str, Difference]]:
    """By column and layer, in the forward order of the first run; layers are matched by name."""
    differences: dict[str, dict[str, Difference]] = {column.name: {} for column in columns}
    for layer in first.widths:  # layer by layer, because all columns of a layer use the same resampled units
        for column in columns:
            a, b = first_cells.get((column.name, layer)), other_cells.get((column.name, layer))
            if a and b and (change := difference(a, b, is_paired=correspondence_.holds)):
                differences[column.name][layer] = change
    return differences


def _layer_rows(
    run: ComparedRun, column: MapColumn, by_layer: Mapping[str, Difference], sd: float
) -> Iterator[LayerDifference]:
    for layer, change in by_layer.items():
        mean = change.interval.mean
        # If all units are equal, sd is 0: no difference is 0 sd, and any other can't be given in sd.
        in_sd = mean / sd if sd > 0 else 0.0 if mean == 0 else float("nan")
        yield LayerDifference(run.place, column.name, layer, change.n, *change.interval, change.is_paired, in_sd)


def _overall_row(
    run: ComparedRun,
    column: MapColumn,
    first_cells: Cells,
    other_cells: Cells,
    by_layer: Mapping[str, Difference],
) -> OverallDifference:
    own = [
        other_cells[column.name, layer].interval.mean - first_cells[column.name, layer].interval.mean
        for layer in by_layer
    ]
    mean = overall(list(by_layer.values()), own)
    return OverallDifference(run.place, column.name, mean.n, *mean.interval, mean.inner, mean.own, mean.is_claimed)


def _statements(
    runs: Sequence[ComparedRun], columns: Sequence[MapColumn], overalls: Sequence[OverallDifference]
) -> Iterator[str]:
    rows = {(row.run, row.column): row for row in overalls}
    for run in runs[1:]:
        for column in spoken_of(columns):
            yield statement(column, runs[0].name, run.name, rows.get((run.place, column.name)))


def _mean_rows(run: ComparedRun, cells: Cells) -> Iterator[LayerMean]:
    depths = {layer.name: depth for depth, layer in enumerate(run.layers)}
    last = max(1, len(run.layers) - 1)
    for (column, layer), cell in cells.items():
        depth = depths[layer]
        yield LayerMean(run.place, column, layer, depth, depth / last, len(cell.values), *cell.interval)


def _network_rows(run: ComparedRun, cells: Cells, columns: Sequence[MapColumn]) -> Iterator[NetworkMean]:
    for column in columns:
        of_column = [cell for key, cell in cells.items() if key[0] == column.name]
        if of_column:
            yield NetworkMean(run.place, column.name, len(of_column), *network_mean(of_column))


def _title(runs: Sequence[ComparedRun]) -> str:
    names = [run.name for run in runs]
    return " · ".join(names) if len(names) <= 3 else f"{names[0]} · {names[1]} ... {names[-1]} ({len(names)} runs)"


def _facts(run: ComparedRun) -> RunFacts:
    network, images = run.manifest.get("network", {}), run.manifest.get("images", {})
    return RunFacts(
        name=run.name,
        address=run.address,
        network=str(network.get("name", ABSENT)),
        weights=str(network.get("weights", "")),
        digest=run.digest[:12],
        images=f"{images.get('source', ABSENT)}, {images.get('n', ABSENT)}",
        embedder=str(run.manifest.get("embedder", {}).get("name", ABSENT)),
        n_layers=len(run.layers),
        n_units=len(run.frame),
        n_dead=int(run.frame["is_dead"].sum()),
    )
