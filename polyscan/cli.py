"""The command line: words to calls; parses, prints, exits.

Exit status: 0 all done; 2 the job or the command is wrong, or the run folder can't be written; 3 some shards failed,
or `status` found failures or damage; 130 interrupted.
"""

from __future__ import annotations

import logging
import os
import sys
import tomllib
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from polyscan.errors import JobError, PolyscanError, ShardError

if TYPE_CHECKING:
    from polyscan.run.integrity import Fault

app = typer.Typer(
    help="Tells, for every unit of a convolutional network, whether it answers to one thing or to several.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

INTERRUPTED = 130

JobArgument = Annotated[str | None, typer.Argument(help="a job file; default: the digits that come with polyscan")]
NetworkOption = Annotated[str | None, typer.Option(help="torchvision:NAME, timm:NAME or module:callable")]
ImagesOption = Annotated[str | None, typer.Option(help="class folder, Parquet, torchvision:NAME or sklearn:digits")]
WorkersOption = Annotated[
    int | None, typer.Option(help="Ray workers to ask for; default: the job's workers.n, else as many as fit")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="a setting of the job, as collect.k=64; may be repeated")
]


@app.command()
def scan(
    job: JobArgument = None,
    run: Annotated[str, typer.Option(help="the results folder; a run that was begun is brought to its end")] = "",
    network: NetworkOption = None,
    images: ImagesOption = None,
    on: Annotated[str | None, typer.Option(help="local or ray; default: ray where RAY_ADDRESS is set")] = None,
    workers: WorkersOption = None,
    redo: Annotated[str | None, typer.Option(help="a stage to make anew, with all that follows")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="read every part that was done before; on a local disk always")
    ] = False,
    sets: SetOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="no progress")] = False,
) -> None:
    """Scan every unit of a network and draw its maps."""
    from polyscan.studies import scanning

    if not run:
        raise JobError("`--run` is missing: where the results go, as in --run runs/digits")
    asked = scanning.filled_job(job, network, images, _overrides(sets))
    if not quiet and scanning.runner_name(on) == "local" and (cores := os.cpu_count() or 1) > asked.threads:
        _tell(
            f"one worker of {asked.threads} thread(s) on {cores} cores; --on ray uses them all, with the same results"
        )
    with _watching(quiet=quiet) as watcher:
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

    plan_ = planned(filled_job(job, network, images, _overrides(sets)))
    out.print(f"{plan_.n_layers} layers, {plan_.n_units:,} units, {plan_.n_images:,} images")
    on_gpu = any(row.gpu_memory is not None for row in plan_.rows)
    table = Table(
        "stage", "shards", "rows", "disk", "memory", *(["GPU memory"] if on_gpu else []), "time on one worker"
    )
    rows = [*plan_.rows, plan_.maps]
    for row in rows:
        held = [row.memory, row.gpu_memory] if on_gpu else [row.memory]
        held = ["?" if each is None else _bytes(each) for each in held]
        table.add_row(row.stage, f"{row.shards:,}", f"{row.rows:,}", _bytes(row.bytes), *held, _time(row.seconds))
    disk, time_ = sum(row.bytes for row in rows), sum(row.seconds for row in rows)
    table.add_row("all", "", "", _bytes(disk), *([""] * (1 + on_gpu)), _time(time_))
    out.print(table)
    out.print(
        "Time is measured on one batch each and multiplied; memory is one worker's at its peak. Both, and disk, are"
    )
    out.print("estimates; shards and rows are upper bounds: dead units and crops that units share make a run smaller.")


@app.command()
def units(
    job: JobArgument = None, network: NetworkOption = None, images: ImagesOption = None, sets: SetOption = None
) -> None:
    """The layers and how many units each has."""
    from polyscan.inputs import open_reader
    from polyscan.studies.scanning import filled_job

    reader = open_reader(filled_job(job, network, images or ("unused" if network else None), _overrides(sets)))
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
    table = Table("stage", "done", "of", "running", "failed", "halved", "rows", "worker time")
    for row in rows:
        table.add_row(
            *(row.stage, str(row.done), "?" if row.total is None else str(row.total)),
            *(str(count or "") for count in (len(row.running), len(row.failures), row.halved)),
            *(f"{row.rows:,}", _time(row.seconds)),
        )
    out.print(table)
    for row in rows:
        if row.rate is not None and row.total != row.done:
            left = "" if row.seconds_left is None else f"; {_time(row.seconds_left)} left"
            shards, items = (_figure(rate) for rate in (row.rate.shards_per_minute, row.rate.items_per_minute))
            out.print(f"{row.stage}: {shards} shards, {items} items a minute{left}")
    for row in rows:
        for failure in row.failures:
            out.print(f"shard {failure['index']} of {row.stage}: {failure['cause']}", markup=False)
        for late in row.stale:
            out.print(
                f"shard {late.trace.index} of {row.stage}: at work on {late.trace.host} (process {late.trace.pid}) for "
                f"{_time(late.seconds)}, longer than its deadline of {_time(late.deadline_s)}: its worker hangs, or is "
                "gone with its scan",
                markup=False,
            )
    faults = _verified(run) if verify else []
    if any(row.failures for row in rows) or faults:
        raise typer.Exit(3)


@app.command()
def validate(
    job: JobArgument = None,
    run: Annotated[str, typer.Option(help="a results folder of its own")] = "",
    network: NetworkOption = None,
    images: ImagesOption = None,
    on: Annotated[str | None, typer.Option(help="local or ray; default: ray where RAY_ADDRESS is set")] = None,
    workers: Annotated[int | None, typer.Option(help="Ray workers; default: as many as fit")] = None,
    sets: SetOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="no progress")] = False,
) -> None:
    """Measure how far a job's numbers can be trusted, on units and sets of known truth."""
    from polyscan.run import Run
    from polyscan.studies.scanning import filled_job
    from polyscan.studies.validate import REPORT
    from polyscan.studies.validate import validate as measured

    if not run:
        raise JobError("`--run` is missing: where the results go, as in --run runs/digits-validation")
    asked = filled_job(job, network, images, _overrides(sets))
    with _watching(quiet=quiet) as watcher:
        found = measured(asked, run, on=on, workers=workers, watcher=watcher)
    gate = found["separation"]
    table = Table("layer", "one concept called several", "planted pairs found", "right number of clusters")
    for layer in gate["n"]:
        numbers = [
            gate.get(measure, {}).get(layer, {}).get(kind)
            for measure, kind in (("fpr_05", "control"), ("power_05", "planted"), ("k_exact", "planted"))
        ]
        if any(number is not None for number in numbers):
            table.add_row(layer, *("" if number is None else f"{number:.2f}" for number in numbers))
    out.print(table)
    out.print(f"{Run(run).address}/{REPORT}")
    out.print(f"{Run(run).address}/maps/validation.html")


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="the results folder")],
    sets: SetOption = None,
    serve: Annotated[bool, typer.Option("--serve", help="serve the maps on 127.0.0.1 until interrupted")] = False,
    port: Annotated[int, typer.Option(help="port for --serve; 0: any free one")] = 0,
) -> None:
    """Draw the maps again, or serve them without drawing all of them."""
    from polyscan.studies import showing

    if not serve:
        out.print(f"{showing.redraw(run, _overrides(sets))}/maps/index.html")
        return
    with showing.served(run, port, _overrides(sets)) as url:
        out.print(f"{url} (Ctrl-C ends it)")
        showing.wait()


@app.command()
def figure(
    run: Annotated[str, typer.Argument(help="the folder of a finished run")],
    what: Annotated[str, typer.Argument(help="map, depth-trend, layer or unit")],
    name: Annotated[str | None, typer.Argument(help="the layer, or the unit as LAYER:CHANNEL")] = None,
    to: Annotated[str, typer.Option("--out", help="the file: .pdf, .svg or .png; of a unit also .html")] = "",
    score: Annotated[
        str | None, typer.Option(help="a column of the map; default: its first one, for depth-trend all")
    ] = None,
) -> None:
    """Draw a figure of a run for a paper."""
    from polyscan.studies.figure import figure as drawn

    out.print(drawn(run, what, name, out=to, score=score), markup=False)


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="folders of finished runs; the others are compared with the first")],
    metric: Annotated[str | None, typer.Option(help="a CSV file: run,accuracy or the like, one line a run")] = None,
    to: Annotated[str, typer.Option("--out", help="where to; default: comparison beside the first run")] = "",
    same_training: Annotated[
        bool | None,
        typer.Option(
            "--same-training/--different-trainings",
            help="whether units correspond one by one; default: only where run.json tells",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Compare trainings, architectures or a series of checkpoints, layer by layer and over layers."""
    from polyscan.studies import compare as study

    compared = study.compare(runs, metric=metric, out=to or None, same_training=same_training)
    head, rows = study.table_of(compared.comparison)
    table = Table(*(Column(Text(word), overflow="fold") for word in head))
    for row in rows:
        table.add_row(*map(Text, row))
    out.print(table)
    for sentence in (*compared.comparison.statements, *compared.comparison.warnings):
        out.print(sentence, markup=False)
    out.print(f"{compared.address}/index.html", markup=False)


@app.command()
def robustness(
    run: Annotated[str, typer.Argument(help="the folder of a finished run")],
    embedder: Annotated[
        list[str] | None, typer.Option(help="another embed.model, as open_clip:MODEL/WEIGHTS; may be repeated")
    ] = None,
    rescan: Annotated[bool, typer.Option("--rescan", help="the whole scan again with another seed, too")] = False,
    on: Annotated[str | None, typer.Option(help="local or ray; default: ray where RAY_ADDRESS is set")] = None,
    workers: Annotated[int | None, typer.Option(help="Ray workers; default: as many as fit")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="no progress")] = False,
) -> None:
    """Score a finished run again under other settings and tell how far its units' numbers agree."""
    from polyscan.pipeline import Silence
    from polyscan.studies import robustness as study

    with _watching(quiet=quiet) as watcher:
        report = study.robustness(
            run, embedders=embedder or (), rescan=rescan, on=on, workers=workers, watcher=watcher or Silence()
        )
    table = Table(
        Column("variant", overflow="fold"), "rho gap", "rho separation", "rho PSI", "verdicts agree", "kappa", "units"
    )
    for finding in report.findings:
        its = finding.overall
        rhos = (_share(its.rho[name].rho) for name in ("gap", "separation", "psi"))
        agreement = (_share(its.verdicts.share), _share(its.several.kappa), f"{its.units:,}")
        table.add_row(finding.variant.name, *rhos, *agreement)
    out.print(table)
    for finding in report.findings:
        note = f" ({finding.note})" if finding.note else ""
        out.print(f"{finding.variant.name}: {finding.variant.question}{note}", markup=False)
    for skipped in report.skipped:
        out.print(f"no {skipped.name}: {skipped.reason}", markup=False)
    out.print(f"{report.address}/robustness.json")


# ---- words to values -----------------------------------------------------------------------------------------------


def _overrides(sets: list[str] | None) -> dict[str, Any]:
    """`collect.k=64` as a key and a TOML value; what is no TOML is a string."""
    found: dict[str, Any] = {}
    for word in sets or []:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise JobError(f'--set "{word}" sets nothing; write key=value, as in --set collect.k=64')
        try:
            found[key.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            found[key.strip()] = text
    return found


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


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _bytes(n: float) -> str:
    for unit in ("B", "kB", "MB"):
        if n < 1000:
            return f"{n:.0f} {unit}"
        n /= 1000
    return f"{n:.1f} GB" if n < 1000 else f"{n / 1000:.1f} TB"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _figure(value: float) -> str:
    """Three figures of it, or all before the point.

    >>> _figure(0.12345), _figure(86.44), _figure(12345.6)
    ('0.123', '86.4', '12,346')
    """
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _counted(n: int) -> str:
    return f"{n} shard" if n == 1 else f"{n} shards"


def _tell(text: str) -> None:
    """Words to standard error; a log on a full disk ends no scan."""
    with suppress(OSError):
        err.print(text, markup=False)


# ---- progress ------------------------------------------------------------------------------------------------------


class _Bars:
    """A bar per stage on a terminal, plain lines elsewhere."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress = progress
        self.stage, self.done, self.total = "", 0, 0
        self.task: Any = None

    def begin(self, stage: str, *, done: int, total: int) -> None:
        self.stage, self.done, self.total = stage, done, total
        if self.progress is not None:
            self.task = self.progress.add_task(stage, completed=done, total=total)
        elif total:
            _tell(f"{stage}: {done} of {total} shards done before" if done else f"{stage}: {_counted(total)}")

    def outcome(self, outcome: object) -> None:
        from polyscan.shards import Receipt

        if not isinstance(outcome, Receipt):
            return
        self.done += 1
        if self.progress is not None:
            self.progress.advance(self.task)
        elif self.done == self.total or self.done % max(1, self.total // 10) == 0:
            _tell(f"{self.stage}: {self.done} of {self.total}")


@contextmanager
def _watching(*, quiet: bool) -> Generator[_Bars | None]:
    if quiet:
        yield None
    elif err.is_terminal:
        columns = (TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=err) as progress:
            yield _Bars(progress)
    else:
        yield _Bars(None)


def main() -> None:
    """The console script: runs a command and turns errors into exit codes."""
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s", stream=sys.stderr)
    try:
        status: Any = app(standalone_mode=False)  # gives back the status of a typer.Exit, or None
    except ShardError as error:
        _tell(f"{error}\nIts siblings are done; mend the cause and run the same command again to resume.")
        sys.exit(3)
    except PolyscanError as error:
        _tell(str(error))
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except Exception as error:
        usage: Any = error  # typer brings its own copy of click or uses the real one, so the class has no one address
        if not hasattr(usage, "format_message"):
            raise
        usage.show()
        status = usage.exit_code
    if status == INTERRUPTED:
        _tell("interrupted; run the same command again to resume")
    sys.exit(status or 0)
