"""The notes on a run's front page: what limits its results."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from polyscan.job import Job, k_warning
from polyscan.nulls.null_sets import LAYER_REACHES, allowed
from polyscan.report.verdicts import VERDICTS
from polyscan.results.tiers import NO_SPLIT
from polyscan.run import Run

ABOUT_ARTEFACTS = {
    "border": "peaks at one place on the border of the map, as padding makes them",
    "one place": "peaks at one place inside the map",
    "repeated image": "copies of one image",
    "letterbox": "frames around images",
}
NAMED = 0.05
FEW = 20
"""With fewer exemplars than this, the pages warn."""


def notes(job: Job, run: Run, frame: pd.DataFrame) -> Iterator[str]:
    """Sentences on images, network, visualizations and null of a run, given its map."""
    yield from _on_inputs(run, frame)
    yield from _on_visualizations(job)
    yield "Intervals resample the units of a layer; all units share the same images, which are not resampled."
    if "p" not in frame or frame["p"].isna().all():
        yield "This run has no null, so scores are not calibrated: noise may score as high as two concepts."
    else:
        yield from _on_null(job, frame)
    yield from _on_artefacts(run, frame)
    yield from _on_names(run)


def _on_artefacts(run: Run, frame: pd.DataFrame) -> Iterator[str]:
    """How many units split by a nuisance, and how many of the controls and planted pairs."""
    counts = frame["artefact"][frame["artefact"] != ""].value_counts()
    if counts.empty:
        return
    found = run.read("artefacts", ["role", "artefact"], where={"role": ["control", "planted"], "evidence": "exemplars"})
    shares = (found["artefact"] != "").groupby(found["role"]).agg(["sum", "size"])
    words = {"control": "single-concept controls", "planted": "planted pairs"}
    rates = [f"{row['sum']} of {row['size']} {words[str(role)]}" for role, row in shares.iterrows()]
    also = f"; the same holds for {' and '.join(rates)}" if rates else ""
    kinds = ", ".join(f"{ABOUT_ARTEFACTS[str(kind)]}: {int(n):,}" for kind, n in counts.items())
    yield (
        f"In {int(counts.sum()):,} units something that is no concept tells the clusters apart, so they are never "
        f"called several ({kinds}){also}."
    )


def _on_names(run: Run) -> Iterator[str]:
    """Whether the model that names knows the words at all, and how many clusters it names better than chance."""
    for about in run.read("namers").to_dict("records"):
        if about["n_images"]:
            sure = "" if about["p"] <= NAMED else ", no more than chance: names by this model mean nothing"
            yield (
                f"Names by {about['model']}: of {about['n_images']:,} labelled images of {about['n_classes']} "
                f"classes {about['accuracy']:.1%} are nearest to their own class name (chance "
                f"{about['chance']:.1%}){sure}."
            )
        rows = run.read("names", ["rank", "p", "evidence"], where={"evidence": "exemplars"})
        rows = rows[rows["rank"] == 0]
        if len(rows):
            beats = (rows["p"] <= NAMED).mean()
            yield (
                f"{beats:.0%} of the clusters and sets of exemplars have a name that fits better than the best of "
                f"{about['n_words']:,} words fits random crops (p <= {NAMED:g}; {NAMED:.0%} by chance)."
            )


def _on_inputs(run: Run, frame: pd.DataFrame) -> Iterator[str]:
    rejects = run.read("rejects")
    if len(rejects):
        first = f"{rejects['path'].iloc[0]}: {rejects['reason'].iloc[0]}"
        yield f"{len(rejects)} images could not be used; the table rejects says why (first: {first})."
    if not run.manifest()["is_traced"]:
        yield "The network can't be traced, so units are read at module outputs, which may lie before batch norm."
    if (n := int(frame["saturated"].sum())) > 0:
        yield (
            f"{n} units are saturated: more than k images tie at their largest peak, "
            "so the choice of their exemplars is arbitrary."
        )


def _on_visualizations(job: Job) -> Iterator[str]:
    if not job.visualize.enabled:
        yield "This job makes no visualizations."
    elif job.visualize.units_per_layer:
        yield f"Only a seeded sample of {job.visualize.units_per_layer} live units per layer is visualized."


def _on_null(job: Job, frame: pd.DataFrame) -> Iterator[str]:
    live = frame[~frame["is_dead"]]
    without = [str(layer) for layer, p in live.groupby("layer", sort=False)["p"] if p.isna().all()]
    if without:
        yield f"No null for {', '.join(without)}: there, all activation vectors of the survey's images are alike."
    n = job.n_scored
    if n < FEW:
        yield f"Each unit has only {n} exemplars; with fewer than {FEW}, hardly any unit can be called several."
    if few := k_warning(job.k, int(frame["n_images"].max())):
        yield f"{few}."
    reaches = allowed(LAYER_REACHES, job.k, int(frame["n_images"].max())) if job.survey.readouts else ()
    if reaches and reaches[-1] < LAYER_REACHES[-1]:
        yield (
            f"There are few images, so null sets reach down only to the top {reaches[-1]} x {job.k} of them; "
            "less homogeneous units are off range."
        )
    yield f"No split shown means: {VERDICTS[NO_SPLIT]}. It does not prove that the unit answers to only one thing."
