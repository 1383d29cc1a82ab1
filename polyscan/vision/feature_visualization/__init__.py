"""Feature visualization: images that activate a unit strongly, many units in one batch, until the perceptual elbow.

Law: the images of a unit depend only on its seeds and the shape of the batch, not on the other units in the batch.
"""

from polyscan.vision.feature_visualization.ascent import Ascent, AscentSettings, ascent_to, canvas_size, numbers_of
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
    "canvas_size",
    "data_started",
    "numbers_of",
    "visualize",
    "window",
]
