"""Draws the picture of methods.md: two units of the demo, the null of each test, and where the units lie on it.

    polyscan scan digits --run runs/digits
    python docs/two_tests.py runs/digits

It writes figures/two-tests.svg. The background is opaque, so that the picture is the same on light and dark pages.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import polyscan
from polyscan.evidence import EvidenceReader
from polyscan.inputs import CollectedImages, batches, open_images, open_network
from polyscan.inputs.mains import UnitReader, deflated_layers
from polyscan.nulls.calibration import Calibration
from polyscan.scores.separation import PARTS, separation
from polyscan.stages.score import nulls_of
from polyscan.stages.score.against import NullTable

OUT = Path(__file__).parent / "figures" / "two-tests.svg"
FIRST, SECOND = ("fc2", 18), ("fc2", 73)
"""The units: one of two things at like strength, and one whose second thing is weaker."""
TEXT = {
    "Date": None,
    "Title": "The two tests of polyscan on two units of its demo",
    "Description": "Four panels. 1: exemplars of a unit fall into sixes and twos. 2: the unit's separation lies above "
    "that of nearly all null sets of similar clarity. 3: activation of another unit against its main readout; its "
    "strongest images are sixes, the least explained ones zeros. 4: the separation of these two halves lies "
    "above that of nearly all null sets.",
}
"""Stored in the picture for those who cannot see it."""
INK, GREY, BLUE, ORANGE = "#222222", "#9a9a9a", "#1f5fa8", "#c2500a"
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "polyscan", "font.size": 9, "axes.titlesize": 9.5,
         "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False}  # fmt: skip


def main(address: str) -> None:
    """Reads a finished run of the demo and writes the picture."""
    results = polyscan.open_run(address)
    # polyscan's figures are drawn without a display, too: `Figure` needs no pyplot.
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 7.2), layout="constrained", facecolor="white")
        axes = figure.subplots(2, 2)
        exemplars(axes[0, 0], results)
        on_null(axes[0, 1], results, FIRST, "exemplars", "")
        explained(axes[1, 0], results)
        on_null(axes[1, 1], results, SECOND, "deflated", "second_")
        figure.savefig(OUT, format="svg", metadata=TEXT)
    print(OUT)


def exemplars(axes: Axes, results: Any) -> None:
    """The first unit's exemplars in two dimensions, each drawn as its class, coloured by cluster."""
    items = of_unit(results.table("clusters"), FIRST)
    items = items[items["is_main"]].merge(
        of_unit(results.table("exemplars"), FIRST)[["rank", "image"]], left_on="item", right_on="rank"
    )
    drawn(axes, items["x"], items["y"], labels_of(results, items["image"]), items["cluster"].map({0: BLUE, 1: ORANGE}))
    axes.set(xticks=[], yticks=[], xlabel="exemplars in two dimensions", title=f"1  {named(FIRST)}: its exemplars")
    axes.margins(0.08)


def explained(axes: Axes, results: Any) -> None:
    """The second unit against its main readout: its strongest images, and those that are left unexplained."""
    run, job = results.run, results.job
    layer, channel = SECOND
    deflated = next(found for found in deflated_layers(run) if found.mains.layer == layer)
    images, unit, main = peaks(results, deflated)
    expected = deflated.curves.expected(main)
    first, second = of_unit(results.table("exemplars"), SECOND), of_unit(results.table("second_exemplars"), SECOND)
    strongest = np.isin(images, first[first["rank"] < job.n_half]["image"])
    left = np.isin(images, second["image"])
    x, y = main[:, channel], unit[:, channel]
    others = ~(strongest | left)
    axes.scatter(x[others], y[others], s=7, color=GREY, alpha=0.6, linewidths=0)
    order = np.argsort(x)
    axes.plot(x[order], expected[order, channel], color=INK, linewidth=1.2)
    axes.axhline(deflated.floor[channel], color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    labels = labels_of(results, pd.Series(images))
    drawn(axes, x[strongest], y[strongest], labels[strongest], BLUE)
    drawn(axes, x[left], y[left], labels[left], ORANGE)
    said(axes, "what its main readout explains", (x.max(), expected[order[-1], channel]), (0, -34), ha="right")
    said(axes, "searched above", (x.max(), float(deflated.floor[channel])), (0, 4), ha="right")
    axes.set(xlabel="value of its main readout", ylabel="its activation",
             title=f"3  {named(SECOND)}: strongest images, and least explained ones")  # fmt: skip


def on_null(axes: Axes, results: Any, unit: tuple[str, int], evidence: str, prefix: str) -> None:
    """Separation of null sets against their clarity, and the unit among them."""
    run, job = results.run, results.job
    null = next(nulls_of(job, run, unit[0], evidence, EvidenceReader(job, run).main_space(unit[0])))
    of_sets = statistic(null)
    fit = Calibration.fit(of_sets, null.clarity, tail="upper")
    row = of_unit(results.map, unit).iloc[0]
    axes.scatter(null.clarity, of_sets, s=7, color=GREY, alpha=0.6, linewidths=0)
    clarity = np.linspace(null.clarity.min(), null.clarity.max(), 100)
    axes.plot(clarity, fit.mean(clarity), color=INK, linewidth=1.2)
    bound = fit.mean(clarity) + fit.sd(clarity) * np.quantile(fit.residuals, 0.95)
    axes.plot(clarity, bound, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    x, y = float(row[f"{prefix}clarity" if prefix else "clarity"]), float(row[f"{prefix}separation"])
    axes.scatter([x], [y], s=60, marker="D", color=ORANGE, zorder=3)
    p, what = float(row[f"{prefix}p"]), "second test" if prefix else "first test"
    said(axes, f"{named(unit)}, p = {p:.1g}", (x, y), (8, -3), color=ORANGE, fontweight="bold")
    said(axes, "one set in twenty lies above", (clarity[-1], bound[-1]), (0, 5), ha="right")
    axes.set(xlabel="clarity (mean cosine of all pairs)", ylabel="separation",
             title=f"{4 if prefix else 2}  {what}: the unit among {len(of_sets)} null sets")  # fmt: skip


def statistic(null: NullTable) -> np.ndarray:
    """The separation of each null set, as `polyscan.stages.score.against` computes it."""

    def residuals(name: str) -> np.ndarray:
        values = null.values[name].to_numpy(np.float64)
        return Calibration.fit(values, null.clarity, tail="none").standardised(values, null.clarity)

    return separation({name: residuals(name) for name in PARTS})


def peaks(results: Any, deflated: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids of all images, and on each the peaks of a layer's units and of their main readouts, read from the network."""
    run, job = results.run, results.job
    network = open_network(job)
    reader = UnitReader(run, network, [deflated.mains.layer], [deflated.mains])
    ids = run.read("images", ["image"])["image"].to_numpy()
    units, mains = [], []
    for batch in batches(network, CollectedImages(open_images(job), run), ids.tolist(), job.collect.batch):
        pair = reader.read(batch.inputs)[deflated.mains.layer]
        units.append(pair.units.value[: len(batch)].numpy())
        mains.append(pair.mains[: len(batch)].numpy())
    return ids, np.concatenate(units), np.concatenate(mains)


def drawn(axes: Axes, x: Any, y: Any, labels: Any, colours: Any) -> None:
    """Images as the numbers of their classes."""
    colours = [colours] * len(x) if isinstance(colours, str) else list(colours)
    axes.scatter(x, y, s=1, alpha=0)  # text alone does not widen the axes
    for x_, y_, label, colour in zip(x, y, labels, colours, strict=True):
        axes.text(x_, y_, str(label), color=colour, ha="center", va="center", fontweight="bold")


def said(axes: Axes, words: str, at: tuple[float, float], offset: tuple[int, int], **style: Any) -> None:
    """Words at a point, legible over dots."""
    box = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1}
    axes.annotate(words, at, offset, textcoords="offset points", bbox=box, **style)


def labels_of(results: Any, images: pd.Series) -> np.ndarray:
    """The class of each image."""
    return images.map(results.table("images").set_index("image")["label"]).to_numpy()


def of_unit(rows: pd.DataFrame, unit: tuple[str, int]) -> pd.DataFrame:
    """The rows of one unit."""
    return rows[(rows["layer"] == unit[0]) & (rows["channel"] == unit[1])]


def named(unit: tuple[str, int]) -> str:
    """A unit as polyscan writes it."""
    return f"{unit[0]}:{unit[1]}"


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "runs/digits")
