"""The verdict on a unit: how surely it answers to several things, or why nothing can be said."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Shaped

from polyscan.results.tiers import CERTIFIED, NO_SPLIT, PROBABLY, SEVERAL, SUGGESTIVE

LEVEL = 0.05
"""Level of `suggestive`, of the certificate and of other single tests; false discovery rates are the job's."""

_MORE = "its exemplars split more than those of single-concept readouts of this layer with similar homogeneity"
VERDICTS = {
    NO_SPLIT: "its exemplars split no more than those of many single-concept readouts of this layer with similar "
    "homogeneity",
    SUGGESTIVE: f"{_MORE}, at p <= {LEVEL:g} for this unit alone; one in twenty units of one concept does so, too",
    PROBABLY: f"{_MORE}, at p <= {LEVEL:g} and at the run's false discovery rate for this verdict, which rests on an "
    "estimate of how many units of each layer answer to one thing",
    SEVERAL: f"{_MORE}, at the run's false discovery rate over all units",
    CERTIFIED: f"{_MORE}, at the run's false discovery rate over all units, and a test that needs no null finds a "
    f"valley between the two clusters (dip p <= {LEVEL:g})",
    "incoherent": "its exemplars are no more alike than random ones, so there are no clusters to count",
    "off_range": "too few null sets have a homogeneity close to that of its exemplars, so its p is not valid",
    "artefact": "its exemplars split, but by the place of their peaks, by copies of an image or by frames of images",
    "saturated": "more images tie at its largest peak than are kept, so the choice of its exemplars is arbitrary",
    "dead": "it does not respond: its peaks do not vary, or a ReLU follows and no peak is positive",
    "": "there is no null for this unit, so it is not judged",
}
"""What each verdict means, as the pages say it."""
_APART = "the images that its main meaning leaves unexplained stand apart from its strongest ones"
_READOUTS = "single-concept readouts of this layer with similar homogeneity"
SECOND_VERDICTS = {
    NO_SPLIT: f"{_APART} no more than in many {_READOUTS}",
    **{
        tier: VERDICTS[tier].replace(_MORE, f"{_APART} more than in {_READOUTS}")
        for tier in (SUGGESTIVE, PROBABLY, SEVERAL, CERTIFIED)
    },
    "incoherent": "these images are no more alike than random ones",
    "off_range": "too few null sets have a homogeneity close to that of these images, so its p is not valid",
    "artefact": f"{_APART}, but by the place of their peaks, by copies of an image or by frames of images",
    "saturated": VERDICTS["saturated"],
    "dead": VERDICTS["dead"],
    "": "it has no second test: too few images are left to search, or there is no null for them",
}
"""What each verdict of the second test means."""

ADAPTIVE = {"group": "q_group", "storey": "q_storey"}
"""The column of q that decides `probably several`, by the setting `show.probable_by`."""

Numbers = Float[np.ndarray, " u"]
Flags = Bool[np.ndarray, " u"]


def tiers(
    *,
    p: Numbers,
    q: Numbers,
    q_adaptive: Numbers,
    reasons: Shaped[np.ndarray, " u"],
    fdr: float,
    probable_fdr: float,
    is_certified: Flags | None = None,
    is_artefact: Flags | None = None,
) -> Shaped[np.ndarray, " u"]:
    """The verdict of each unit by one test: the surest of the tiers that it reaches, or why nothing can be said.

    Args:
        p: of the test; NaN if there is none.
        q: that controls the false discovery rate without an estimate of the share of nulls.
        q_adaptive: that uses such an estimate.
        reasons: why a unit cannot be judged; "" if it can be.
        fdr: largest q of `several`.
        probable_fdr: largest adaptive q of `probably several`, whose p must be at most .05, too.
        is_certified: whether a unit that is `several` is certified; default: none is.
        is_artefact: whether a nuisance explains the unit's clusters, so that it is called nothing for them.
    """
    none = np.zeros(len(p), dtype=bool)
    certified, artefact = (none if flags is None else flags for flags in (is_certified, is_artefact))
    choices = [
        (reasons != "", reasons),
        (np.isnan(p), ""),
        (artefact & ((q <= fdr) | (p <= LEVEL)), "artefact"),
        ((q <= fdr) & certified, CERTIFIED),
        (q <= fdr, SEVERAL),
        # Where a layer seems to have few nulls, its q may be small for any p; a unit's own p must be small as well.
        ((q_adaptive <= probable_fdr) & (p <= LEVEL), PROBABLY),
        (p <= LEVEL, SUGGESTIVE),
    ]
    conditions, words = zip(*choices, strict=True)
    return np.select(conditions, words, default=NO_SPLIT).astype(object)


def verdicts(
    frame: pd.DataFrame, *, fdr: float, probable_fdr: float = 0.1, probable_by: str = "group", prefix: str = ""
) -> pd.Series:
    """The verdict of each row of a map with off_range, incoherent, saturated, is_dead, and p and q of the test.

    The conditions under which p is not valid come first: a unit that is dead, saturated, incoherent or off range gets
    none of the tiers.

    Args:
        frame: the map.
        fdr: see `tiers`.
        probable_fdr: see `tiers`.
        probable_by: which adaptive q decides, a key of `ADAPTIVE`.
        prefix: of the test's columns, as in `second_p`; "" for those without a prefix.
    """

    def column(name: str) -> Numbers:
        return frame[f"{prefix}{name}"].to_numpy(np.float64)

    words = tiers(
        p=column("p"),
        q=column("q"),
        q_adaptive=column(ADAPTIVE[probable_by]),
        reasons=reasons_of(frame, prefix),
        fdr=fdr,
        probable_fdr=probable_fdr,
        # No column if all units have under 20 items.
        is_certified=column("dip_p") <= LEVEL if f"{prefix}dip_p" in frame else None,
        is_artefact=frame[f"{prefix}artefact"].to_numpy(str) != "" if f"{prefix}artefact" in frame else None,
    )
    return pd.Series(words, index=frame.index, dtype=object)


def reasons_of(frame: pd.DataFrame, prefix: str = "") -> Shaped[np.ndarray, " u"]:
    """Why each unit cannot be judged, "" if it can be; of a test's own columns where it has some, else the map's."""
    no_p = frame[f"{prefix}p"].isna()
    conditions = [np.asarray(frame["is_dead"], dtype=bool), np.asarray(no_p, dtype=bool)]
    reasons = ("saturated", "incoherent", "off_range")
    own = [f"{prefix}{name}" if f"{prefix}{name}" in frame else name for name in reasons]
    conditions += [np.asarray(frame[name], dtype=bool) for name in own]
    return np.select(conditions, ["dead", "", *reasons], default="").astype(object)
