"""A sheet of pictures of called units, drawn by seed, so that a person can judge what they answer to.

    python -m benchmarks.sheet RUN [--n 40] [--seed 0] [--tiers several probably] [--to sheet.png]

One row a unit: the two clusters of its exemplars, then the images that its main meaning leaves unexplained. Beside the
sheet comes a table `sheet.csv` with an empty column `seen`, to be filled in with `two things`, `one and a rest`,
`artefact` or `nothing in particular`.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from polyscan.results.results import Results
from polyscan.run import Run

SIDE, GAP, PER_PART, HEAD = 64, 4, 8, 18
PARTS = 3
CALLED = ("several", "several, certified", "probably several")


def called_units(frame: pd.DataFrame) -> pd.DataFrame:
    """Units that either test calls several or probably several."""
    verdicts = [name for name in ("verdict", "second_verdict") if name in frame]
    return frame[np.any([frame[name].isin(CALLED) for name in verdicts], axis=0)]


def parts_of(run: Run, layer: str, channel: int) -> Iterator[list[bytes | None]]:
    """Thumbnails of the strongest images of each of a unit's two largest clusters, and of the least explained ones."""
    where = {"layer": layer, "channel": channel}
    exemplars = run.read("exemplars", ["rank", "crop"], where=where).sort_values("rank")
    clusters = run.read("clusters", ["item", "cluster", "is_main"], where=where)
    clusters = clusters[clusters["is_main"]].set_index("item")["cluster"]
    labels = exemplars["rank"].map(clusters)
    largest = labels.value_counts().index[:2].tolist()
    chosen = [exemplars["crop"][labels == label] for label in largest]
    chosen += [pd.Series(dtype=np.int64)] * (2 - len(chosen))
    second = run.read("second_exemplars", ["rank", "crop"], where=where).sort_values("rank")["crop"]
    for crops in (*chosen, second):
        yield run.thumbnails(crops.to_numpy(np.int64)[:PER_PART])


def drawn(rows: pd.DataFrame, pictures: Sequence[Sequence[Sequence[bytes | None]]]) -> Image.Image:
    """The sheet: one row a unit."""
    width = PARTS * (PER_PART * (SIDE + GAP) + 4 * GAP)
    sheet = Image.new("RGB", (width, len(rows) * (SIDE + HEAD + GAP)), "white")
    pen = ImageDraw.Draw(sheet)
    for place, (row, parts) in enumerate(zip(rows.to_dict("records"), pictures, strict=True)):
        top = place * (SIDE + HEAD + GAP)
        second = f"; second: {row.get('second_verdict', '')}, strength {row.get('second_strength', np.nan):.2f}"
        pen.text(
            (GAP, top + 2), f"{place + 1}  {row['layer']}:{row['channel']}  first: {row['verdict']}{second}", "black"
        )
        for number, part in enumerate(parts):
            for at, content in enumerate(part):
                left = number * (PER_PART * (SIDE + GAP) + 4 * GAP) + at * (SIDE + GAP)
                if content is not None:
                    picture = Image.open(io.BytesIO(content)).convert("RGB").resize((SIDE, SIDE))
                    sheet.paste(picture, (left, top + HEAD))
    return sheet


def main() -> None:
    """Draws the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--n", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--to", type=Path, default=Path("sheet.png"))
    given = parser.parse_args()
    run = Run(given.run)
    called = called_units(Results(given.run).map)
    if called.empty:
        print(f"no unit of {given.run} is called several or probably several by either test")
        return
    size = min(given.n, len(called))
    rows = called.iloc[np.sort(np.random.default_rng(given.seed).permutation(len(called))[:size])]
    pictures = [
        list(parts_of(run, str(layer), int(channel)))
        for layer, channel in zip(rows["layer"], rows["channel"], strict=True)
    ]
    drawn(rows, pictures).save(given.to)
    names = [
        name
        for name in ("layer", "channel", "verdict", "p", "second_verdict", "second_p", "second_strength")
        if name in rows
    ]
    rows[names].assign(seen="").to_csv(given.to.with_suffix(".csv"), index=False)
    print(f"{size} of {len(called)} called units: {given.to}, {given.to.with_suffix('.csv')}")


if __name__ == "__main__":
    main()
