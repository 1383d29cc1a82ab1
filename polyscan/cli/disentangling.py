"""The command that takes units apart: disentangle."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from polyscan.cli.console import OnOption, QuietOption, SetOption, WorkersOption, app, out, overrides
from polyscan.cli.progress import watching
from polyscan.cli.tables import show_table
from polyscan.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from polyscan.studies.disentangle import Disentangled, Purity


@app.command()
def disentangle(
    run: Annotated[str, typer.Argument(help="the folder of a finished run")],
    units: Annotated[
        list[str] | None, typer.Option(help="a unit to take apart, as LAYER:CHANNEL; may be repeated")
    ] = None,
    top: Annotated[int | None, typer.Option(help="or so many units, those with the largest separation")] = None,
    how: Annotated[
        str,
        typer.Option(
            help="vectors: concept vectors of the exemplars' clusters; second: readouts of the second test; split: "
            "exact channel splits; circuit: the channel with only those inputs that drive each cluster"
        ),
    ] = "vectors",
    separation: Annotated[
        float,
        typer.Option(
            help="for vectors: how far apart the means of two equal clusters must be, in the layer's scale; less gives "
            "more parts"
        ),
    ] = 0.55,
    to: Annotated[str, typer.Option(help="the output folder; default: disentangled-HOW in the run's folder")] = "",
    scan: Annotated[
        bool, typer.Option("--scan", help="also scan the parts on other images, and compare them with the wholes")
    ] = False,
    images: Annotated[
        str | None, typer.Option(help="for --scan: the other images; default: the other half, of a run of one half")
    ] = None,
    sets: SetOption = None,
    on: OnOption = None,
    workers: WorkersOption = None,
    quiet: QuietOption = False,
) -> None:
    """Take units apart into purer directions, and measure whether they are purer."""
    from polyscan.studies import disentangle as study

    if not 0 < separation < 2:
        raise JobError(f"`--separation` must be above 0 and below 2, got {separation:g}")
    others = _other_images(images, sets, wanted=scan)
    wishes = study.Wishes(separation=separation)
    found = study.disentangle(run, units or [], top=top, how=how, wishes=wishes, to=to or None)
    _show_parts(found)
    for unit in found.left:
        out.print(f"{unit}: --how {how} gives no part of it")
    if scan:
        with watching(quiet=quiet) as watcher:
            rows, told = study.scan_parts(found, others, on=on, workers=workers, watcher=watcher)
        _show_purity(rows)
        for sentence in told:
            out.print(sentence)
    out.print(f"{found.folder}")


def _other_images(images: str | None, sets: list[str] | None, *, wanted: bool) -> dict[str, Any]:
    """Settings of [images] by name, from --images and --set images.NAME=VALUE."""
    changes = {"images.source": images} if images else {}
    changes |= overrides(sets)
    if changes and not wanted:
        raise JobError("`--images` and `--set` say on what the parts are scanned; add --scan")
    for key in changes:
        if not key.startswith("images."):
            raise JobError(f"--set {key}: only settings of [images] can differ from the run's; scan the job for others")
    return {key.removeprefix("images."): value for key, value in changes.items()}


def _show_parts(found: Disentangled) -> None:
    rows: list[tuple[str, ...]] = []
    for part in found.parts:
        share, every = found.shares[part.unit, part.number]
        apart = f"{part.separation:.2f}" if math.isfinite(part.separation) else ""
        rows.append((str(part.unit), str(part.number), str(len(part.images)), apart, f"{share:.0%}", f"{every:.0%}"))
    show_table(("unit", "part", "images", "halves apart", "explains", "all parts"), rows)


def _show_purity(rows: Sequence[Purity]) -> None:
    def cell(value: float) -> str:
        return f"{value:.2g}" if math.isfinite(value) else ""

    heads = ("unit", "part", "separation", "whole", "p", "whole", "second", "whole", "second p", "whole")
    cells: list[tuple[str, ...]] = []
    for row in rows:
        pairs = (
            *(row.separation, row.whole_separation, row.p, row.whole_p),
            *(row.second_separation, row.whole_second_separation, row.second_p, row.whole_second_p),
        )
        cells.append((row.unit, str(row.part), *map(cell, pairs)))
    show_table(heads, cells)
