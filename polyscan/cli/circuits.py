"""The command that says what drives a unit: circuit."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from polyscan.cli.console import app, out
from polyscan.cli.tables import show_table


@app.command()
def circuit(
    run: Annotated[str, typer.Argument(help="the results folder of a scan")],
    unit: Annotated[str, typer.Argument(help="the unit, as LAYER:CHANNEL")],
    lower: Annotated[
        list[str] | None,
        typer.Option(help="a lower layer; may be repeated, deepest last; default: the run's next layer below"),
    ] = None,
    top: Annotated[int, typer.Option(help="lower units shown of each cluster")] = 8,
    how: Annotated[
        Literal["lrp", "gradient"], typer.Option(help="layer-wise relevance propagation, or gradient x activation")
    ] = "lrp",
    split: Annotated[
        Literal["shown", "attribution"],
        typer.Option(help="clusters as the unit's page shows them, or of the attribution vectors, as PURE's"),
    ] = "shown",
    exemplars: Annotated[int, typer.Option(help="exemplars, strongest first")] = 64,
    to: Annotated[str, typer.Option("--out", help="a file to write as well: .csv, .json or .svg")] = "",
) -> None:
    """Say which lower units drive a unit, for each cluster of its exemplars."""
    from polyscan.studies.circuit import circuit as study

    found = study(run, unit, lower=lower or (), top=top, how=how, split=split, exemplars=exemplars, out=to)
    rows = [
        (
            one.lower,
            str(each.channel),
            str(each.cluster + 1),
            *(f"{number:.3f}" for number in (each.share, each.low, each.high, each.elsewhere)),
        )
        for one in found
        for each in one.drivers
    ]
    show_table(("lower layer", "channel", "cluster", "share", "low", "high", "elsewhere"), rows)
    for one in found:
        for cluster, n in one.sizes.items():
            out.print(
                f"cluster {cluster + 1} ({n} images): {one.carried[cluster]:.0%} of {one.unit} comes through "
                f"{one.lower}, {one.beside[cluster]:.0%} passes it by, {one.biases[cluster]:.0%} is from biases"
            )
        if one.how == "lrp":
            out.print(f"relevance is conserved up to {one.error:.1e} of a value")
    if to:
        out.print(to)
