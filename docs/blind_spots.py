"""What the scores say of evidence whose truth is known: `python docs/blind_spots.py` prints the table in methods.md."""

import numpy as np

from polyscan.scores import SCORES
from polyscan.scores.sample import Sample

N, D = 100, 512

noise = np.random.default_rng(0).standard_normal((N, D))
evidence = {
    "two clean clusters": np.repeat(np.eye(2, D), N // 2, axis=0) + 0.01 * noise,
    "one round cluster": 1 + 0.5 * noise,
    "one cluster, correlated": 1 + noise / np.sqrt(np.arange(1, D + 1)),
    "noise around 0": noise,
}
print(f"{'':24}  K", *SCORES)
for name, vectors in evidence.items():
    sample = Sample(vectors.astype(np.float32), np.ones(N, np.float32), 0.0, 1.0)
    print(f"{name:24} {sample.best_k():2}", *(f"{make()(sample):{len(score)}.2f}" for score, make in SCORES.items()))
