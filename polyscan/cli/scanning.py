"""Commands about one scan: scan, plan, units, status."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from polyscan.cli.console import (
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
)
from polyscan.cli.progress import watching
from polyscan.cli.words import bytes_words, rate_words, time_words
from polyscan.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polyscan.run.integrity import Fault
    from polyscan.studies.plan import PlanRow
    from polyscan.studies.status import StageStatus


@app.command()
def scan(
    job: JobArgument = None,
    run: Annotated[str, typer.Option(help="the results folder; a run that was begun is brought to its end")] = "",
    network: NetworkOption = None,
    images: ImagesOption = None,
    on: OnOption = None,
    workers: WorkersOption = None,
    redo: Annotated[str | None, typer.Option(help="a stage to make anew, with all that follows")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="read every part that was done before; on a local disk always")
    ] = False,
    sets: SetOption = None,
    quiet: QuietOption = False,
) -> None:
    """Scan every unit of a network and draw its maps."""
    from polyscan.studies import scanning

    if not run:
        raise JobError("`--run` is missing: where the results go, as in --run runs/digits")
    asked = scanning.filled_job(job, network, images, overrides(sets))
    if not quiet and scanning.runner_name(on) == "local" and (cores := os.cpu_count() or 1) > asked.threads:
        tell(f"one worker of {asked.threads} thread(s) on {cores} cores; --on ray uses them all, with the same results")
    with watching(quiet=quiet) as watcher:
        results = scanning.scan(asked, run, on=on, workers=workers, redo=redo, verify=verify or None, watcher=watcher)
    frame = results.map
    out.print(f"{len(frame)} units in {frame['layer'].nunique()} layers, {int(frame['is_dead'].sum())} dead")
    out.print(f"{results.run.address}/maps/index.html")


@app.command()
def plan(
    job: JobArgument = None, network: NetworkOption = None, images: ImagesOption = None, sets: SetOption = None
) -> None:
    """Layers, units, shards, and an estimate of time, memory and disk, before anything runs."""
    from polyscan.studies.plan import plan as planned
    from polyscan.studies.scanning import filled_job

    plan_ = planned(filled_job(job, network, images, overrides(sets)))
    out.print(f"{plan_.n_layers} layers, {plan_.n_units:,} units, {plan_.n_images:,} images")
    out.print(_plan_table([*plan_.rows, plan_.maps]))
    out.print(
        "Time is measured on one batch each and multiplied; memory is one worker's at its peak. Both, and disk, are"
    )
    out.print("estimates; shards and rows are upper bounds: dead units and crops that units share make a run smaller.")


def _plan_table(rows: Sequence[PlanRow]) -> Table:
    on_gpu = any(row.gpu_memory is not None for row in rows)
    heads = ("stage", "shards", "rows", "disk", "memory", *(["GPU memory"] if on_gpu else []), "time on one worker")
    table = Table(*heads)
    for row in rows:
        held = [row.memory, row.gpu_memory] if on_gpu else [row.memory]
        memory = ["?" if each is None else bytes_words(each) for each in held]
        counts = (f"{row.shards:,}", f"{row.rows:,}", bytes_words(row.bytes))
        table.add_row(row.stage, *counts, *memory, time_words(row.seconds))
    disk, seconds = sum(row.bytes for row in rows), sum(row.seconds for row in rows)
    table.add_row("all", "", "", bytes_words(disk), *([""] * (1 + on_gpu)), time_words(seconds))
    return table


@app.command()
def units(
    job: JobArgument = None, network: NetworkOption = None, images: ImagesOption = None, sets: SetOption = None
) -> None:
    """The layers and how many units each has."""
    from polyscan.inputs import open_reader
    from polyscan.studies.scanning import filled_job

    reader = open_reader(filled_job(job, network, images or ("unused" if network else None), overrides(sets)))
    table = Table("depth", "layer", "units", "map", "receptive field", "read")
    for p in reader.points:
        field = "whole image" if p.field is None else f"{p.field[0].field:.0f} px"
        table.add_row(str(p.depth), p.layer, str(p.n_channels), f"{p.map_size[0]}x{p.map_size[1]}", field, p.readout)
    out.print(table)
    out.print(f"{len(reader.points)} layers, {sum(p.n_channels for p in reader.points):,} units")
    if not reader.is_traced:
        out.print(f"The network can't be traced ({reader.untraced_because}): modules are read at their own outputs.")


@app.command()
def status(
    run: Annotated[str, typer.Argument(help="the results folder")],
    verify: Annotated[bool, typer.Option("--verify", help="read every part and compare its sha256")] = False,
) -> None:
    """What is done, at work, missing and failed, how fast it goes; works from any machine that sees the run."""
    from polyscan.studies.status import status_of

    rows = status_of(run)
    out.print(_status_table(rows))
    for row in rows:
        if row.rate is not None and row.total != row.done:
            left = "" if row.seconds_left is None else f"; {time_words(row.seconds_left)} left"
            shards, items = (rate_words(rate) for rate in (row.rate.shards_per_minute, row.rate.items_per_minute))
            out.print(f"{row.stage}: {shards} shards, {items} items a minute{left}")
    for row in rows:
        _print_troubles(row)
    faults = _verified(run) if verify else []
    if any(row.failures for row in rows) or faults:
        raise typer.Exit(3)


def _status_table(rows: Sequence[StageStatus]) -> Table:
    table = Table("stage", "done", "of", "running", "failed", "halved", "rows", "worker time")
    for row in rows:
        table.add_row(
            *(row.stage, str(row.done), "?" if row.total is None else str(row.total)),
            *(str(count or "") for count in (len(row.running), len(row.failures), row.halved)),
            *(f"{row.rows:,}", time_words(row.seconds)),
        )
    return table


def _print_troubles(row: StageStatus) -> None:
    """Shards of a stage that failed, and those that take too long."""
    for failure in row.failures:
        out.print(f"shard {failure['index']} of {row.stage}: {failure['cause']}", markup=False)
    for late in row.stale:
        out.print(
            f"shard {late.trace.index} of {row.stage}: at work on {late.trace.host} (process {late.trace.pid}) for "
            f"{time_words(late.seconds)}, longer than its deadline of {time_words(late.deadline_s)}: its worker hangs, "
            "or is gone with its scan",
            markup=False,
        )


def _verified(address: str) -> list[Fault]:
    """Reads every part and says what is not as it was written."""
    from polyscan.run import Run

    run = Run(address)
    faults = run.ledger.verify()
    for fault in faults:
        out.print(str(fault), markup=False)
    cure = "; the same `polyscan scan` mends it (on an object store with --verify)" if faults else ""
    out.print(f"{run.ledger.checked}{cure}")
    return faults
