"""The page of `validate`: for each score, tables of its rates by layer and type of unit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

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
TESTS = ("separation", "second_separation")
"""The statistics of the first and of the second test."""
COMPARED = ("control", "planted", "planted80", "planted50", "planted20", "sum", "three", "random")
"""Types of units for which both tests stand side by side."""
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
    both = both_tests(rates)
    studies = [(_label(numbers), numbers, list(_trained_tables(numbers))) for numbers in (trained or {}).values()]
    return page(
        "validation.html.j2",
        root="",
        title=title,
        warning=warning,
        scores=scores,
        both=both,
        kinds=sorted(kinds.items()),
        studies=studies,
    )


class BothTests(NamedTuple):
    """Shares with p <= .05 by the first and by the second test.

    Args:
        types: of units.
        rows: (layer, for each type the shares by both tests), and last the means over layers.
    """

    types: list[str]
    rows: list[tuple[str, list[tuple[float | None, float | None]]]]


def both_tests(rates: Mapping[str, Mapping[str, RatesByLayer]]) -> BothTests | None:
    """The two tests side by side, for the types of units that both have; None in a run without a second test."""
    called = [_called(rates.get(score, {})) for score in TESTS]
    if not all(called):
        return None
    types = [kind for kind in COMPARED if all(any(kind in row for row in of_test.values()) for of_test in called)]
    layers = [layer for layer in called[0] if layer in called[1]]
    rows: list[tuple[str, list[tuple[float | None, float | None]]]] = []
    for layer in layers:
        pairs = [(called[0][layer].get(kind), called[1][layer].get(kind)) for kind in types]
        rows.append((layer, pairs))
    if len(layers) > 1:
        means = [
            (_mean(row[place][0] for _, row in rows), _mean(row[place][1] for _, row in rows))
            for place in range(len(types))
        ]
        rows.append(("mean of layers", means))
    return BothTests(types, rows)


def _called(measured: Mapping[str, RatesByLayer]) -> dict[str, dict[str, float]]:
    """Shares with p <= .05 by layer and type, whether the type has one concept or several."""
    called: dict[str, dict[str, float]] = {}
    for measure in ("fpr_05", "power_05"):
        for layer, row in measured.get(measure, {}).items():
            called.setdefault(layer, {}).update(row)
    return called


def _mean(numbers: Iterable[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return sum(known) / len(known) if known else None


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
