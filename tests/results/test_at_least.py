"""At least how many units of a set are several: for the run, for a set that a user marks, and refused where unknown."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from polyscan.errors import TableError
from polyscan.results import Results
from polyscan.results.at_least import AtLeast, at_least
from polyscan.results.tiers import CERTIFIED, NO_SPLIT, SEVERAL, TIERS, is_called, is_judged


def units(n_several: int = 40, n: int = 60) -> pd.DataFrame:
    """Two layers; the first units of each have the smallest p that is possible."""
    p = np.where(np.arange(n) < n_several, 1 / 401, np.linspace(0.05, 1, n))
    layers = [pd.DataFrame({"layer": layer, "p_exact": p, "n_exact": 400}) for layer in ("a", "b")]
    return pd.concat(layers, ignore_index=True)


def test_the_bound_is_for_all_units_or_for_a_set_of_them() -> None:
    frame = units()
    whole = at_least(frame)
    assert whole.of == 120
    assert 60 < whole.n <= 80
    assert whole.share == whole.n / 120
    small = (frame["p_exact"] < 0.01).to_numpy()
    assert 60 < at_least(frame, small).n <= at_least(frame, small).of == 80
    assert at_least(frame, ~small).n == 0
    assert at_least(frame, np.zeros(120, dtype=bool)) == AtLeast(0, 0, 0)
    assert at_least(frame) == whole, "the same envelope each time"


def test_a_layers_own_bound_is_not_below_its_bound_among_all() -> None:
    frame = units(n_several=10)
    of_layer = (frame["layer"] == "a").to_numpy()
    assert at_least(frame[of_layer]).n >= at_least(frame, of_layer).n


def test_units_without_an_exact_p_do_not_count() -> None:
    frame = units()
    without = frame.assign(p_exact=np.nan, n_exact=np.nan, layer="c")
    assert at_least(pd.concat([frame, without])) == at_least(frame)
    assert at_least(without) == AtLeast(0, 0, 0)
    assert np.isnan(at_least(without).share)


def test_a_run_bounds_its_judged_units(wide_results: Results) -> None:
    frame = wide_results.map
    judged = frame[is_judged(frame["verdict"]) & frame["p_exact"].notna()]
    assert wide_results.at_least() == at_least(judged)
    assert wide_results.at_least().of == len(judged) > 0
    chosen = judged.iloc[::2]
    names = [f"{layer}:{channel}" for layer, channel in zip(chosen["layer"], chosen["channel"], strict=True)]
    marked = pd.Series(frame.index.isin(chosen.index), index=frame.index)
    assert wide_results.at_least(names) == wide_results.at_least(marked)
    assert wide_results.at_least(names).of == len(chosen)


def test_a_run_bounds_the_units_that_its_second_test_judges(wide_results: Results) -> None:
    frame = wide_results.map
    judged = frame[is_judged(frame["second_verdict"]) & frame["second_p_exact"].notna()]
    columns = {"second_p_exact": "p_exact", "second_n_exact": "n_exact"}
    expected = at_least(judged[["layer", *columns]].rename(columns=columns))
    assert wide_results.at_least(test="second") == expected
    assert expected.of == len(judged) > 0
    names = [f"{layer}:{channel}" for layer, channel in zip(judged["layer"], judged["channel"], strict=True)][::2]
    assert wide_results.at_least(names, test="second").of == len(names)


def test_a_test_that_the_run_does_not_have_is_refused(wide_results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="`test` must be one of first, second, got 'third'"):
        wide_results.at_least(test="third")  # pyright: ignore[reportArgumentType]
    without = wide_results.map.drop(columns="second_p_exact")
    monkeypatch.setattr(Results, "map", property(lambda _: without))
    with pytest.raises(TableError, match="no exact p of the second test: it has no second test, or too few null sets"):
        wide_results.at_least(test="second")


def test_what_is_not_in_the_run_is_refused(wide_results: Results) -> None:
    with pytest.raises(TableError, match="has no unit fine:999"):
        wide_results.at_least(["fine:0", "fine:999"])
    with pytest.raises(TableError, match="one value for each of the map's"):
        wide_results.at_least(pd.Series([True, False]))


def test_every_tier_is_judged_and_two_are_called() -> None:
    words = pd.Series([*TIERS, "incoherent", "", "dead"])
    assert is_judged(words).tolist() == [True] * len(TIERS) + [False] * 3
    assert set(words[is_called(words)]) == {SEVERAL, CERTIFIED}
    assert not is_called(pd.Series([NO_SPLIT])).any()
