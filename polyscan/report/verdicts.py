"""What is said of a unit: one thing or several, or why nothing can be said."""

from __future__ import annotations

import numpy as np
import pandas as pd

LEVEL = 0.05
"""Level of the certificate and of other single tests; the false discovery rate is the job's, `show.fdr`."""

VERDICTS = {
    "one": "its exemplars are not more split than those of one-exemplar readouts of its layer as homogeneous as they",
    "several": "its exemplars are more split than those of one-exemplar readouts of its layer as homogeneous as they, "
    "at the run's false discovery rate over all units",
    "several, certified": "its exemplars are more split than those of one-exemplar readouts of its layer as "
    f"homogeneous as they, and a valley parts the two clusters, whatever the null (dip p <= {LEVEL:g})",
    "incoherent": "its exemplars are no more alike than random ones, so there is nothing to count",
    "off_range": "no null sets are as homogeneous as its exemplars, so its p says nothing",
    "saturated": "more images tie at its largest peak than are kept, so which are its exemplars is arbitrary",
    "dead": "it never says anything",
    "": "there is no null for this unit",
}


def verdicts(frame: pd.DataFrame, *, fdr: float) -> pd.Series:
    """The verdict of each row of a map with p, q, dip_p, off_range, incoherent, saturated and is_dead.

    What speaks against any p comes first: a unit that is dead, saturated, incoherent or off range is neither one nor
    several.
    """
    is_several = frame["q"] <= fdr
    is_certified = frame["dip_p"] <= LEVEL if "dip_p" in frame else False  # no column where all have under 20 items
    choices = [
        (frame["is_dead"], "dead"),
        (frame["p"].isna(), ""),
        (frame["saturated"], "saturated"),
        (frame["incoherent"], "incoherent"),
        (frame["off_range"], "off_range"),
        (is_several & is_certified, "several, certified"),
        (is_several, "several"),
    ]
    conditions = [np.asarray(condition, dtype=bool) for condition, _ in choices]
    found = np.select(conditions, [name for _, name in choices], default="one")
    return pd.Series(found, index=frame.index, dtype=object)
