"""What `import polyscan` gives: these names, typed, and nothing heavy until they are asked for."""

from __future__ import annotations

import inspect
import re
from importlib.resources import files
from pathlib import Path

import pytest
import toy
from places import REPOSITORY

import polyscan
from polyscan.errors import JobError
from polyscan.results import Results

PUBLIC = ["Job", "__version__", "compare", "figure", "find", "open_run", "plan", "robustness", "scan", "validate"]


def test_public_names_are_exact_and_reachable() -> None:
    assert list(polyscan.__all__) == dir(polyscan) == PUBLIC
    for name in PUBLIC:
        assert getattr(polyscan, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = polyscan.nothing  # pyright: ignore


@pytest.mark.parametrize("name", [name for name in PUBLIC if name not in ("Job", "__version__")])
def test_public_functions_are_typed_and_their_docstrings_name_what_they_take_and_raise(name: str) -> None:
    function = getattr(polyscan, name)
    signature = inspect.signature(function)
    assert all(each.annotation is not each.empty for each in signature.parameters.values())
    assert signature.return_annotation is not signature.empty
    assert "Raises:" in function.__doc__
    for parameter in signature.parameters:
        assert re.search(rf"^ +{parameter}: ", function.__doc__, flags=re.MULTILINE), parameter


def test_types_are_shipped_and_the_version_is_the_packages() -> None:
    assert (files("polyscan") / "py.typed").is_file()
    assert f'version = "{polyscan.__version__}"' in (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")


def test_a_wrong_job_is_told_in_the_words_of_job_files() -> None:
    with pytest.raises(JobError, match=r"`network`"):
        polyscan.Job(images={"source": "photos"})  # pyright: ignore
    with pytest.raises(JobError, match=r"`collect.k`.*0"):
        polyscan.Job(network={"name": "toy:net"}, images={"source": "photos"}, collect={"k": 0})  # pyright: ignore
    with pytest.raises(JobError, match=r"colect.*collect"):
        polyscan.Job(network={"name": "toy:net"}, images={"source": "photos"}, colect={})  # pyright: ignore


def test_a_job_of_keywords_is_the_job_of_a_file(tmp_path: Path) -> None:
    job = toy.job(tmp_path / "images")
    assert polyscan.Job(**job.model_dump()) == job


def test_results_say_what_they_hold_and_rank_by_separation(toy_results: Results) -> None:
    text = repr(toy_results)
    assert toy_results.run.address in text
    assert re.search(r"\b12 units in 3 layers\b", text), text
    top = toy_results.top(5)
    assert top["separation"].is_monotonic_decreasing
    assert not top["is_dead"].any()


def test_a_unit_is_asked_for_in_one_word_or_two(toy_results: Results) -> None:
    one, two = toy_results.unit("paint:2"), toy_results.unit("paint", 2)
    assert (one.unit.layer, one.unit.channel) == (two.unit.layer, two.unit.channel) == ("paint", 2)
    for wrong in ("paint", "paint:", "paint:two", "point:2", "paint:99"):
        with pytest.raises(polyscan.errors.PolyscanError, match="paint"):
            toy_results.unit(wrong)
