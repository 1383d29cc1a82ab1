"""Commands that study whole runs: validate, show, figure, compare, robustness."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

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
)
from polyscan.cli.progress import watching
from polyscan.cli.tables import show_table
from polyscan.cli.words import share_words
from polyscan.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from polyscan.studies.robustness import Finding


@app.command()
def validate(
    job: JobArgument = None,
    run: Annotated[str, typer.Option(help="a new results folder for the validation")] = "",
    network: NetworkOption = None,
    images: ImagesOption = None,
    on: OnOption = None,
    workers: WorkersOption = None,
    sets: SetOption = None,
    quiet: QuietOption = False,
    trained: Annotated[
        bool,
        typer.Option(
            "--trained",
            help="also train small networks on the labelled images, some of whose outputs answer to two classes, and "
            "measure how well these are found",
        ),
    ] = False,
    heads: Annotated[
        bool, typer.Option("--heads", help="the same with linear outputs on the features of the job's network")
    ] = False,
    layout: Annotated[
        Literal["beside", "instead"],
        typer.Option(
            help="for --trained and --heads: whether merged classes have outputs of their own beside the merged one, "
            "or the merged one instead"
        ),
    ] = "beside",
    outputs: Annotated[
        int | None, typer.Option(help="for --trained and --heads: outputs of each strength of a merge; default: 14")
    ] = None,
) -> None:
    """Measure a job's error rates and power on units and image sets whose truth is known."""
    from polyscan.run import Run
    from polyscan.studies import validate as study
    from polyscan.studies.scanning import filled_job

    if not run:
        raise JobError("`--run` is missing; give a folder for the results, as in --run runs/digits-validation")
    full_job = filled_job(job, network, images, overrides(sets))
    if outputs is not None and outputs < 1:
        raise JobError(f"`--outputs` must be at least 1, got {outputs}")
    kinds: list[Literal["network", "head"]] = [*(["network"] if trained else []), *(["head"] if heads else [])]
    with watching(quiet=quiet) as watcher:
        measures = study.validate(
            full_job,
            run,
            on=on,
            workers=workers,
            watcher=watcher,
            trained=kinds,
            layout=layout,
            outputs=outputs or study.PER_STRENGTH,
        )
    _show_rates(measures)
    for kind in kinds:
        _show_trained(kind, study.report_of(Run(run))[study.TRAINED][f"{kind}-{layout}"])
    out.print(f"{Run(run).address}/{study.REPORT}")
    out.print(f"{Run(run).address}/maps/validation.html")


SHOWN_RATES = (
    ("single-concept called several", "separation", "fpr_05", "control"),
    ("planted pairs found", "separation", "power_05", "planted"),
    ("pairs with the second at .5 found", "separation", "power_05", "planted50"),
    ("right number of clusters", "separation", "k_exact", "planted"),
    ("second test: single-concept called several", "second_separation", "fpr_05", "control"),
    ("second test: planted pairs found", "second_separation", "power_05", "planted"),
    ("second test: pairs with the second at .5 found", "second_separation", "power_05", "planted50"),
)
"""Columns of the table that `validate` prints: score, measure and type of unit."""


def _show_rates(measures: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]) -> None:
    """Prints the rates of each layer; `measures` is score -> measure -> layer -> type of unit -> number."""
    shown = [column for column in SHOWN_RATES if column[1] in measures]
    rows: list[tuple[str, ...]] = []
    for layer in measures["separation"]["n"]:
        numbers = [measures[score].get(measure, {}).get(layer, {}).get(kind) for _, score, measure, kind in shown]
        if any(number is not None for number in numbers):
            rows.append((layer, *("" if number is None else f"{number:.2f}" for number in numbers)))
    show_table(("layer", *(label for label, *_ in shown)), rows)


def _show_trained(kind: Literal["network", "head"], numbers: Mapping[str, Any]) -> None:
    """Prints what the separation says of the outputs of trained networks."""
    from polyscan.maps.validation import trained_rows

    what = {"network": "small networks trained from scratch", "head": "outputs trained on the network's features"}
    out.print(f"{what[kind]}: {numbers['networks']}; AUROC of the outputs' own images {numbers['own_auroc']:.3f}")
    head = ("outputs", "evidence", "n", "strength", "second class in the top k", "AUROC", "p <= .05")
    show_table(head, list(trained_rows(numbers, "separation")))


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="the results folder")],
    sets: SetOption = None,
    serve: Annotated[bool, typer.Option("--serve", help="serve the maps on 127.0.0.1 until interrupted")] = False,
    port: Annotated[int, typer.Option(help="port for --serve; 0: any free port")] = 0,
) -> None:
    """Draw the maps of a run again, or serve them in a browser without drawing every page."""
    from polyscan.studies import showing

    if not serve:
        out.print(f"{showing.redraw(run, overrides(sets))}/maps/index.html")
        return
    with showing.served(run, port, overrides(sets)) as url:
        out.print(f"{url} (Ctrl-C to stop)")
        showing.wait()


@app.command()
def figure(
    run: Annotated[str, typer.Argument(help="the folder of a finished run")],
    what: Annotated[str, typer.Argument(help="map, depth-trend, layer or unit")],
    name: Annotated[str | None, typer.Argument(help="the layer, or the unit as LAYER:CHANNEL")] = None,
    to: Annotated[str, typer.Option("--out", help="the output file: .pdf, .svg or .png; for a unit also .html")] = "",
    score: Annotated[
        str | None, typer.Option(help="a column of the map; default: the first, or all for depth-trend")
    ] = None,
) -> None:
    """Draw a figure of a run for a paper."""
    from polyscan.studies.figure import figure as drawn

    out.print(drawn(run, what, name, out=to, score=score))


@app.command()
def names(
    run: Annotated[str, typer.Argument(help="the folder of a finished run")],
    to: Annotated[
        str, typer.Option("--to", help="write a CSV file with the columns layer, unit, description, similarity")
    ] = "",
    of: Annotated[
        str, typer.Option("--from", help="a CSV file of this form, as of CLIP-Dissect, to print beside the run's names")
    ] = "",
) -> None:
    """Print the name of each unit's exemplars, write them as CSV, or compare them with descriptions from elsewhere."""
    from polyscan.studies import descriptions

    if to:
        out.print(f"{to}: names of {descriptions.write_names(run, to):,} units")
        return
    if not of:
        rows = descriptions.names_of_units(run)
        show_table(list(map(str, rows)), (list(map(_cell, row)) for row in rows.itertuples(index=False)))
        return
    found = descriptions.described(run, of)
    show_table(list(map(str, found.rows)), (list(map(_cell, row)) for row in found.rows.itertuples(index=False)))
    out.print(f"the same words for {found.same:.0%} of the units with a name")


def _cell(value: object) -> str:
    """A cell as text: numbers with three digits, nothing for a missing value."""
    if isinstance(value, float):
        return "" if value != value else f"{value:.3g}"  # noqa: PLR0124  # NaN alone differs from itself
    return str(value)


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="folders of finished runs; each is compared with the first")],
    untrained: Annotated[
        bool,
        typer.Option(
            "--untrained",
            help="also compare with the first run's network with random weights, which is scanned into RUN-untrained",
        ),
    ] = False,
    metric: Annotated[
        str | None, typer.Option(help="a CSV file that begins with a line such as run,accuracy; then a line per run")
    ] = None,
    to: Annotated[
        str, typer.Option("--out", help="the output folder; default: `comparison` next to the first run")
    ] = "",
    same_training: Annotated[
        bool | None,
        typer.Option(
            "--same-training/--different-trainings",
            help="whether channel i of a layer is the same unit in all runs; default: only if run.json shows it",
            show_default=False,
        ),
    ] = None,
    on: OnOption = None,
    workers: WorkersOption = None,
    quiet: QuietOption = False,
) -> None:
    """Compare runs of several trainings, architectures or checkpoints, layer by layer and over layers."""
    from polyscan.studies import compare as study

    if untrained:
        from polyscan.studies.compare.untrained import untrained_twin

        with watching(quiet=quiet) as watcher:
            runs = [*runs, untrained_twin(runs[0], on=on, workers=workers, watcher=watcher)]
    compared = study.compare(
        runs, metric=metric, out=to or None, same_training=same_training, beyond_controls=untrained
    )
    show_table(*(study.beyond_controls_table if untrained else study.table_of)(compared.comparison))
    for sentence in (*compared.comparison.statements, *compared.comparison.warnings):
        out.print(sentence)
    out.print(f"{compared.address}/index.html")


@app.command()
def robustness(
    run: Annotated[str, typer.Argument(help="the folder of a finished run")],
    embedder: Annotated[
        list[str] | None,
        typer.Option(help="another embed.model to try, as in open_clip:MODEL/WEIGHTS; may be repeated"),
    ] = None,
    rescan: Annotated[bool, typer.Option("--rescan", help="also repeat the whole scan with another seed")] = False,
    on: OnOption = None,
    workers: WorkersOption = None,
    quiet: QuietOption = False,
) -> None:
    """Score a finished run again under other settings and report how well the results agree."""
    from polyscan.pipeline import Silence
    from polyscan.studies import robustness as study

    with watching(quiet=quiet) as watcher:
        report = study.robustness(
            run, embedders=embedder or (), rescan=rescan, on=on, workers=workers, watcher=watcher or Silence()
        )
    _show_agreement(report.findings)
    for finding in report.findings:
        note = f" ({finding.note})" if finding.note else ""
        out.print(f"{finding.variant.name}: {finding.variant.question}{note}")
    for skipped in report.skipped:
        out.print(f"skipped {skipped.name}: {skipped.reason}")
    out.print(f"{report.address}/robustness.json")


def _show_agreement(findings: Sequence[Finding]) -> None:
    rows: list[tuple[str, ...]] = []
    for finding in findings:
        agreement = finding.overall
        rhos = (share_words(agreement.rho[name].rho) for name in ("gap", "separation", "psi"))
        shares = (share_words(agreement.verdicts.share), share_words(agreement.several.kappa))
        rows.append((finding.variant.name, *rhos, *shares, f"{agreement.units:,}"))
    show_table(("variant", "rho gap", "rho separation", "rho PSI", "verdicts agree", "kappa", "units"), rows)
