"""Evidence with known truth for the tests of scores."""

import numpy as np

from polyscan.scores.concepts import Concepts
from polyscan.scores.sample import Sample


def sample_of(embeddings, seed=0, **settings):
    """A sample whose activations fall with the place, as those of exemplars do; of two classes in turn, with words."""
    n, d = np.shape(embeddings)
    activations = np.linspace(5, 3, n, dtype=np.float32)
    meaning = {"labels": np.arange(n) % 2, "prototypes": prototypes(), "vocabulary": words(d)}
    return Sample(
        np.asarray(embeddings, dtype=np.float32),
        activations,
        activation_min=-1.0,
        activation_max=5.0,
        seed=seed,
        **{**meaning, **settings},
    )


def prototypes():
    """Three classes, the first two of which have nothing to do with each other."""
    return Concepts(np.array([[2.0, 0, 0], [0, 3, 0], [1, 1, 1]]), np.arange(3), ["cat", "car", "cart"])


def words(d, turn=None):
    """A word along each axis, and one against the first; `turn` rotates them with the space."""
    vectors = np.vstack([np.eye(d), -np.eye(d)[:1]]) @ (np.eye(d) if turn is None else turn)
    return Concepts(vectors, np.full(d + 1, -1), [f"word {number}" for number in range(d + 1)])


def blobs(n_blobs, n=24, d=8, seed=0, spread=0.3):
    """Tight blobs around axes, the items of each in turn."""
    owner = np.arange(n) % n_blobs
    return 5 * np.eye(d)[owner] + spread * np.random.default_rng(seed).standard_normal((n, d))


def noise(n=40, d=32, seed=0):
    """A Gaussian around 0: no concept at all."""
    return np.random.default_rng(seed).standard_normal((n, d))


def rotation(d, seed=0):
    """A random rotation."""
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))
    return q * np.sign(np.diag(r))
