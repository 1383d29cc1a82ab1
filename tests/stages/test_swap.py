"""swap: chosen units, donors, and the tables of a whole run of the wide toy."""

from __future__ import annotations

import pytest
import toy

import polyscan
from polyscan.results import Results

SWAPS = {
    "swap__enabled": True,
    "swap__units": "all",
    "swap__recipients": 12,
    "swap__donors": 6,
    "swap__draws": 199,
    "swap__virtual_units": 4,
}
LIVE = 16 + 24 + 6
"""Units of the wide toy."""


@pytest.fixture(scope="module")
def swapped(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A run of the wide toy with swaps."""
    folder = tmp_path_factory.mktemp("swaps")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polyscan.maps.pages", lambda _: [])
        return polyscan.scan(toy.wide_job(folder / "images", **SWAPS), str(folder / "run"))


def test_every_cluster_of_every_chosen_unit_has_a_row(swapped: Results) -> None:
    causes, clusters = swapped.table("causes"), swapped.table("clusters")
    key = ["layer", "channel", "evidence", "cluster"]
    real = causes[causes["role"] == "unit"]
    assert real.drop_duplicates(["layer", "channel"]).shape[0] == LIVE
    shown = clusters[clusters["is_main"] & (clusters["role"] == "unit")][key].drop_duplicates()
    assert set(map(tuple, shown.to_numpy())) == set(map(tuple, real[real["evidence"] == "exemplars"][key].to_numpy()))
    virtual = causes[causes["role"] != "unit"]
    assert set(virtual["role"]) == {"control", "planted", "random"}
    assert (virtual.groupby("layer")["channel"].nunique() == 4).all()
