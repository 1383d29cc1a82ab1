"""Slow twins of every score, each written straight after its paper with plain loops.

Where a score rests on a k-means partition, the twin is fed the package's own labels: that partitions are good is tested
in tests/stats/test_clustering.py, and here what is made of them. A score without a twin fails test_reference.py.
"""

import math
from itertools import combinations


def cosine(a, b):
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return dot / lengths if lengths > 0 else 0.0


def mean(vectors):
    return [sum(column) / len(vectors) for column in zip(*vectors, strict=True)]


def members(sample, k):
    """The embeddings of each cluster, as lists of floats."""
    labels = sample.clustering(k).labels.tolist()
    vectors = sample.embeddings.tolist()
    return [[v for v, label in zip(vectors, labels, strict=True) if label == c] for c in range(k)]


def literal_bic(clusters):
    """Pelleg and Moore, consistent form; infinity where the fit is perfect."""
    n, k, d = sum(map(len, clusters)), len(clusters), len(clusters[0][0])
    sse = 0.0
    for cluster in clusters:
        centre = mean(cluster)
        sse += sum((x - c) ** 2 for v in cluster for x, c in zip(v, centre, strict=True))
    total_mean = mean([v for cluster in clusters for v in cluster])
    total = sum((x - c) ** 2 for cluster in clusters for v in cluster for x, c in zip(v, total_mean, strict=True))
    if sse <= 1e-9 * total:
        return math.inf
    variance = sse / (d * (n - k))
    likelihood = sum(len(cluster) * math.log(len(cluster) / n) for cluster in clusters)
    likelihood -= n * d / 2 * math.log(2 * math.pi * variance) + sse / (2 * variance)
    return likelihood - ((k - 1) + d * k + 1) / 2 * math.log(n)


def semanticity(score, sample):
    """Alic et al. 2025, with K by BIC."""
    n = len(sample)
    distinct = len({tuple(v) for v in sample.embeddings.tolist()})
    highest = min({"published": n - 1, "default": n // 2}[score.k_rule], sample.max_clusters, distinct)
    k = max(range(1, max(1, highest) + 1), key=lambda k: (literal_bic(members(sample, k)), -k))
    centres = [mean(cluster) for cluster in members(sample, k)]
    d = 0.0
    pairs = list(combinations(centres, 2))
    for a, b in pairs:
        m_a, m_b = math.sqrt(sum(x * x for x in a)), math.sqrt(sum(x * x for x in b))
        if m_a > 0 and m_b > 0:
            angle = math.acos(max(-1.0, min(1.0, cosine(a, b)))) / math.pi
            d += angle * 2 * min(m_a, m_b) / (m_a + m_b) / len(pairs)
    c = (k - 1) / (n - 1)
    return c + d - c * d


def clarity(_score, sample):
    """Dreyer et al. 2025: mean pairwise cosine."""
    cosines = [cosine(a, b) for a, b in combinations(sample.embeddings.tolist(), 2)]
    return sum(cosines) / len(cosines)


def polysemanticity(_score, sample):
    """Dreyer et al. 2025, K = 2, with the special case of their code."""
    vectors = sample.embeddings.tolist()
    parts = members(sample, 2)
    if min(map(len, parts)) >= 2 and len({tuple(v) for v in vectors}) > 1:
        return 1 - cosine(mean(parts[0]), mean(parts[1]))
    strongest = sorted(range(len(vectors)), key=lambda i: (-sample.activations[i], i))[:10]
    cosines = [cosine(vectors[i], mean(vectors)) for i in strongest]
    return 1 - sum(cosines) / len(cosines)


def monosemanticity(_score, sample):
    """Pach et al. 2025, over the evidence."""
    low, high = sample.activation_min, sample.activation_max
    scaled = [(a - low) / (high - low) for a in sample.activations.tolist()]
    items = list(zip(scaled, sample.embeddings.tolist(), strict=True))
    above = sum(a * b * cosine(x, y) for (a, x), (b, y) in combinations(items, 2))
    return above / sum(a * b for (a, _), (b, _) in combinations(items, 2))


TWINS = {
    "semanticity": semanticity,
    "clarity": clarity,
    "polysemanticity": polysemanticity,
    "monosemanticity": monosemanticity,
}
