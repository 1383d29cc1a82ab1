"""visualize: generates images that activate each unit strongly, one after another, until the perceptual elbow."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cached_property
from typing import cast

import numpy as np
from jaxtyping import UInt8

from polyscan.images import ImageSource, Picture
from polyscan.inputs import check_worker, open_distance, open_images, open_reader, reaches
from polyscan.job import Job, VisualizeSettings
from polyscan.run import Run
from polyscan.shards import Shard, seed, split_within
from polyscan.tables import Columns
from polyscan.units import Layer, Unit
from polyscan.vision.channels import picture_of
from polyscan.vision.feature_visualization import (
    Ascent,
    AscentSettings,
    DataStart,
    ElbowSettings,
    Visualization,
    ascent_to,
    data_started,
    visualize,
    window,
)
from polyscan.vision.framing import Size
from polyscan.vision.readouts import Reader, ReadPoint, chosen_layers

BOX = ["top", "left", "bottom", "right"]


def shards(job: Job, run: Run) -> list[Shard]:
    """Ranges of the chosen units, each within one layer; empty if the job visualizes nothing."""
    if not job.visualize.enabled:
        return []
    return split_within("visualize", [len(units) for units in _by_layer(job, run)], job.visualize.units_per_shard)


def _by_layer(job: Job, run: Run) -> list[list[Unit]]:
    """The units to visualize, layer by layer: live ones, or a seeded sample of them."""
    table = run.read("units", ["layer", "channel", "is_dead"])
    live = table[~table["is_dead"]].groupby("layer")["channel"].agg(list).to_dict()
    layers = run.layers()
    names = chosen_layers([layer.name for layer in layers if layer.is_real], job.visualize.layers)
    units: list[list[Unit]] = []
    for layer in layers:
        if layer.parent in names and (layer.is_judged or _is_proof(job, layer)):
            channels = _unthinned(run, layer, live.get(layer.name, []))
            size = job.visualize.units_per_layer if layer.is_judged else job.visualize.virtual_units
            units.append(_sample(job, layer, channels, size))
    return units


def _unthinned(run: Run, layer: Layer, live: list[int]) -> list[int]:
    """The live units; of null readouts only those that are not thinned."""
    if layer.role != "null":
        return live
    # Thinning changes which images a readout ranks, but not its visualizations.
    known = set(live)
    return [channel for channel, reach in enumerate(reaches(run, layer.name)) if reach == 1 and channel in known]


def _is_proof(job: Job, layer: Layer) -> bool:
    """Whether a virtual layer is visualized, so that visualizations have a null, an error rate and a power as well."""
    return bool(job.visualize.virtual_units) and layer.role in ("null", "control", "planted")


def _sample(job: Job, layer: Layer, live: list[int], size: int) -> list[Unit]:
    if size and size < len(live):
        generator = np.random.default_rng(seed(job.seed, "visualized units", layer.name))
        live = sorted(generator.choice(live, size, replace=False).tolist())
    return [Unit(layer.name, int(channel)) for channel in live]


class Worker:
    """Holds the network and the perceptual distance."""

    def __init__(self, job: Job, run: Run) -> None:
        self.job = job
        self.run = run
        self.units = [unit for units in _by_layer(job, run) for unit in units]
        self.reader = open_reader(job, run=run)
        check_worker(job, run, self.reader.network)
        self.distance = open_distance(job, self.reader.network)
        self.points = {point.layer: point for point in self.reader.points}

    def __call__(self, shard: Shard) -> dict[str, Columns]:
        """Visualizations of one range of units."""
        units = self.units[shard.start : shard.stop]
        layer = units[0].layer
        ascent = ascent_of(self.job.visualize, self.reader, self.points[layer])
        visualizations = visualize(
            ascent,
            self.distance,
            [unit.channel for unit in units],
            elbow=elbow_settings(self.job.visualize),
            seed=lambda channel, index, tries: self._seed(layer, channel, index, tries),
        )
        return {
            "visualizations": _columns(layer, visualizations),
            "data_visualizations": self._from_data(layer, [unit.channel for unit in units], ascent),
        }

    def _from_data(self, layer: str, channels: list[int], ascent: Ascent) -> Columns:
        """Images whose starting points are means of the units' exemplars."""
        images: list[tuple[int, DataStart]] = []
        for channel, windows in self._windows(layer, channels, ascent.shape.size):
            starts = data_started(
                ascent,
                self.distance,
                channel,
                windows,
                clusters=self.job.visualize.data_starts,
                seed=seed(self.job.seed, "starts from data", layer, channel),
            )
            images += [(channel, start) for start in starts]
        return _data_columns(layer, images)

    def _windows(
        self, layer: str, channels: list[int], size: Size
    ) -> Iterator[tuple[int, UInt8[np.ndarray, "n y x c"]]]:
        """Each unit's exemplars, cut out around their peaks, if the job starts images from them."""
        if not self.job.visualize.data_starts:
            return
        rows = self.run.read("exemplars", ["channel", "image", *BOX], where={"layer": layer})
        rows = rows[rows["channel"].isin(channels)].sort_values("image", kind="stable")
        view = self.reader.network.preprocessing.view
        for channel, of_unit in rows.groupby("channel"):
            entries = self.images.read(of_unit["image"].tolist())
            pictures = zip(entries, of_unit[BOX].itertuples(index=False), strict=True)
            windows = [window(view(p.pixels), box, size) for p, box in pictures if isinstance(p, Picture)]
            yield int(cast("int", channel)), np.stack(windows)

    @cached_property
    def images(self) -> ImageSource:
        """The image source; opened only if images start from exemplars."""
        return open_images(self.job)

    def _seed(self, layer: str, channel: int, index: int, tries: int) -> int:
        purpose = f"start image, {tries + 1}" if tries else "start image"
        return seed(self.job.seed, purpose, layer, channel, index)


def ascent_of(settings: VisualizeSettings, reader: Reader, point: ReadPoint) -> Ascent:
    """The gradient ascent that generates images of a layer's units."""
    return ascent_to(reader, point, ascent_settings(settings), settings.precision, compiled=settings.compile)


def ascent_settings(settings: VisualizeSettings) -> AscentSettings:
    """The settings for generating one image."""
    names = {"steps", "step_size", "objective", "jitter_px", "rotate_degrees", "scale", "batch", "canvas_px"}
    return AscentSettings(**settings.model_dump(include=names))


def elbow_settings(settings: VisualizeSettings) -> ElbowSettings:
    """The settings that decide when a unit has enough images."""
    return ElbowSettings(**settings.model_dump(include={"threshold", "patience", "min_images", "max_images"}))


def _columns(layer: str, visualizations: list[Visualization]) -> Columns:
    return {
        "layer": [layer] * len(visualizations),
        "channel": [item.channel for item in visualizations],
        "index": [item.index for item in visualizations],
        "activation": np.array([item.activation for item in visualizations], dtype=np.float32),
        "mean_distance": np.array([item.mean_distance for item in visualizations]),
        "n_counted": [item.n_counted for item in visualizations],
        "stop": [item.stop for item in visualizations],
        "image": [_png(item.pixels) for item in visualizations],
    }


def _data_columns(layer: str, images: list[tuple[int, DataStart]]) -> Columns:
    return {
        "layer": [layer] * len(images),
        "channel": [channel for channel, _ in images],
        "index": [start.index for _, start in images],
        "n_exemplars": [start.n_exemplars for _, start in images],
        "activation": np.array([start.activation for _, start in images], dtype=np.float32),
        "image": [_png(start.pixels) for _, start in images],
    }


def _png(pixels: UInt8[np.ndarray, "y x c"]) -> bytes:
    sink = io.BytesIO()
    picture_of(pixels).save(sink, format="PNG")
    return sink.getvalue()
