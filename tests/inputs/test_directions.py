"""Directions of one's own: what a file holds, and every way in which it can be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import toy
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from polyscan import job as jobs
from polyscan.errors import JobError
from polyscan.inputs import OwnDirections, check_directions, open_directions, open_reader, read_directions
from polyscan.inputs.directions import directions_digest
from polyscan.run import Run

ROWS = np.array([[1.0, 0, 0], [0, 2, 0]], dtype=np.float32)


def saved(folder: Path, metadata: dict[str, str] | None = None, **arrays: np.ndarray) -> str:
    save_file({name.replace("__", "."): array for name, array in arrays.items()}, folder / "d.safetensors", metadata)
    return str(folder / "d.safetensors")


def test_rows_are_directions_with_bias_and_names(tmp_path: Path) -> None:
    names = {"names": json.dumps(["red", "blue"]), "activation": "relu"}
    found = read_directions(saved(tmp_path, names, weights=ROWS, bias=np.array([0.5, -1])), "paint", 3)
    assert np.array_equal(found.weights, ROWS)
    assert found.weights.dtype == np.float32
    assert found.bias.tolist() == [0.5, -1]
    assert found.names == ("red", "blue")
    assert found.is_rectified


def test_names_may_lie_beside_the_file(tmp_path: Path) -> None:
    address = saved(tmp_path, other=ROWS)  # the only array
    (tmp_path / "d.json").write_text('["a", "b"]')
    found = read_directions(address, "paint", 3)
    assert found.names == ("a", "b")
    assert not found.is_rectified
    assert not found.bias.any()


def test_an_array_is_chosen_by_its_name_with_the_bias_of_that_name(tmp_path: Path) -> None:
    address = saved(tmp_path, encoder__weight=ROWS, encoder__bias=np.ones(2), decoder__weight=ROWS + 1)
    assert read_directions(f"{address}#encoder.weight", "paint", 3).bias.tolist() == [1, 1]
    assert not read_directions(f"{address}#decoder.weight", "paint", 3).bias.any()


def test_numbers_of_half_precision_are_read(tmp_path: Path) -> None:
    save_torch({"weights": torch.from_numpy(ROWS).bfloat16()}, tmp_path / "half.safetensors")
    assert np.array_equal(read_directions(str(tmp_path / "half.safetensors"), "paint", 3).weights, ROWS)


@pytest.mark.parametrize(
    ("arrays", "metadata", "words"),
    [
        ({"weights": ROWS[:, :2]}, {}, r"shape \[2, 2\].*directions of paint are floats of shape \[n, 3\]"),
        ({"weights": ROWS[0]}, {}, r"shape \[3\]"),
        ({"weights": ROWS.astype(np.int32)}, {}, "type int32"),
        ({"weights": np.zeros((0, 3), np.float32)}, {}, r"shape \[0, 3\]"),
        ({"weights": np.array([[1, 0, 0], [np.nan, 0, 0]], np.float32)}, {}, r"row 1 is not finite \(1 of 2 rows\)"),
        ({"weights": np.array([[1e300, 0, 0]])}, {}, "row 0 is not finite"),
        ({"weights": np.array([[0, 0, 0], [1, 0, 0]], np.float32)}, {}, "row 0 is all 0"),
        ({"weights": ROWS, "bias": np.ones(3)}, {}, r"`bias`, is of shape \[3\].*2 directions is \[2\]"),
        ({"weights": ROWS, "bias": np.array([1, np.inf])}, {}, "finite floats"),
        ({"one": ROWS, "two": ROWS}, {}, "several arrays: one, two"),
        ({"weights": ROWS}, {"names": '["a"]'}, "1 names for 2 directions"),
        ({"weights": ROWS}, {"names": "a, b"}, "holds no JSON"),
        ({"weights": ROWS}, {"names": '{"a": 1}'}, "no list of texts"),
        ({"weights": ROWS}, {"activation": "gelu"}, 'activation "gelu".*allowed: relu'),
    ],
)
def test_what_is_no_direction_is_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str], words: str
) -> None:
    with pytest.raises(JobError, match=words):
        read_directions(saved(tmp_path, metadata, **arrays), "paint", 3)


def test_an_unknown_array_is_answered_by_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"no array `weihgts`; nearest: weights"):
        read_directions(saved(tmp_path, weights=ROWS) + "#weihgts", "paint", 3)


def test_a_file_that_is_none_or_no_safetensors_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"directions of paint can't be read from .*none\.safetensors"):
        read_directions(str(tmp_path / "none.safetensors"), "paint", 3)
    (tmp_path / "text.safetensors").write_text("no array at all")
    with pytest.raises(JobError, match=r"can't be read from .*text\.safetensors"):
        read_directions(str(tmp_path / "text.safetensors"), "paint", 3)


def test_an_unknown_layer_is_answered_by_the_nearest(tmp_path: Path) -> None:
    job = toy.job(tmp_path / "images", directions={"piant": saved(tmp_path, weights=ROWS)})
    with pytest.raises(JobError, match=r'"piant" is no scanned layer of toy:network; nearest: paint'):
        open_directions(job, open_reader(job))


def test_the_digest_tells_everything_that_is_scanned_apart() -> None:
    base = OwnDirections(ROWS, np.zeros(2))
    others = [
        OwnDirections(ROWS * 2, np.zeros(2)),
        OwnDirections(ROWS, np.ones(2)),
        OwnDirections(ROWS, np.zeros(2), ("a", "b")),
        OwnDirections(ROWS, np.zeros(2), is_rectified=True),
    ]
    digests = {directions_digest({"paint": one}) for one in (base, *others)} | {directions_digest({"mix": base})}
    assert len(digests) == 6
    assert directions_digest({}) == ""


def test_a_worker_with_other_files_is_refused(tmp_path: Path) -> None:
    run = Run(str(tmp_path))
    of_driver = {"paint": OwnDirections(ROWS, np.zeros(2))}
    run.save_manifest({"stages": {}, "directions": {"digest": directions_digest(of_driver)}})
    check_directions(run, of_driver)
    with pytest.raises(JobError, match=r"directions of paint are not those that the scan began with"):
        check_directions(run, {"paint": OwnDirections(ROWS * 2, np.zeros(2))})


def test_files_are_relative_to_the_job_and_layers_may_have_dots(tmp_path: Path) -> None:
    saved(tmp_path, weights=ROWS)
    text = (
        '[network]\nname = "toy:network"\n[images]\nsource = "x"\n[directions]\nfeatures.14 = "d.safetensors#weights"'
    )
    (tmp_path / "job.toml").write_text(text)
    job = jobs.load(tmp_path / "job.toml", {"directions.layer4.2": "other.safetensors"})
    expected = {
        "features.14": f"{(tmp_path / 'd.safetensors').resolve()}#weights",
        "layer4.2": str(Path("other.safetensors").resolve()),
    }
    assert job.directions == expected
    assert jobs.parse(job.to_toml(), "again").directions == expected
