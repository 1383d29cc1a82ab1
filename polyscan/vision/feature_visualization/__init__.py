"""Feature visualization: images that make a unit strong, many units in one batch, until the perceptual elbow.

Law: the images of a unit depend on its seeds and the batch's shape alone, never on its neighbours in the batch.
"""

from polyscan.vision.feature_visualization.ascent import Ascent, AscentSettings, ascent_to, canvas_px, numbers_of
from polyscan.vision.feature_visualization.data_starts import DataStart, data_started, window
from polyscan.vision.feature_visualization.elbow import Elbow, ElbowSettings
from polyscan.vision.feature_visualization.visualizer import Visualization, visualize

__all__ = [
    "Ascent",
    "AscentSettings",
    "DataStart",
    "Elbow",
    "ElbowSettings",
    "Visualization",
    "ascent_to",
    "canvas_px",
    "data_started",
    "numbers_of",
    "visualize",
    "window",
]
