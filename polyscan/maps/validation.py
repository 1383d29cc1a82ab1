"""The page of `validate`: for each score, tables of its rates by layer and type of unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyscan.maps.templating import page

MEASURES = {
    "fpr_05": "share called several at p <= .05: units and sets with one concept",
    "power_05": "share called several at p <= .05: units and sets with several concepts",
    "auroc": "AUROC against units and sets with one concept",
    "k_exact": "share with the right number of clusters, of units with p <= .05",
    "purity": "mean purity of the clusters, of units with p <= .05",
    "fdr_10": "false discovery rate at q <= .1, where a tenth of the units are planted",
    "n": "units",
}
FIRST = ("separation", "gap")

RatesByLayer = Mapping[str, Mapping[str, float]]


def validation_page(
    rates: Mapping[str, Mapping[str, RatesByLayer]],
    kinds: Mapping[str, tuple[int, str]],
    *,
    title: str,
    warning: str = "",
) -> bytes:
    """The validation page, one HTML file.

    Args:
        rates: score -> measure -> layer -> type -> number.
        kinds: name of a type -> its number of concepts and its description.
        title: title of the page.
        warning: what the page must say first; "" for nothing.
    """
    order = [*(score for score in FIRST if score in rates), *(score for score in rates if score not in FIRST)]
    scores = [(score, list(_tables(rates[score]))) for score in order]
    return page("validation.html.j2", root="", title=title, warning=warning, scores=scores, kinds=sorted(kinds.items()))


def _tables(
    measured: Mapping[str, RatesByLayer],
) -> Sequence[tuple[str, list[str], list[tuple[str, list[float | None]]]]]:
    """(label, types, rows of layer and numbers) of each measure."""
    tables: list[tuple[str, list[str], list[tuple[str, list[float | None]]]]] = []
    for measure, label in MEASURES.items():
        layers = measured.get(measure, {})
        types = sorted({kind for row in layers.values() for kind in row})
        rows = [(layer, [row.get(kind) for kind in types]) for layer, row in layers.items()]
        if rows:
            tables.append((label, types, rows))
    return tables
