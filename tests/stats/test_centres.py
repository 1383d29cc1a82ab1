"""Centres of clusters against a literal twin."""

from __future__ import annotations

import numpy as np

from polyscan.stats.centres import cluster_centres, nearest_centre, unit_length


def test_centres_are_mean_directions() -> None:
    generator = np.random.default_rng(0)
    vectors, labels = generator.normal(size=(30, 5)) * generator.uniform(0.1, 9, (30, 1)), np.arange(30) % 4
    centres = cluster_centres(vectors, labels)
    for label in range(4):
        members = [v / np.linalg.norm(v) for v, own in zip(vectors, labels, strict=True) if own == label]
        mean = np.mean(members, axis=0)
        assert np.allclose(centres[label], mean / np.linalg.norm(mean))


def test_length_does_not_count() -> None:
    generator = np.random.default_rng(1)
    vectors, centres = generator.normal(size=(20, 3)), unit_length(generator.normal(size=(4, 3)))
    literal = [max(range(4), key=lambda k, v=v: float(v @ centres[k]) / float(np.linalg.norm(v))) for v in vectors]
    assert nearest_centre(vectors * 7, centres).tolist() == literal == nearest_centre(vectors, centres).tolist()


def test_zeros_have_no_direction() -> None:
    centres = cluster_centres(np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([0, 2]))
    assert centres.tolist() == [[0, 0], [0, 0], [1, 0]]
    assert nearest_centre(np.zeros((1, 2)), centres).tolist() == [0]
