"""The units, and which of their clusters, that answer to something: a text, an image, or another unit."""

from __future__ import annotations

from pathlib import PurePath

import pandas as pd

from polyscan.errors import JobError
from polyscan.results import Results
from polyscan.studies.figure import saved
from polyscan.studies.find.files import ENDINGS, content_of
from polyscan.studies.find.finder import TOP, Finder

__all__ = ["Finder", "find"]


def find(
    address: str,
    text: str = "",
    *,
    image: str = "",
    like: str = "",
    top: int = TOP,
    clusters: bool = False,
    out: str = "",
) -> pd.DataFrame:
    """The units of a run that answer to a text, an image or what another unit answers to; best first.

    Where a model has named the run, clusters are ranked by the cosine of their mean and what is looked for, both in
    that model's space. Where labels were counted, `text` is looked for among names, and `like` among the units that are
    compared in the same space. `attrs["ranked_by"]` of the table says which.

    To search a run many times, open it once: `polyscan.open_run(address).find(...)`.

    Args:
        address: the run's folder.
        text: words, as "round fruit".
        image: an image file, at any address that fsspec knows.
        like: a unit, as LAYER:CHANNEL.
        top: number of units.
        clusters: whether every cluster has a row of its own, rather than each unit once, by its best cluster.
        out: a file to write as well, if any: .csv or .json.

    Returns:
        One row for each unit: layer, channel, evidence, cluster, similarity, share of the evidence in the cluster, n
        items of it that were seen, its best name with p, all its names, and the unit's verdicts.

    Raises:
        JobError: if nothing or more than one thing is looked for, the text is empty or has no vector, the unit is
            unknown, or the file can't be written.
        ImagesError: if the image can't be read.
        ModelError: if the model that names is another than the run's.
        TableError: if there is no run, or it has neither names nor what the search needs.
    """
    if out and PurePath(out).suffix.lower() not in ENDINGS:
        raise JobError(f'`find` writes {", ".join(ENDINGS)}; "{out}" has another ending. As in --out found.csv')
    found = Finder(Results(address))(text, image=image, like=like, top=top, clusters=clusters)
    if out:
        saved(out, content_of(found, PurePath(out).suffix.lower()))
    return found
