"""Writes the tables of measured.md from build/validity.json, which `make validity` measures.

    python docs/validity_tables.py

It replaces the text between `<!-- validity: NAME -->` and `<!-- validity: end -->`; a table without figures stays as it
is. A second call changes nothing. To add a table: a function here, and a line in `TABLES`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from polyscan.nulls.kinds import KINDS
from polyscan.stats.significance import wilson_interval

DOCS = Path(__file__).parent
PAGE = DOCS / "measured.md"
FIGURES = DOCS.parent / "build" / "validity.json"
PLACE = re.compile(r"(<!-- validity: (?!end )(\w+) -->\n).*?(<!-- validity: end -->)", re.DOTALL)

IMAGES = "images"
UNIFORM, SEEDS = "p under the null itself", "another seed"
GATE = "separation"
ONE = ("one class", "neighbourhood", "noise", "control", *(name for name, kind in KINDS.items() if kind.concepts == 1))
SETS = ("one class", "neighbourhood", "noise", "50/50", "70/30", "85/15", "three classes")
UNITS = (*(name for name in ("control", *KINDS) if name in ONE), *(name for name in KINDS if name not in ONE))
SCORES = (GATE, "gap", "cut", "silhouette", "psi", "dip_p", "semanticity", "polysemanticity",
          "monosemanticity", "clarity")  # fmt: skip
COMPARED = ("one class", "50/50")
SEED_ROWS = {
    "units": "live units in both scans",
    "minutes": "minutes for one of the scans, all stages but pictures",
    "verdicts_agree": "same verdict",
    "several_agree": "same answer to: several?",
    "p_05_agree": "same answer to: p <= .05?",
    "rho_gap": "Spearman's rho of gap, all units",
    "rho_gap_least_layer": "the same within a layer, least of all layers",
}

Found = Mapping[str, Any]
Lines = list[str]


def main() -> None:
    """Fills in every table of the page."""
    if not FIGURES.exists():
        print(f"{PAGE.name} is left as it is: no {FIGURES.parent.name}/{FIGURES.name}; run `make validity` first")
        return
    before = PAGE.read_text(encoding="utf-8")
    after = filled(before, json.loads(FIGURES.read_text(encoding="utf-8")), tell=print)
    if after != before:
        PAGE.write_text(after, encoding="utf-8")
    print(f"{PAGE.name}: {'written' if after != before else 'nothing to change'}")


def filled(page: str, found: Found, *, tell: Callable[[str], object]) -> str:
    """The page with its tables filled in; `tell` gets a message for each table without figures.

    Raises:
        ValueError: if the page names an unknown table.
    """

    def table(place: re.Match[str]) -> str:
        name = place[2]
        if name not in TABLES:
            raise ValueError(f'the page names an unknown table "{name}"; allowed: {", ".join(TABLES)}')
        lines = TABLES[name](found)
        if not lines:
            tell(f"{name}: no figures, left as it is")
            return place[0]
        return place[1] + "\n".join(lines) + "\n" + place[3]

    return PLACE.sub(table, page)


# ---- the tables ----------------------------------------------------------------------------------------------------


def images_table(found: Found) -> Lines:
    """Sets of whole images: a row for each set of images, embedder and k."""
    entries = {name: entry for name, entry in _entries(found) if IMAGES in entry[GATE].get("n", {})}
    rows = [(name, [_rate(entry[GATE], IMAGES, kind) for kind in SETS]) for name, entry in entries.items()]
    return _table("images, embedder, k", SETS, rows)


def layers_table(found: Found) -> Lines:
    """Virtual units of the entry with the most layers: a row for each layer."""
    gate = _widest(found).get(GATE, {})
    layers = sorted((layer for layer in gate.get("n", {}) if layer != IMAGES), key=_by_number)
    return _table("layer", UNITS, [(layer, [_rate(gate, layer, kind) for kind in UNITS]) for layer in layers])


def clusters_table(found: Found) -> Lines:
    """K and purity of the planted units that are found, over layers: a row for each kind."""
    gate = _widest(found).get(GATE, {})
    rows: list[tuple[str, list[str]]] = []
    for kind in (*SETS, *UNITS):
        layers = [layer for layer, its in gate.get("k_exact", {}).items() if kind in its]
        if kind in ONE or not layers:
            continue
        hits = [_n_found(gate, layer, kind) for layer in layers]
        right = sum(gate["k_exact"][layer][kind] * n for layer, n in zip(layers, hits, strict=True))
        pure = [gate["purity"][layer][kind] for layer in layers if kind in gate.get("purity", {}).get(layer, {})]
        purity = _share(sum(pure) / len(pure)) if pure else ""
        rows.append((kind, [str(sum(hits)), _interval(right / max(1, sum(hits)), sum(hits)), purity]))
    return _table("kind", ("found", "right K", "purity, mean of layers"), rows)


def scores_table(found: Found) -> Lines:
    """One score against another, on sets of images and on planted pairs of the entry with the most layers."""
    entry = _widest(found)
    rows: list[tuple[str, list[str]]] = []
    for score in (name for name in SCORES if name in entry):
        its = entry[score]
        sets = [_rate(its, IMAGES, kind) for kind in COMPARED]
        area = _number(its.get("auroc", {}).get(IMAGES, {}).get("50/50"))
        layers = [layer for layer in its.get("n", {}) if layer != IMAGES]
        pairs = [_pooled(its, layers, kind) for kind in ("control", "planted")]
        areas = [its["auroc"][layer]["planted"] for layer in layers if "planted" in its.get("auroc", {}).get(layer, {})]
        rows.append((f"`{score}`", [*sets, area, *pairs, _number(sum(areas) / len(areas) if areas else None)]))
    head = ("one class", "50/50", "AUROC of 50/50", "controls, all layers", "planted pairs", "AUROC, mean of layers")
    return _table("score", head, rows)


def seeds_table(found: Found) -> Lines:
    """p where the null is true, and two scans with different seeds."""
    rows: list[tuple[str, list[str]]] = []
    if its := found.get(UNIFORM):
        n = int(its["sets"])
        rows.append((f"Kolmogorov-Smirnov distance of p from uniform, {n:,} fresh null sets", [f"{its['ks']:.3f}"]))
        rows.append(("fresh null sets with p <= .05", [_interval(its["at_05"], n)]))
    false = _widest(found).get(GATE, {}).get("fdr_10", {})
    if "all layers" in false:
        words = "planted pairs a tenth of all units: false share of what is found at q <= .1, all layers at once"
        rows.append((words, [f"{false['all layers']['planted']:.3f}"]))
    for key, words in SEED_ROWS.items():
        if key in found.get(SEEDS, {}):
            value = found[SEEDS][key]
            rows.append((f"two seeds: {words}", [f"{value:,.0f}" if key in ("units", "minutes") else f"{value:.3f}"]))
    return _table("", ("",), rows)


TABLES: dict[str, Callable[[Found], Lines]] = {
    "images": images_table,
    "layers": layers_table,
    "clusters": clusters_table,
    "scores": scores_table,
    "seeds": seeds_table,
}
"""Tables by the name after `validity:` in the page."""


# ---- numbers to cells ----------------------------------------------------------------------------------------------


def _entries(found: Found) -> Iterator[tuple[str, Found]]:
    """Reports of `validate`, each score -> measure -> layer -> kind -> number."""
    yield from ((name, entry) for name, entry in found.items() if GATE in entry)


def _widest(found: Found) -> Found:
    """The entry with the most layers, the first of several; an empty one if there are no entries."""
    return max((entry for _, entry in _entries(found)), key=lambda entry: len(entry[GATE].get("n", {})), default={})


def _by_number(layer: str) -> list[tuple[bool, int, str]]:
    """Numbers in a name count as numbers: features.2 comes before features.10."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in layer.split(".")]


def _n_found(measured: Found, layer: str, kind: str) -> int:
    power = measured.get("power_05", {}).get(layer, {}).get(kind, 0.0)
    return round(power * measured["n"][layer][kind])


def _rate(measured: Found, layer: str, kind: str) -> str:
    """Share with p <= .05 and its interval."""
    return _pooled(measured, [layer], kind)


def _pooled(measured: Found, layers: Sequence[str], kind: str) -> str:
    """Share with p <= .05 and its interval, over several layers together."""
    rates = measured.get("fpr_05" if kind in ONE else "power_05", {})
    counts = [(rates[layer][kind], measured["n"][layer][kind]) for layer in layers if kind in rates.get(layer, {})]
    n = sum(count for _, count in counts)
    return _interval(sum(rate * count for rate, count in counts) / n, int(n)) if n else ""


def _interval(share: float, n: int) -> str:
    if not n:
        return ""
    found = wilson_interval(round(share * n), n)
    return f"{_share(share)} [{_share(found.low)}, {_share(found.high)}]"


def _share(value: float) -> str:
    return f"{value:.2f}".removeprefix("0") if value < 0.995 else "1"


def _number(value: float | None) -> str:
    return "" if value is None else _share(value)


def _table(corner: str, head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> Lines:
    """A Markdown table of the columns that have a number; no lines if no column has one."""
    kept = [column for column in range(len(head)) if any(cells[column] for _, cells in rows)]
    if not kept:
        return []
    lines = [f"| {' | '.join([corner, *(head[column] for column in kept)])} |", f"| --- |{' ---: |' * len(kept)}"]
    return [*lines, *(f"| {' | '.join([name, *(cells[column] for column in kept)])} |" for name, cells in rows)]


if __name__ == "__main__":
    main()
