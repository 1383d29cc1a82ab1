"""The sheet of pictures of called units."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks import sheet
from polyscan.results import Results


def test_units_that_either_test_calls_are_on_the_sheet() -> None:
    frame = pd.DataFrame(
        {
            "verdict": ["several", "no split shown", "suggestive", "probably several", "dead"],
            "second_verdict": ["", "probably several", "suggestive", "several", ""],
        }
    )
    assert sheet.called_units(frame).index.tolist() == [0, 1, 3]
    assert sheet.called_units(frame[["verdict"]]).index.tolist() == [0, 3]


def test_a_row_has_both_clusters_and_what_is_left_unexplained(toy_results: Results) -> None:
    frame = toy_results.map
    row = frame[(frame["layer"] == "mix") & ~frame["is_dead"]].iloc[[0]]
    parts = list(sheet.parts_of(toy_results.run, "mix", int(row["channel"].iloc[0])))
    assert len(parts) == sheet.PARTS
    assert parts[0]
    assert all(content is not None for content in parts[0])
    picture = np.asarray(sheet.drawn(row, [parts]))
    assert picture.shape[0] == sheet.SIDE + sheet.HEAD + sheet.GAP
    assert (picture[sheet.HEAD : sheet.HEAD + sheet.SIDE, : sheet.SIDE] < 250).any()
