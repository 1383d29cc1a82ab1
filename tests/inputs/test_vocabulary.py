"""The words of a vocabulary: every encoding and form of a text file, and the line where it is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polyscan.errors import JobError
from polyscan.inputs import open_embedder, open_network, vocabulary_digest, vocabulary_words
from polyscan.inputs import opening as opened
from polyscan.vision.embedders import Embedder
from polyscan.vision.preprocessing import Preprocessing

WORDS = ["caf\u00e9", "a red dog", "\u732b"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_ends_of_lines(encoding, end, tmp_path):
    text = end.join(["", *WORDS, "", f"  {WORDS[0]} ", end])
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    (tmp_path / "words.txt").write_bytes((mark + text).encode(encoding))
    assert vocabulary_words(str(tmp_path / "words.txt")) == WORDS


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "holds no words"),
        (b"\xef\xbb\xbf\n  \n", "holds no words"),
        (b"cat\ndog\ncaf\xe9\n", r"line 3, is not UTF-8 \(byte 0xe9\); save it in UTF-8"),
        ("cat\ndog".encode("utf-16-le"), "control characters"),
        (b"\xff\xfec\x00a", "is not UTF-16"),
        (b"cat\n\x00\x01\x02", "line 2, is no text: it holds control characters"),
        (b"cat\n" + b"dog, " * 100, "line 2, has 499 characters, at most 300 are allowed; write one concept per line"),
    ],
)
def test_what_is_no_vocabulary(content, says, tmp_path):
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    with pytest.raises(JobError, match=says) as refused:
        vocabulary_words(str(path))
    assert str(path) in str(refused.value)


def test_paths_that_can_not_be_read(tmp_path):
    with pytest.raises(JobError, match=r"absent\.txt can't be read \(No such file"):
        vocabulary_words(str(tmp_path / "absent.txt"))
    with pytest.raises(JobError, match="is a folder; name a text file"):
        vocabulary_words(str(tmp_path))
    with pytest.raises(JobError, match="can't be read"):
        vocabulary_digest("a\0b")


@given(content=st.binary(max_size=40))
def test_any_bytes_are_words_or_an_error(content, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(content)
    try:
        words = vocabulary_words(str(path))
    except JobError:
        return
    assert words
    assert all(word == word.strip() != "" for word in words)
    assert len(set(words)) == len(words)


def test_the_digest_is_of_the_bytes(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("cat\n")
    first = vocabulary_digest(str(path))
    assert len(first) == 64
    path.write_text("dog\n")
    assert vocabulary_digest(str(path)) != first
    assert vocabulary_digest("") == ""


def test_a_vocabulary_needs_a_text_tower(toy_job, tmp_path, monkeypatch):
    (tmp_path / "words.txt").write_text("cat\n")
    job = toy_job(embed__vocabulary=str(tmp_path / "words.txt"))
    blind = Embedder("e", Preprocessing(8, 8, (0.5,), (0.5,)), torch.device("cpu"), torch.flatten, "0")
    network = open_network(toy_job())
    monkeypatch.setattr(opened, "load_embedder", lambda _: blind)
    with pytest.raises(JobError, match=r"has 1 words, but the embedder .* has no text tower"):
        open_embedder(job, network)
    seeing = replace(blind, words=lambda phrases: torch.zeros(len(phrases), 3).numpy())
    monkeypatch.setattr(opened, "load_embedder", lambda _: seeing)
    assert open_embedder(job, network) is seeing
