"""Slow twins of every score, each written straight after its paper with plain loops.

Where a score rests on a k-means partition, the twin is fed the package's own labels: that partitions are good is tested
in tests/stats/test_clustering.py and test_splits.py, and here what is made of them. The dip itself is tested in
tests/stats/test_dip.py. A score without a twin fails test_reference.py. NaN is where a score is not defined.
"""

import math
from itertools import combinations

import numpy as np

from polyscan.stats.clustering import kmeans
from polyscan.stats.dip import dip_p as p_of_dip


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


def centred(sample):
    """The embeddings less the space's mean, as lists of floats."""
    middle = [0.0] * sample.embeddings.shape[1] if sample.whitening is None else sample.whitening.mean.tolist()
    return [[x - m for x, m in zip(v, middle, strict=True)] for v in sample.embeddings.tolist()]


def seen(sample):
    """The embeddings as cosines see them: centred, then along the axes."""
    if sample.whitening is None:
        return sample.embeddings.tolist()
    axes = sample.whitening.axes.T.tolist()
    return [[sum(x * a for x, a in zip(v, axis, strict=True)) for axis in axes] for v in centred(sample)]


def cosine_table(sample):
    vectors = seen(sample)
    return [[cosine(a, b) for b in vectors] for a in vectors]


def clarity(_score, sample):
    """Dreyer et al. 2025: mean pairwise cosine, in the space as it is seen."""
    cosines = [cosine(a, b) for a, b in combinations(seen(sample), 2)]
    return sum(cosines) / len(cosines)


def gap(_score, sample):
    """Within-cluster mean cosines by the clusters' shares, less the mean cosine across; NaN where one has no pair."""
    cosines, labels = cosine_table(sample), sample.halves.labels[0].tolist()
    within, across = {0: [], 1: []}, []
    for i, j in combinations(range(len(labels)), 2):
        (within[labels[i]] if labels[i] == labels[j] else across).append(cosines[i][j])
    if not all(within.values()):
        return math.nan
    weighted = [labels.count(c) / len(labels) * sum(each) / len(each) for c, each in within.items()]
    return sum(weighted) - sum(across) / len(across)


def cut(score, sample):
    """Share of edges to the nearest that cross, over 2 a (1 - a); NaN where there are not more items than neighbours.

    Ties between equal items go by rounding, so the neighbours are sought in the package's own cosines.
    """
    n, labels = len(sample), sample.halves.labels[0].tolist()
    if n <= score.neighbors:
        return math.nan
    crossing = 0
    for i in range(n):
        row = sample.cosines[i].tolist()
        near = sorted((j for j in range(n) if j != i), key=lambda j, row=row: (-row[j], j))[: score.neighbors]
        crossing += sum(labels[j] != labels[i] for j in near)
    share = labels.count(0) / n
    return crossing / (n * score.neighbors) / (2 * share * (1 - share))


def silhouette(_score, sample):
    """Of the best 2 to 5 clusters."""
    return mean_silhouette(cosine_table(sample), sample.best_split.labels[0].tolist())


def mean_silhouette(cosines, labels):
    """Rousseeuw 1987, with the distance 1 - cosine."""
    values = []
    for i, own in enumerate(labels):
        away = {c: [] for c in labels}
        for j, other in enumerate(labels):
            if j != i:
                away[other].append(1 - cosines[i][j])
        means = {c: sum(each) / len(each) for c, each in away.items() if each}
        outside = min(value for c, value in means.items() if c != own)
        larger = max(means.get(own, 0.0), outside)
        values.append((outside - means[own]) / larger if own in means and larger > 1e-12 else 0.0)
    return sum(values) / len(values)


def entropy(labels):
    shares = [labels.count(label) / len(labels) for label in set(labels)]
    return -sum(share * math.log(share) for share in shares)


def mutual_information(a, b):
    n, total = len(a), 0.0
    for u in set(a):
        for v in set(b):
            both = sum(x == u and y == v for x, y in zip(a, b, strict=True))
            if both:
                total += both / n * math.log(n * both / (a.count(u) * b.count(v)))
    return total


def expected_mutual_information(a, b):
    """Over all ways to shuffle one side: each cell of the table is hypergeometric."""
    n, total = len(a), 0.0
    for u in set(a):
        for v in set(b):
            rows, columns = a.count(u), b.count(v)
            for both in range(max(1, rows + columns - n), min(rows, columns) + 1):
                chance = math.comb(columns, both) * math.comb(n - columns, rows - both) / math.comb(n, rows)
                total += chance * both / n * math.log(n * both / (rows * columns))
    return total


def alignment(_score, sample):
    """Vinh, Epps & Bailey 2010, normalised by the smaller entropy; 0 where chance leaves no room."""
    if sample.labels is None:
        return math.nan
    pairs = [
        (x, y) for x, y in zip(sample.labels.tolist(), sample.best_split.labels[0].tolist(), strict=True) if x >= 0
    ]
    if len(pairs) < 2:
        return math.nan
    labels, clusters = map(list, zip(*pairs, strict=True))
    chance = expected_mutual_information(labels, clusters)
    room = min(entropy(labels), entropy(clusters)) - chance
    return (mutual_information(labels, clusters) - chance) / room if room > 1e-9 else 0.0


def distance_of_concepts(vectors):
    """Mean pairwise 1 - cosine."""
    away = [1 - cosine(a, b) for a, b in combinations(vectors, 2)]
    return sum(away) / len(away)


def adjusted_distance(score, sample, reference, concept_of):
    """(d - E0[d]) / (d_ref - E0[d]) over the package's own random cuts, which come from the sample's seed."""
    labels = sample.best_split.labels[0]
    generator = np.random.default_rng((sample.seed, 3))
    cuts = [labels.tolist(), *(generator.permutation(labels).tolist() for _ in range(score.draws))]

    def distance(cut):
        parts = [[i for i, c in enumerate(cut) if c == cluster] for cluster in sorted(set(cut))]
        return distance_of_concepts([concept_of(part) for part in parts])

    chance = sum(map(distance, cuts[1:])) / score.draws
    room = reference - chance
    return (distance(cuts[0]) - chance) / room if room > 0.01 else 0.0


def median_distance(concepts):
    """Of all pairs of concepts."""
    away = sorted(1 - cosine(a, b) for a, b in combinations(concepts.vectors.tolist(), 2))
    middle = len(away) // 2
    return away[middle] if len(away) % 2 else (away[middle - 1] + away[middle]) / 2


def distinctness(score, sample):
    """A cluster stands for the mean of its items' label prototypes."""
    if sample.labels is None or sample.prototypes is None:
        return math.nan
    known = dict(zip(sample.prototypes.labels.tolist(), sample.prototypes.vectors.tolist(), strict=True))
    nothing = [0.0] * sample.prototypes.vectors.shape[1]
    of_items = [known.get(label, nothing) for label in sample.labels.tolist()]
    reference = median_distance(sample.prototypes)
    return adjusted_distance(score, sample, reference, lambda part: mean([of_items[i] for i in part]))


def distinctness_words(score, sample):
    """A cluster stands for the word that its items are most like in the mean."""
    if sample.vocabulary is None:
        return math.nan
    items, words = centred(sample), sample.vocabulary.vectors.tolist()
    likeness = [[cosine(item, word) for word in words] for item in items]

    def best_word(part):
        sums = [sum(likeness[i][w] for i in part) for w in range(len(words))]
        # Words that fit equally well but for rounding: the first of them.
        return words[next(w for w in range(len(words)) if sums[w] >= max(sums) - 1e-9)]

    return adjusted_distance(score, sample, median_distance(sample.vocabulary), best_word)


def dip_p(_score, sample):
    """Each item's place on a line between two means that were found without it; the dip of all places."""
    n = len(sample)
    if n < 20:
        return math.nan
    generator = np.random.default_rng(sample.seed)
    order = generator.permutation(n)
    folds = [order[fold::5] for fold in range(5)]
    others = [[i for i in order.tolist() if i not in fold][: n - len(folds[0])] for fold in folds]
    uniforms = generator.random((5, 10, 2))
    vectors = [np.array(v) / (np.linalg.norm(v) or 1.0) for v in seen(sample)]
    places, first = [0.0] * n, None
    for fold, other, draws in zip(folds, others, uniforms, strict=True):
        rows = np.array(other)
        among = sample.cosines[rows[:, None], rows[None, :]]
        among = among - among.mean(axis=0) - among.mean(axis=1)[:, None] + among.mean()
        labels = kmeans(among[None], 2, uniforms=draws[None], least=max(1, len(rows) // 10)).labels[0].tolist()
        sides = [[vectors[i] for i, label in zip(other, labels, strict=True) if label == side] for side in (0, 1)]
        line = np.mean(sides[1], axis=0) - np.mean(sides[0], axis=0)
        first = line if first is None else first
        middle = np.mean([vectors[i] @ line for i in other])
        for i in fold.tolist():
            if line @ line > 1e-12:
                places[i] = (-1 if line @ first < 0 else 1) * (vectors[i] @ line - middle) / (line @ line)
    return p_of_dip(np.array(places))


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
    "gap": gap,
    "cut": cut,
    "silhouette": silhouette,
    "alignment": alignment,
    "distinctness": distinctness,
    "distinctness_words": distinctness_words,
    "dip_p": dip_p,
    "semanticity": semanticity,
    "clarity": clarity,
    "polysemanticity": polysemanticity,
    "monosemanticity": monosemanticity,
}
