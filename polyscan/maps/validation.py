"""The page of `validate`: a table of rates by layer and type for each score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyscan.maps.templating import page

MEASURES = {
    "fpr_05": "called several at p <= .05: one concept",
    "power_05": "called several at p <= .05: several concepts",
    "auroc": "AUROC against one concept",
    "k_exact": "right number of clusters, where found",
    "purity": "purity of the clusters, where found",
    "fdr_10": "false share of what is found at q <= .1, a tenth planted",
    "n": "units",
}
FIRST = ("separation", "gap")

RatesByLayer = Mapping[str, Mapping[str, float]]


def validation_page(
    found: Mapping[str, Mapping[str, RatesByLayer]], kinds: Mapping[str, tuple[int, str]], *, title: str
) -> bytes:
    """One HTML page, complete in itself.

    Args:
        found: score -> measure -> layer -> type -> number.
        kinds: how many concepts a type has, and what it is, by its name.
        title: of the page.
    """
    order = [*(score for score in FIRST if score in found), *(score for score in found if score not in FIRST)]
    scores = [(score, list(_tables(found[score]))) for score in order]
    return page("validation.html.j2", root="", title=title, scores=scores, kinds=sorted(kinds.items()))


def _tables(
    measured: Mapping[str, RatesByLayer],
) -> Sequence[tuple[str, list[str], list[tuple[str, list[float | None]]]]]:
    """(what it is, types, rows of layer and numbers) of each measure."""
    made: list[tuple[str, list[str], list[tuple[str, list[float | None]]]]] = []
    for measure, label in MEASURES.items():
        layers = measured.get(measure, {})
        types = sorted({kind for row in layers.values() for kind in row})
        rows = [(layer, [row.get(kind) for kind in types]) for layer, row in layers.items()]
        if rows:
            made.append((label, types, rows))
    return made
