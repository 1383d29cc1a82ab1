"""Raw scores of evidence whose truth is known: `python docs/blind_spots.py` prints the table in measured.md."""

import numpy as np

from polyscan.scores import SCORES
from polyscan.scores.sample import Sample

N, D = 100, 512
NEED_CONCEPTS = ("alignment", "distinctness", "distinctness_words")

noise = np.random.default_rng(0).standard_normal((N, D))
evidence = {
    "two clean clusters": np.repeat(np.eye(2, D), N // 2, axis=0) + 0.01 * noise,
    "one round cluster": 1 + 0.5 * noise,
    "one cluster, correlated": 1 + noise / np.sqrt(np.arange(1, D + 1)),
    "noise around 0": noise,
}
samples = {
    name: Sample(vectors.astype(np.float32), np.ones(N, np.float32), 0.0, 1.0) for name, vectors in evidence.items()
}
print(f"{'':18}" + "".join(f"{name:>25}" for name in samples))
print(f"{'clusters (BIC)':18}" + "".join(f"{sample.best_k():25}" for sample in samples.values()))
for name, make in SCORES.items():
    if name not in NEED_CONCEPTS:
        print(f"{name:18}" + "".join(f"{make()(sample):25.2f}" for sample in samples.values()))
