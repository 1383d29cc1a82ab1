"""Figures for papers: draws an `Atlas` or plain arrays as a PDF, SVG or PNG.

Law: the same numbers give the same bytes; a figure contains no date and nothing random.
"""

from polyscan.maps.figures.layer_figure import LayerSample, layer_figure
from polyscan.maps.figures.map_figure import map_figure
from polyscan.maps.figures.paper import ENDINGS
from polyscan.maps.figures.trend_figure import trend_figure
from polyscan.maps.figures.unit_figure import UnitSample, unit_figure

__all__ = ["ENDINGS", "LayerSample", "UnitSample", "layer_figure", "map_figure", "trend_figure", "unit_figure"]
