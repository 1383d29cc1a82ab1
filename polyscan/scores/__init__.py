"""All scores by name. To add one: a file here, a line in SCORES, a slow twin in tests/scores/reference.py."""

from polyscan.scores.clarity import Clarity
from polyscan.scores.monosemanticity import Monosemanticity
from polyscan.scores.polysemanticity import Polysemanticity
from polyscan.scores.score import Score
from polyscan.scores.semanticity import Semanticity

SCORES: dict[str, type[Score]] = {
    "semanticity": Semanticity,
    "clarity": Clarity,
    "polysemanticity": Polysemanticity,
    "monosemanticity": Monosemanticity,
}
"""The registry: settings, columns, calibration, docs and contract tests follow from it."""
