"""Tables of text vectors: where names are found, and what is wrong with a table that can't be used."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from polyscan.errors import ModelError
from polyscan.vision.text_tables import is_text_table, load_text_table

NAMES = ["crane", "screen", "sea"]


@pytest.fixture
def vectors():
    return np.random.default_rng(0).standard_normal((3, 4)).astype(np.float16)


def table(folder, arrays, *, metadata=None, beside=None, name="names.json"):
    save_file(arrays, folder / "t.safetensors", metadata=metadata)
    if beside is not None:
        (folder / name).write_text(json.dumps(beside))
    return str(folder / "t.safetensors")


@pytest.mark.parametrize(
    "found",
    [
        {"metadata": {"words": json.dumps(NAMES)}},
        {"beside": NAMES},
        {"beside": {"words": NAMES, "wor": ["no"] * 3}},
        {"beside": {"words": NAMES, "other": ["no"]}, "name": "t.json"},
    ],
)
def test_where_names_are_found(found, vectors, tmp_path):
    path = table(tmp_path, {"words": vectors, "more": vectors}, **found)
    words = load_text_table(f"{path}#words")
    assert words.names == tuple(NAMES)
    assert np.allclose(np.linalg.norm(words.vectors, axis=1), 1, atol=1e-6)
    assert np.array_equal(words.words(["sea", "crane"]), words.vectors[[2, 0]])


def test_names_may_stand_at_the_beginning_of_the_key_or_be_given(vectors, tmp_path):
    beside = {"words": NAMES, "words_vit": ["a", "b", "c"], "wo": ["d", "e", "f"]}
    path = table(tmp_path, {"words_vit_b32": vectors}, beside=beside)
    assert load_text_table(path).names == ("a", "b", "c")
    assert load_text_table(f"{path}|{tmp_path}/names.json#words").names == tuple(NAMES)
    assert is_text_table(path)
    assert not is_text_table("words.txt")


def test_a_name_that_stands_twice_has_its_first_vector(vectors, tmp_path):
    words = load_text_table(table(tmp_path, {"w": vectors}, beside=["crane", "sea", "crane"]))
    assert words.distinct_names == ("crane", "sea")
    assert np.array_equal(words.words(["crane"])[0], words.vectors[0])


def test_the_digest_is_of_names_and_vectors(vectors, tmp_path):
    first = load_text_table(table(tmp_path, {"w": vectors}, beside=NAMES)).digest
    assert load_text_table(table(tmp_path, {"w": vectors}, beside=NAMES)).digest == first
    assert load_text_table(table(tmp_path, {"w": vectors}, beside=["a", "b", "c"])).digest != first
    assert load_text_table(table(tmp_path, {"w": vectors[::-1].copy()}, beside=NAMES)).digest != first


@pytest.mark.parametrize(
    ("key", "arrays", "beside", "says"),
    [
        ("", {"a": 3, "b": 3}, NAMES, r"names no array; .* has a, b\. Write .*#a"),
        ("#c", {"a": 3}, NAMES, r"names the array `c`; .* has a"),
        (
            "",
            {"a": 3},
            None,
            r"has no names of its rows: neither at `a` in its metadata, nor in t\.json or names\.json",
        ),
        ("", {"a": 3}, {"b": NAMES}, "has no names of its rows"),
        ("", {"a": 4}, NAMES, r"has 4 rows, but 3 names; there must be one for each row"),
        ("|no.json", {"a": 3}, NAMES, r"there is no no\.json; name a JSON file"),
    ],
)
def test_what_is_no_table(key, arrays, beside, says, tmp_path):
    vectors = {name: np.ones((n, 2), dtype=np.float32) for name, n in arrays.items()}
    with pytest.raises(ModelError, match=says):
        load_text_table(table(tmp_path, vectors, beside=beside) + key)


def test_wrong_arrays_and_files(tmp_path):
    for array, says in (
        (np.ones(3, dtype=np.float32), r"is of float32, \(3,\); it must be numbers with one row per word"),
        (np.ones((3, 2), dtype=np.int64), "is of int64"),
        (
            np.array([[1, 0], [0, 0], [np.nan, 1]], dtype=np.float32),
            r"row 1 of the table .* is 0 or not finite \(2 such",
        ),
    ):
        with pytest.raises(ModelError, match=says):
            load_text_table(table(tmp_path, {"a": array}, beside=NAMES))
    (tmp_path / "t.safetensors").write_bytes(b"no table")
    with pytest.raises(ModelError, match="can't be read"):
        load_text_table(str(tmp_path / "t.safetensors"))
    with pytest.raises(ModelError, match="can't be read"):
        load_text_table(str(tmp_path / "absent.safetensors"))
    path = table(tmp_path, {"a": np.ones((3, 2), dtype=np.float32)})
    (tmp_path / "names.json").write_text("{")
    with pytest.raises(ModelError, match="is no JSON"):
        load_text_table(path)
    (tmp_path / "names.json").write_text(json.dumps({"b": NAMES, "c": 3}))
    with pytest.raises(ModelError, match=r"names\.json#c is no list of names .* has b, c"):
        load_text_table(f"{path}|{tmp_path}/names.json#c")


def test_words_that_are_not_in_the_table(vectors, tmp_path):
    words = load_text_table(table(tmp_path, {"w": vectors}, beside=NAMES))
    with pytest.raises(
        ModelError, match=r'4 of 5 words are not in the table .* which has 3: "screem" \(nearest: screen\)'
    ):
        words.words(["sea", "screem", "b", "c", "d"])
