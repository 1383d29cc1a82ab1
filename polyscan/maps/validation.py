"""The page of `validate`: for each score, tables of its rates by layer and type of unit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from polyscan.maps.numbers import NONE, share_text
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
FIRST = ("separation", "second_separation", "gap")
TRAINED = {
    "network": "Small networks, trained from scratch",
    "head": "Linear outputs, trained on the features of the network",
}
LAYOUTS = {
    "beside": "each class also has an output of its own",
    "instead": "merged classes have no output of their own",
}

RatesByLayer = Mapping[str, Mapping[str, float]]


def validation_page(
    rates: Mapping[str, Mapping[str, RatesByLayer]],
    kinds: Mapping[str, tuple[int, str]],
    *,
    title: str,
    warning: str = "",
    trained: Mapping[str, Any] | None = None,
) -> bytes:
    """The validation page, one HTML file.

    Args:
        rates: score -> measure -> layer -> type -> number.
        kinds: name of a type -> its number of concepts and its description.
        title: title of the page.
        warning: what the page must say first; "" for nothing.
        trained: for each kind of trained networks, its numbers; see `TrainedRates.to_json`.
    """
    order = [*(score for score in FIRST if score in rates), *(score for score in rates if score not in FIRST)]
    scores = [(score, list(_tables(rates[score]))) for score in order]
    studies = [(_label(numbers), numbers, list(_trained_tables(numbers))) for numbers in (trained or {}).values()]
    return page(
        "validation.html.j2",
        root="",
        title=title,
        warning=warning,
        scores=scores,
        kinds=sorted(kinds.items()),
        studies=studies,
    )


def _label(numbers: Mapping[str, Any]) -> str:
    return f"{TRAINED[numbers['kind']]}; {LAYOUTS[numbers['layout']]}"


def _trained_tables(numbers: Mapping[str, Any]) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """(score, rows) of each score, the first ones first."""
    names = list(dict.fromkeys(rate["score"] for rate in numbers["rates"]))
    for score in sorted(names, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name)):
        yield score, list(trained_rows(numbers, score))


def trained_rows(numbers: Mapping[str, Any], score: str) -> Iterator[tuple[str, ...]]:
    """Texts of a table on the outputs of trained networks, a row per kind of outputs and evidence.

    They are: the kind, the evidence, the number of outputs, the median strength of the weaker class, the mean share of
    the top k that the second class holds, AUROC, and the share with p <= .05; the last two with 95 % intervals.

    Args:
        numbers: see `TrainedRates.to_json`.
        score: name of the score.
    """
    for rate in numbers["rates"]:
        if rate["score"] != score:
            continue
        facts = numbers["outputs"][rate["kind"]]
        strength = share_text(facts["strength"][1]) if facts.get("strength") else NONE
        second = share_text(facts["second_share"]) if "second_share" in facts else NONE
        texts = (strength, second, _with_interval(rate["auroc"]), _with_interval(rate["found"]))
        yield rate["kind"], rate["evidence"], f"{rate['n']:,}", *texts


def _with_interval(numbers: Sequence[float] | None) -> str:
    if numbers is None:
        return NONE
    mean, low, high = (share_text(number) for number in numbers)
    return f"{mean} [{low}, {high}]"


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
