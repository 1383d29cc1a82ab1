"""Commands about one scan: scan, plan, units, status."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from polyscan.cli.console import (
    DirectionsOption,
    ImagesOption,
    JobArgument,
    NetworkOption,
    OnOption,
    QuietOption,
    SetOption,
    WorkersOption,
    app,
    out,
    overrides,
    tell,
    with_directions,
)
from polyscan.cli.progress import watching
from polyscan.cli.tables import show_table
from polyscan.cli.words import bytes_words, field_words, rate_words, time_words
from polyscan.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polyscan.run import Run
    from polyscan.run.integrity import Fault
    from polyscan.studies.plan import PlanRow
    from polyscan.studies.status import StageStatus
    from polyscan.vision.readouts import ReadPoint


@app.command()
def scan(
    job: JobArgument = None,
    run: Annotated[str, typer.Option(help="the results folder; an unfinished run in it is continued")] = "",
    network: NetworkOption = None,
    images: ImagesOption = None,
    directions: DirectionsOption = None,
    on: OnOption = None,
    workers: WorkersOption = None,
    redo: Annotated[str | None, typer.Option(help="a stage to run again, with all later stages")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="read and check all earlier results; always done on a local disk")
    ] = False,
    sets: SetOption = None,
    quiet: QuietOption = False,
) -> None:
    """Scan every unit of a network and draw its maps."""
    from polyscan.studies import scanning

    if not run:
        raise JobError("`--run` is missing; give a folder for the results, as in --run runs/digits")
    settings = with_directions(overrides(sets), directions)
    full_job = scanning.filled_job(job, network, images, settings)
    if not quiet and scanning.runner_name(on) == "local":
        _suggest_ray(full_job.threads)
    with watching(quiet=quiet) as watcher:
        results = scanning.scan(
            full_job, run, on=on, workers=workers, redo=redo, verify=verify or None, watcher=watcher
        )
    frame = results.map
    out.print(f"{len(frame)} units in {frame['layer'].nunique()} layers, {int(frame['is_dead'].sum())} dead")
    _print_rejects(results.run)
    out.print(f"{results.run.address}/maps/index.html")


def _print_rejects(run: Run) -> None:
    from polyscan.studies.rejects import rejects_line

    if line := rejects_line(run):
        out.print(line)


def _suggest_ray(threads: int) -> None:
    """Says that cores are idle, where one local worker has fewer threads than there are cores."""
    cores = os.cpu_count() or 1
    if cores > threads:
        tell(f"running one worker with {threads} thread(s) on {cores} cores; --on ray uses all, with the same results")


@app.command()
def plan(
    job: JobArgument = None,
    network: NetworkOption = None,
    images: ImagesOption = None,
    directions: DirectionsOption = None,
    run: Annotated[
        str | None, typer.Option(help="a finished run of a similar job: its planted units show how much can be found")
    ] = None,
    sets: SetOption = None,
) -> None:
    """Count layers, units and shards and estimate time, memory and disk, before anything runs."""
    from polyscan.studies.plan import plan as planned
    from polyscan.studies.scanning import filled_job

    plan_ = planned(filled_job(job, network, images, with_directions(overrides(sets), directions)), run)
    out.print(f"{plan_.n_layers} layers, {plan_.n_units:,} units, {plan_.n_images:,} images")
    _show_costs([*plan_.rows, plan_.maps])
    out.print(
        "Time, memory and disk are estimates: time is extrapolated from one measured batch of each stage, and memory"
    )
    out.print(
        "is the peak of one worker. Shards and rows are upper bounds: dead units and shared crops make a run smaller."
    )
    for sentence in plan_.detectable:
        out.print(sentence)


def _show_costs(rows: Sequence[PlanRow]) -> None:
    on_gpu = any(row.gpu_memory is not None for row in rows)
    heads = ("stage", "shards", "rows", "disk", "memory", *(["GPU memory"] if on_gpu else []), "time on one worker")
    lines: list[tuple[str, ...]] = []
    for row in rows:
        peaks = [row.memory, row.gpu_memory] if on_gpu else [row.memory]
        memory = ["?" if peak is None else bytes_words(peak) for peak in peaks]
        counts = (f"{row.shards:,}", f"{row.rows:,}", bytes_words(row.bytes))
        lines.append((row.stage, *counts, *memory, time_words(row.seconds)))
    disk, seconds = sum(row.bytes for row in rows), sum(row.seconds for row in rows)
    lines.append(("all", "", "", bytes_words(disk), *([""] * (1 + on_gpu)), time_words(seconds)))
    show_table(heads, lines)


@app.command()
def units(
    job: JobArgument = None,
    network: NetworkOption = None,
    prefix: Annotated[
        list[str] | None,
        typer.Option(help="only layers whose names begin with this, as in --prefix layer4; may be repeated"),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="all layers and blocks of the network, not only those that the job scans")
    ] = False,
    images: ImagesOption = None,
    sets: SetOption = None,
) -> None:
    """List the layers and the number of units of each; needs neither weights nor images."""
    from polyscan.studies.layers import starting_with, untrained_reader
    from polyscan.studies.scanning import filled_job

    full_job = filled_job(job, network, images or ("unused" if network else None), overrides(sets))
    reader = untrained_reader(full_job, every=every)
    points = starting_with(reader.points, prefix or ())
    show_table(("depth", "layer", "units", "map", "receptive field", "read"), map(_layer_cells, points))
    tell(f"{len(points)} layers, {sum(point.n_channels for point in points):,} units")
    if not reader.is_traced:
        tell(f"The network can't be traced ({reader.untraced_because}), so each module is read at its output.")


def _layer_cells(point: ReadPoint) -> tuple[str, ...]:
    size = f"{point.map_size[0]}x{point.map_size[1]}"
    return str(point.depth), point.layer, str(point.n_channels), size, field_words(point.field), point.readout


@app.command()
def status(
    run: Annotated[str, typer.Argument(help="the results folder")],
    verify: Annotated[bool, typer.Option("--verify", help="read every part and check its sha256")] = False,
) -> None:
    """Show what is done, running and failed in a run, and how fast it goes; needs only the results folder."""
    from polyscan.run import Run
    from polyscan.studies.status import status_of

    rows = status_of(run)
    _show_stages(rows)
    for row in rows:
        if row.rate is not None and row.total != row.done:
            left = "" if row.seconds_left is None else f"; {time_words(row.seconds_left)} left"
            shards, items = (rate_words(rate) for rate in (row.rate.shards_per_minute, row.rate.items_per_minute))
            out.print(f"{row.stage}: {shards} shards, {items} items per minute{left}")
    for row in rows:
        _print_troubles(row)
    _print_rejects(Run(run))
    faults = _verified(run) if verify else []
    if any(row.failures for row in rows) or faults:
        raise typer.Exit(3)


def _show_stages(rows: Sequence[StageStatus]) -> None:
    heads = ("stage", "done", "of", "running", "failed", "halved", "rows", "worker time")
    show_table(heads, map(_stage_cells, rows))


def _stage_cells(row: StageStatus) -> tuple[str, ...]:
    counts = (str(count or "") for count in (len(row.running), len(row.failures), row.halved))
    total = "?" if row.total is None else str(row.total)
    return row.stage, str(row.done), total, *counts, f"{row.rows:,}", time_words(row.seconds)


def _print_troubles(row: StageStatus) -> None:
    """Prints the shards of a stage that failed, and those that take too long."""
    for failure in row.failures:
        out.print(f"shard {failure['index']} of {row.stage}: {failure['cause']}")
    for late in row.stale:
        out.print(
            f"shard {late.trace.index} of {row.stage}: running on {late.trace.host} (process {late.trace.pid}) for "
            f"{time_words(late.seconds)}, longer than its deadline of {time_words(late.deadline_s)}: its worker hangs "
            "or has died",
        )


def _verified(address: str) -> list[Fault]:
    """Reads every part and prints which ones are missing or not as they were written."""
    from polyscan.run import Run

    run = Run(address)
    faults = run.ledger.verify()
    for fault in faults:
        out.print(str(fault))
    repair = "; the same `polyscan scan` repairs it (on an object store with --verify)" if faults else ""
    out.print(f"{run.ledger.checked}{repair}")
    return faults
