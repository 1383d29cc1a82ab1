"""Names of clusters: the commonest labels, or the words that fit best."""

from __future__ import annotations

from collections import Counter

import numpy as np

from polyscan.results import Results
from polyscan.scores.concepts import Concepts
from polyscan.scores.sample import Sample
from polyscan.stages.name import ALL, NAMES, _names, is_above_chance


def test_every_cluster_is_named_by_its_commonest_labels(toy_results: Results) -> None:
    names = toy_results.table("names")
    images = toy_results.table("images").set_index("image")["label_name"]
    exemplars, clusters = toy_results.table("exemplars"), toy_results.table("clusters")
    clusters = clusters[clusters["evidence"] == "exemplars"]
    shares = dict(images.value_counts(normalize=True))
    named = 0
    assert len(names)
    assert not names["layer"].str.contains("@").any()
    for (layer, channel, space, cluster), its in names.groupby(["layer", "channel", "space", "cluster"]):
        mine = exemplars[(exemplars["layer"] == layer) & (exemplars["channel"] == channel)]
        if cluster != ALL:
            here = clusters[(clusters["layer"] == layer) & (clusters["channel"] == channel)]
            items = here[(here["space"] == space) & (here["cluster"] == cluster)]["item"]
            mine = mine[mine["rank"].isin(items)]
        counts = Counter(images.loc[mine["image"]])
        above = [
            (name, n) for name, n in counts.most_common() if is_above_chance(n, len(mine), shares[name], len(shares))
        ]
        assert list(its["rank"]) == list(range(len(above[:NAMES])))
        assert [n / len(mine) for _, n in above[:NAMES]] == list(its["similarity"])
        assert all(
            counts[name] / len(mine) == share for name, share in zip(its["name"], its["similarity"], strict=True)
        )
        named += 1
    # What is not named has no label above chance.
    groups = exemplars[~exemplars["layer"].str.contains("@")].groupby(["layer", "channel"])
    for (layer, channel), mine in groups:
        counts = Counter(images.loc[mine["image"]])
        has_name = any(is_above_chance(n, len(mine), shares[name], len(shares)) for name, n in counts.items())
        its = names[(names["layer"] == layer) & (names["channel"] == channel) & (names["cluster"] == ALL)]
        assert (len(its) > 0) == has_name or toy_results.map.set_index(["layer", "channel"]).loc[
            (layer, channel), "is_dead"
        ]
    assert named


def test_labels_of_random_images_are_no_names() -> None:
    """In at most a twentieth of random sets is any label above chance."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), [5, 5, 10, 20, 50, 100, 100, 200, 200, 310])
    share = np.bincount(labels) / len(labels)
    found = 0
    for _ in range(1000):
        counts = np.bincount(rng.choice(labels, 32, replace=False), minlength=10)
        found += any(is_above_chance(int(n), 32, float(s), 10) for n, s in zip(counts, share, strict=True) if n)
    assert found <= 50 + 2 * (1000 * 0.05 * 0.95) ** 0.5


def test_words_are_those_that_the_items_are_most_like() -> None:
    # Items along the first axis, and one along the second; words at the ends of both axes.
    embeddings = np.array([[3.0, 0.0], [1.0, 0.0], [0.0, 2.0]], dtype=np.float32)
    words = Concepts(np.array([[1.0, 0.0], [0.0, 5.0], [-1.0, 0.0]]), np.full(3, -1), ["crane", "screen", "sea"])
    sample = Sample(embeddings, np.zeros(3, dtype=np.float32), 0.0, 0.0, vocabulary=words)
    everything = _names(sample, np.ones(3, dtype=bool), {})
    assert [name for name, _, _ in everything] == ["crane", "screen", "sea"]
    assert np.allclose([likeness for _, _, likeness in everything], [2 / 3, 1 / 3, -2 / 3])
    assert _names(sample, np.array([False, False, True]), {})[0] == ("screen", "text", 1.0)


def test_without_labels_and_words_there_are_no_names() -> None:
    sample = Sample(np.eye(3, dtype=np.float32), np.zeros(3, dtype=np.float32), 0.0, 0.0)
    assert _names(sample, np.ones(3, dtype=bool), {}) == []
