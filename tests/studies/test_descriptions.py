"""Names of units as CLIP-Dissect's CSV: out, in again, and what is wrong with a file that can't be used."""

from __future__ import annotations

import pandas as pd
import pytest

from polyscan.errors import JobError
from polyscan.studies.descriptions import COLUMNS, described, names_of_units, write_names


def test_out_and_in_again(wide_results, tmp_path):
    address = wide_results.run.address
    file = str(tmp_path / "names.csv")
    n = write_names(address, file)
    written = pd.read_csv(file)
    assert list(written) == list(COLUMNS)
    assert len(written) == n > 0
    names = wide_results.table("names")
    names = names[(names["evidence"] == "exemplars") & (names["cluster"] == -1) & (names["rank"] == 0)]
    assert written["description"].tolist() == names["name"].tolist()
    assert written["similarity"].tolist() == pytest.approx(names["similarity"].tolist())
    again = described(address, file)
    assert again.same == 1
    assert again.rows["p"].tolist() == names_of_units(address)["p"].tolist()


def test_other_descriptions_are_told_from_the_runs_own(wide_results, tmp_path):
    address = wide_results.run.address
    rows = names_of_units(address)
    rows.loc[rows.index[0], "description"] = "a crane"
    rows.loc[rows.index[1], "description"] = f" {rows['description'][1].upper()} "
    rows[["unit", "layer", "description"]].to_csv(tmp_path / "other.csv", index=False)
    found = described(address, str(tmp_path / "other.csv"))
    assert found.rows["is_same"].tolist() == [False] + [True] * (len(rows) - 1)
    assert found.same == pytest.approx(1 - 1 / len(rows))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("layer,unit\nfine,0\n", "has no column `description`, but layer, unit"),
        ("layer,unit,description\nfone,0,sea\n", "line 2: the run has no layer `fone`; nearest: fine"),
        ("layer,unit,description\nfine,0,sea\nfine,16,sea\n", "line 3: fine has units 0 to 15, not 16"),
        ("", "can't be read"),
        (None, r"absent\.csv can't be read \(No such file"),
    ],
)
def test_files_that_are_none(content, says, wide_results, tmp_path):
    if content is not None:
        (tmp_path / "absent.csv").write_text(content)
    with pytest.raises(JobError, match=says):
        described(wide_results.run.address, str(tmp_path / "absent.csv"))


def test_a_file_that_can_not_be_written(wide_results, tmp_path):
    with pytest.raises(JobError, match=r"can't be written \(No such file"):
        write_names(wide_results.run.address, str(tmp_path / "no" / "names.csv"))
