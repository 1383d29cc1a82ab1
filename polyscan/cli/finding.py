"""The command that looks for units by what they answer to: find."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from polyscan.cli.console import app, out, tell
from polyscan.cli.tables import show_table

if TYPE_CHECKING:
    import pandas as pd

GROUPS = {"exemplars": "cluster {}", "deflated": "half {}"}


@app.command()
def find(
    run: Annotated[str, typer.Argument(help="the results folder of a scan")],
    text: Annotated[str, typer.Argument(help='words to look for, as "round fruit"')] = "",
    image: Annotated[str, typer.Option(help="an image file to look for")] = "",
    like: Annotated[str, typer.Option(help="a unit, as LAYER:CHANNEL: find units that answer to the same")] = "",
    top: Annotated[int, typer.Option(help="number of units")] = 20,
    clusters: Annotated[
        bool, typer.Option("--clusters", help="a row for every cluster, not each unit once by its best")
    ] = False,
    to: Annotated[str, typer.Option("--out", help="a file to write as well: .csv or .json")] = "",
) -> None:
    """Find the units, and which of their clusters, that answer to a text, an image, or the same as another unit."""
    from polyscan.studies.find import find as study

    found = study(run, text, image=image, like=like, top=top, clusters=clusters, out=to)
    show_table(("unit", "of it", "similarity", "share", "names", *_verdicts(found)), _rows(found))
    tell(f"similarity: {found.attrs['ranked_by']}")
    if to:
        out.print(to)


def _verdicts(found: pd.DataFrame) -> list[str]:
    return [name for name in ("verdict", "second_verdict") if name in found]


def _rows(found: pd.DataFrame) -> list[list[str]]:
    verdicts = _verdicts(found)
    return [
        [
            f"{row['layer']}:{row['channel']}",
            "all exemplars" if row["cluster"] < 0 else GROUPS[row["evidence"]].format(row["cluster"] + 1),
            f"{row['similarity']:.3f}",
            f"{row['share']:.0%}",
            row["names"],
            *(row[name] for name in verdicts),
        ]
        for row in found.to_dict("records")
    ]
