"""One unit in a notebook: its numbers, and its exemplars' crops by cluster."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import numpy as np
import pandas as pd

from polyscan.maps.numbers import number_text
from polyscan.results.clusters import shown_clusters
from polyscan.results.notebook import data_uri, second_words

# Columns of the map that a card shows, if the run has them.
NUMBERS: Mapping[str, tuple[str, str]] = {
    "psi": ("PSI", "real"),
    "gap": ("gap", "real"),
    "separation": ("separation", "real"),
    "p": ("p", "real"),
    "q": ("q", "real"),
    "second_separation": ("second test: separation", "real"),
    "second_p": ("second test: p", "real"),
    "second_q": ("second test: q", "real"),
    "second_strength": ("second test: strength", "real"),
    "n_clusters": ("clusters", "count"),
    "semanticity": ("semanticity", "real"),
    "clarity": ("clarity", "real"),
    "kurtosis": ("kurtosis", "real"),
    "sparsity": ("sparsity", "real"),
    "max": ("largest activation", "real"),
}
PER_CLUSTER = 10
PIXELS = 72
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def card(title: str, row: pd.Series, groups: list[pd.DataFrame], visualizations: pd.DataFrame) -> str:
    """The card as HTML; all names are escaped.

    Args:
        title: the unit's name.
        row: its row of the map.
        groups: `grouped` exemplars with the column `crop_image`.
        visualizations: of the unit.
    """
    parts = [f"<h4>{escape(title)}</h4>", verdict_line(row), numbers(row)]
    total = sum(len(rows) for rows in groups)
    for place, rows in enumerate(groups):
        heading = f"{total} exemplars"
        if len(groups) > 1:
            heading = f"cluster {LETTERS[place % 26]}: {len(rows)} of {heading}"
        parts.append(pictures(heading, rows["crop_image"], rows["activation"]))
    if len(visualizations):
        shown = visualizations.sort_values("index", kind="stable")
        parts.append(pictures(f"{len(shown)} visualizations", shown["image"], shown["activation"]))
    return f"<div>{''.join(parts)}</div>"


def verdict_line(row: pd.Series) -> str:
    """The unit's verdict and names, and its verdict by the second test."""
    verdict, names = (str(row[name]) if row.get(name) else "" for name in ("verdict", "names"))
    texts = ["dead" if bool(row["is_dead"]) else verdict.replace("_", " "), names]
    second = "" if bool(row["is_dead"]) else second_words(row)
    texts.append(f"second test: {second}" if second else "")
    return f"<p>{escape(' · '.join(filter(None, texts)))}</p>"


def numbers(row: pd.Series) -> str:
    """A table with one row of labels and one of numbers."""
    known = {label: number_text(float(row[name]), kind) for name, (label, kind) in NUMBERS.items() if name in row}
    heads = "".join(f"<th>{escape(label)}</th>" for label in known)
    cells = "".join(f"<td>{escape(text)}</td>" for text in known.values())
    return f"<table><thead><tr>{heads}</tr></thead><tbody><tr>{cells}</tr></tbody></table>"


def pictures(heading: str, images: pd.Series, activations: pd.Series) -> str:
    """Pictures side by side, strongest first, with the activation under each; the heading says how many are shown."""
    known = images.notna()
    shown = images[known][:PER_CLUSTER]
    tiles = "".join(
        '<figure style="display:inline-block;margin:0 4px 4px 0;text-align:center">'
        f'<img src="{data_uri(bytes(image))}" alt="" '
        f'style="height:{PIXELS}px;width:{PIXELS}px;object-fit:contain;image-rendering:{rendering(bytes(image))}">'
        f'<figcaption style="font-size:11px">{escape(number_text(float(activation)))}</figcaption></figure>'
        for image, activation in zip(shown, activations[known], strict=False)
    )
    left = "" if len(shown) == len(images) else f", {len(shown)} shown"
    return f'<p style="margin:8px 0 2px"><b>{escape(heading)}</b>{left}</p><div>{tiles}</div>'


def rendering(image: bytes) -> str:
    """The CSS for enlarging: small pictures, which are stored as PNG, keep sharp pixels."""
    return "pixelated" if image.startswith(b"\x89PNG") else "auto"


def grouped(row: pd.Series, exemplars: pd.DataFrame, clusters: pd.DataFrame) -> list[pd.DataFrame]:
    """The unit's exemplars by the clusters that are shown, largest cluster first, each in the order of ranks.

    Exemplars without a cluster are left out, unless the unit has no clusters at all.

    Args:
        row: of the map.
        exemplars: of the unit.
        clusters: of the unit, for any evidence and space.
    """
    exemplars = exemplars.sort_values("rank", kind="stable")
    compared = clusters[clusters["is_main"]]
    if compared.empty:
        return [exemplars] if len(exemplars) else []
    n_clusters = float(row["n_clusters"]) if "n_clusters" in row else np.nan
    shown = shown_clusters(n_clusters, compared["cluster"].to_numpy(), compared["cluster_bic"].to_numpy())
    label = pd.Series(shown, index=compared["item"])
    exemplars = exemplars[exemplars["rank"].isin(label.index)]
    groups = [rows for _, rows in exemplars.groupby(exemplars["rank"].map(label), sort=True)]
    return sorted(groups, key=len, reverse=True)
