"""The mean of each unit's exemplars in embedding space, so that units can be compared with each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from polyscan.evidence import Subject
from polyscan.tables import Columns


def centre_rows(subjects: Sequence[Subject]) -> Columns:
    """Rows of `centres`, unit by unit."""
    subjects = sorted(subjects, key=lambda subject: subject.channel)
    return {
        "layer": [subject.layer for subject in subjects],
        "channel": np.array([subject.channel for subject in subjects], dtype=np.int32),
        "space": [subject.space for subject in subjects],
        "embedding": [centre(subject) for subject in subjects],
    }


def centre(subject: Subject) -> Float32[np.ndarray, " r"]:
    """The mean of a unit's exemplars, whitened as for cosines and scaled to length 1; its own length is 1 or 0."""
    seen = subject.sample.seen
    lengths = np.linalg.norm(seen, axis=1, keepdims=True)
    mean = np.divide(seen, lengths, out=np.zeros_like(seen), where=lengths > 0).mean(axis=0)
    length = float(np.linalg.norm(mean))
    return (mean / length if length > 0 else mean).astype(np.float32)
