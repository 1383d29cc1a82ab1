"""Figures for papers: an `Atlas` or plain arrays in, the bytes of a PDF, SVG or PNG out.

Law: the same numbers give the same bytes; a figure holds no date, and nothing that is drawn by chance.
"""

from polyscan.maps.figures.layer_figure import LayerSample, layer_figure
from polyscan.maps.figures.map_figure import map_figure
from polyscan.maps.figures.paper import ENDINGS
from polyscan.maps.figures.trend_figure import trend_figure
from polyscan.maps.figures.unit_figure import UnitSample, unit_figure

__all__ = ["ENDINGS", "LayerSample", "UnitSample", "layer_figure", "map_figure", "trend_figure", "unit_figure"]
