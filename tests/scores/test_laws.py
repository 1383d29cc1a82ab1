"""Laws that every registered score keeps."""

import dataclasses
import importlib.util
import inspect
import math
from pathlib import Path

import numpy as np
import pytest

from polyscan.scores import SCORES
from polyscan.scores.concepts import Concepts
from polyscan.scores.score import Score, ScoreOfParts
from polyscan.scores.semanticity import Semanticity
from polyscan.stats.whitening import Whitening


def neighbour(name):
    """A module beside this one; tests are no package, so it is loaded by its place."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


evidence, reference = neighbour("evidence"), neighbour("reference")

TOLERANCE = 1e-5  # embeddings are float32, and a rotation rounds them anew
# These draw by place: folds of items, or random cuts to compare with.
BY_PLACE = {"dip_p": 0.05, "distinctness": 0.25, "distinctness_words": 0.25}
every_score = pytest.mark.parametrize("name", SCORES)
with_twin = pytest.mark.parametrize("name", sorted(set(SCORES) & set(reference.TWINS)))


@every_score
def test_a_score_declares_itself(name):
    score_type = SCORES[name]
    score = score_type()
    assert isinstance(score, Score)
    assert score.tail in ("upper", "lower", "none")
    assert score.evidence
    assert set(score.evidence) <= {"exemplars", "deflated", "visualizations"}
    low, high = score.range
    assert low < high
    assert score_type.__dataclass_params__.frozen
    # A score without a tail may be a p, of which low ones speak.
    assert "High means:" in score_type.__doc__ or ("Low means:" in score_type.__doc__ and score.tail == "none")
    for word in ("Range:", "Blind to:", "Source:"):
        assert word in score_type.__doc__


@every_score
def test_settings_have_types_and_defaults(name):
    fields = dataclasses.fields(SCORES[name])
    assert all(field.default is not dataclasses.MISSING for field in fields)
    declared = set().union(*(inspect.get_annotations(base) for base in SCORES[name].__mro__))
    assert {field.name for field in fields} == declared - set(Score.__annotations__)


def permuted(sample, seed=1):
    """The same evidence in another order, and that order."""
    order = np.random.default_rng(seed).permutation(len(sample))
    changes = {name: getattr(sample, name)[order] for name in ("embeddings", "activations", "labels")}
    return dataclasses.replace(sample, **changes), order


@every_score
def test_the_order_of_items_does_not_matter_where_clusters_are_plain(name):
    sample = evidence.sample_of(evidence.blobs(2))
    other, _ = permuted(sample)
    assert SCORES[name]()(other) == pytest.approx(SCORES[name]()(sample), abs=BY_PLACE.get(name, 1e-9))


@pytest.mark.parametrize("name", [name for name in SCORES if name != "dip_p"])  # which parts the items anew in folds
@pytest.mark.parametrize("n_blobs", [0, 1, 3])
def test_the_order_of_items_does_not_matter_given_the_partitions(name, n_blobs):
    # Where clusters are not plain, k-means may end elsewhere from the same draws: its own affair, not the score's.
    sample = evidence.sample_of(evidence.blobs(n_blobs) if n_blobs else evidence.noise())
    other, order = permuted(sample)
    for k in range(1, max(2, sample.k_cap()) + 1):
        other.clusterings.partitions[k] = sample.clustering(k)._replace(labels=sample.clustering(k).labels[order])
    for name_, split in (("halves", sample.halves), ("best_split", sample.best_split)):
        setattr(other.clusterings, name_, dataclasses.replace(split, labels=split.labels[:, order]))
    assert SCORES[name]()(other) == pytest.approx(SCORES[name]()(sample), abs=BY_PLACE.get(name, 1e-9))


@every_score
@pytest.mark.parametrize("n_blobs", [1, 2, 3])
def test_what_classes_and_clusters_are_called_does_not_matter(name, n_blobs):
    """Classes 0, 1, 2 are called 7, 3, 5, in the prototypes as well."""
    labels, called = np.arange(24) // 2 % 3, np.array([7, 3, 5])
    sample = evidence.sample_of(evidence.blobs(n_blobs), labels=labels)
    renamed = Concepts(sample.prototypes.vectors[::-1], called[::-1], ["c", "b", "a"])
    other = dataclasses.replace(sample, labels=called[labels], prototypes=renamed)
    assert SCORES[name]()(other) == pytest.approx(SCORES[name]()(sample), abs=1e-12)
    # Clusters by other numbers, the random cuts by the same places.
    for name_, split in (("halves", sample.halves), ("best_split", sample.best_split)):
        setattr(other.clusterings, name_, dataclasses.replace(split, labels=split.labels.max() - split.labels))
    assert SCORES[name]()(other) == pytest.approx(SCORES[name]()(sample), abs=1e-12)


@every_score
def test_the_length_of_the_space_does_not_matter(name):
    sample = evidence.sample_of(evidence.blobs(3))
    other = dataclasses.replace(sample, embeddings=sample.embeddings * 4)
    assert SCORES[name]()(other) == pytest.approx(SCORES[name]()(sample), abs=1e-9)


@pytest.mark.parametrize("name", ["gap", "cut", "silhouette", "alignment", "distinctness", "dip_p", "clarity"])
def test_only_what_lies_beyond_the_spaces_mean_counts(name):
    """The mean is a place, so moving everything and it changes nothing."""
    plain = Whitening(np.zeros(8, dtype=np.float32), np.eye(8, dtype=np.float32))
    sample = evidence.sample_of(evidence.blobs(3), whitening=plain)
    moved = dataclasses.replace(plain, mean=plain.mean + 8)
    other = dataclasses.replace(sample, embeddings=sample.embeddings + 8, whitening=moved)
    assert SCORES[name]()(other) == pytest.approx(SCORES[name]()(sample), abs=TOLERANCE)
    assert SCORES["clarity"]()(dataclasses.replace(other, whitening=None)) > SCORES["clarity"]()(sample) + 0.1


@pytest.mark.parametrize("name", ["monosemanticity", "polysemanticity", "semanticity"])
def test_scores_as_published_are_of_raw_embeddings(name):
    sample = evidence.sample_of(evidence.blobs(3))
    seen = dataclasses.replace(sample, whitening=Whitening(np.ones(8, dtype=np.float32), np.eye(8, dtype=np.float32)))
    assert SCORES[name]()(seen) == SCORES[name]()(sample)


@every_score
@pytest.mark.parametrize("n_blobs", [1, 2, 3])
def test_rotating_the_space_does_not_matter(name, n_blobs):
    embeddings = evidence.blobs(n_blobs)
    turn = evidence.rotation(embeddings.shape[1])
    rotated = evidence.sample_of(embeddings @ turn, vocabulary=evidence.words(len(turn), turn))
    assert SCORES[name]()(rotated) == pytest.approx(SCORES[name]()(evidence.sample_of(embeddings)), abs=TOLERANCE)


@with_twin
@pytest.mark.parametrize("seed", range(10))
def test_values_lie_in_the_declared_range(name, seed):
    low, high = SCORES[name].range
    for n, d in ((2, 1), (3, 2), (9, 3), (30, 20)):
        score, sample = SCORES[name](), evidence.sample_of(evidence.noise(n, d, seed))
        value, twin = score(sample), reference.TWINS[name](score, sample)
        assert low <= value <= high or (math.isnan(value) and math.isnan(twin))
        assert n < 30 or not math.isnan(value)


@every_score
@pytest.mark.parametrize("rows", [[[1, 1]] * 6, [[0, 0]] * 6, [[1, 0]] * 3 + [[0, 1]] * 3, [[1, 0]] * 5 + [[0, 0]]])
def test_duplicates_have_finite_scores(name, rows):
    value = SCORES[name]()(evidence.sample_of(np.repeat(np.array(rows), 4, axis=0)))
    assert math.isfinite(value)


@every_score
@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_items_have_no_score(name, n):
    score, sample = SCORES[name](), evidence.sample_of(np.ones((n, 3)))
    assert math.isnan(score(sample))
    if isinstance(score, ScoreOfParts):
        assert set(score.parts(sample)) == set(score.parts(evidence.sample_of(np.ones((3, 3)))))


@every_score
def test_two_planted_blobs_stand_on_the_declared_tail_of_one(name):
    score = SCORES[name]()
    # Of two equal halves any random cut has a majority of one on the one side and of the other on the other, so its
    # best words are as far apart as the true ones: words are told from chance where one blob is the larger.
    owner = np.arange(24) % 3 // 2 if name == "distinctness_words" else np.arange(24) % 2
    assert owner.sum() in (8, 12)

    def value(n_blobs, seed):
        places = owner * (n_blobs - 1)
        embeddings = 5 * np.eye(8)[places] + 0.3 * np.random.default_rng(seed).standard_normal((24, 8))
        return score(evidence.sample_of(embeddings, seed=seed, labels=owner))

    one, two = ([value(m, seed) for seed in range(5)] for m in (1, 2))
    if score.tail == "upper":
        assert min(two) > max(one) + 0.1
    elif score.tail == "lower":
        assert max(two) < min(one) - 0.1


def test_two_blobs_have_a_certificate_and_one_has_none():
    """It has no tail, since it is a p itself: a small one speaks for two."""
    one, two = (
        [SCORES["dip_p"]()(evidence.sample_of(evidence.blobs(m, seed=s), seed=s)) for s in range(5)] for m in (1, 2)
    )
    assert max(two) <= 0.01
    assert np.median(one) > 0.2


@every_score
def test_a_score_is_defined_on_the_evidence_it_declares(name):
    score = SCORES[name]()
    for kind in ("exemplars", "visualizations"):
        value = score(evidence.sample_of(evidence.blobs(2), evidence=kind))
        assert math.isfinite(value) == (kind in score.evidence)


def test_all_equal_embeddings_are_clear_and_of_one_meaning():
    sample = evidence.sample_of(np.tile([3.0, -4.0, 0.1], (7, 1)))
    values = {name: score()(sample) for name, score in SCORES.items()}
    expected = {"clarity": 1.0, "monosemanticity": 1.0, "semanticity": 0.0, "polysemanticity": 0.0}
    assert {name: values[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    many = evidence.sample_of(np.tile([3.0, -4.0, 0.1], (24, 1)))
    values = {name: score()(many) for name, score in SCORES.items()}
    expected |= {"gap": 0.0, "silhouette": 0.0, "distinctness_words": 0.0}
    assert {name: values[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert values["dip_p"] == 1


def test_semantic_lens_calls_noise_more_polysemantic_than_two_orthogonal_concepts():
    noise = [SCORES["polysemanticity"]()(evidence.sample_of(evidence.noise(100, 512, s))) for s in range(3)]
    two = SCORES["polysemanticity"]()(evidence.sample_of(evidence.blobs(2, n=100, d=512, spread=0.01)))
    assert min(noise) > 1.02
    assert two == pytest.approx(1, abs=0.02)
    assert min(noise) > two


def test_semanticity_refuses_an_unknown_rule():
    with pytest.raises(ValueError, match=r'`k_rule` must be "default".*got "loose"'):
        Semanticity(k_rule="loose")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SCORES["cut"](neighbors=0), "`neighbors` must lie in 1..1000, got 0"),
        (lambda: SCORES["cut"](neighbors=10**9), "`neighbors` must lie in 1..1000, got 1000000000"),
        (lambda: SCORES["distinctness"](draws=0), "`draws` must lie in 1..10000, got 0"),
        (lambda: SCORES["distinctness"](draws=10**9), "`draws` must lie in 1..10000, got 1000000000"),
        (lambda: SCORES["distinctness"](concepts="colours"), '`concepts` must be "labels" or "words", got "colours"'),
    ],
)
def test_settings_out_of_bounds_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
