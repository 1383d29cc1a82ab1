"""All scores by name. To add one: a file here, a line in SCORES, a slow twin in tests/scores/reference.py."""

from polyscan.scores.alignment import Alignment
from polyscan.scores.clarity import Clarity
from polyscan.scores.cut import Cut
from polyscan.scores.dip_test import DipTest
from polyscan.scores.distinctness import Distinctness, WordDistinctness
from polyscan.scores.gap import Gap
from polyscan.scores.monosemanticity import Monosemanticity
from polyscan.scores.polysemanticity import Polysemanticity
from polyscan.scores.score import Score
from polyscan.scores.semanticity import Semanticity
from polyscan.scores.silhouette import Silhouette

SCORES: dict[str, type[Score]] = {
    "gap": Gap,
    "cut": Cut,
    "silhouette": Silhouette,
    "alignment": Alignment,
    "distinctness": Distinctness,
    "distinctness_words": WordDistinctness,
    "dip_p": DipTest,
    "clarity": Clarity,
    "semanticity": Semanticity,
    "polysemanticity": Polysemanticity,
    "monosemanticity": Monosemanticity,
}
"""The registry: settings, columns, calibration, docs and contract tests follow from it."""
