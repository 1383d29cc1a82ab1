"""The verdict on a unit: one thing or several, or why nothing can be said."""

from __future__ import annotations

import numpy as np
import pandas as pd

LEVEL = 0.05
"""Level of the certificate and of other single tests; the false discovery rate is the job's, `show.fdr`."""

_READOUTS = "those of single-concept readouts of this layer with similar homogeneity"
VERDICTS = {
    "one": f"its exemplars split no more than {_READOUTS}",
    "several": f"its exemplars split more than {_READOUTS}, at the run's false discovery rate over all units",
    "several, certified": f"its exemplars split more than {_READOUTS}, and a test that needs no null finds a valley "
    f"between the two clusters (dip p <= {LEVEL:g})",
    "incoherent": "its exemplars are no more alike than random ones, so there are no clusters to count",
    "off_range": "too few null sets have a homogeneity close to that of its exemplars, so its p is not valid",
    "artefact": "its exemplars split, but by the place of their peaks, by copies of an image or by frames of images",
    "saturated": "more images tie at its largest peak than are kept, so the choice of its exemplars is arbitrary",
    "dead": "it does not respond: its peaks do not vary, or a ReLU follows and no peak is positive",
    "": "there is no null for this unit, so it is not judged",
}
"""What each verdict means, as the pages say it."""


def verdicts(frame: pd.DataFrame, *, fdr: float) -> pd.Series:
    """The verdict of each row of a map with p, q, dip_p, off_range, incoherent, artefact, saturated and is_dead.

    The conditions under which p is not valid come first: a unit that is dead, saturated, incoherent or off range is
    neither one nor several. Nor is a unit that has a small p because of an artefact.
    """
    is_several = frame["q"] <= fdr
    is_certified = frame["dip_p"] <= LEVEL if "dip_p" in frame else False  # no column if all have under 20 items
    choices = [
        (frame["is_dead"], "dead"),
        (frame["p"].isna(), ""),
        (frame["saturated"], "saturated"),
        (frame["incoherent"], "incoherent"),
        (frame["off_range"], "off_range"),
        ((frame["artefact"] != "") & (is_several | (frame["p"] <= LEVEL)), "artefact"),
        (is_several & is_certified, "several, certified"),
        (is_several, "several"),
    ]
    conditions = [np.asarray(condition, dtype=bool) for condition, _ in choices]
    words = np.select(conditions, [verdict for _, verdict in choices], default="one")
    return pd.Series(words, index=frame.index, dtype=object)
