"""visualize: images that make each unit strong, one after another, until the perceptual elbow."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cached_property
from typing import cast

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from polyscan.images import ImageSource, Picture
from polyscan.inputs import open_distance, open_images, open_reader, reaches
from polyscan.job import Job, VisualizeSettings
from polyscan.run import Run
from polyscan.shards import Shard, seed, split_within
from polyscan.tables import Columns
from polyscan.units import Layer, Unit
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
from polyscan.vision.readouts import Reader, ReadPoint, chosen_layers

BOX = ["top", "left", "bottom", "right"]


def shards(job: Job, run: Run) -> list[Shard]:
    """Ranges of the chosen units, each within one layer; none where the job visualizes nothing."""
    if not job.visualize.enabled:
        return []
    return split_within("visualize", [len(units) for units in _by_layer(job, run)], job.visualize.units_per_shard)


def _by_layer(job: Job, run: Run) -> list[list[Unit]]:
    """The units to visualize, layer by layer: live ones, or a seeded sample of them."""
    table = run.read("units", ["layer", "channel", "is_dead"])
    live = table[~table["is_dead"]].groupby("layer")["channel"].agg(list).to_dict()
    layers = run.layers()
    wanted = chosen_layers([layer.name for layer in layers if layer.is_real], job.visualize.layers)
    found: list[list[Unit]] = []
    for layer in layers:
        if layer.parent not in wanted or not (layer.is_real or _is_proof(job, layer)):
            continue
        its = live.get(layer.name, [])
        if layer.role == "null":
            # A thinned readout is another unit only where images are ranked; its picture would be one seen before.
            its = [
                channel for channel, reach in enumerate(reaches(run, layer.name)) if reach == 1 and channel in set(its)
            ]
        size = job.visualize.units_per_layer if layer.is_real else job.visualize.virtual_units
        found.append(_sample(job, layer, its, size))
    return found


def _is_proof(job: Job, layer: Layer) -> bool:
    """Whether a virtual layer is visualized, so that visualizations have their null and their proof as well."""
    return bool(job.visualize.virtual_units) and layer.role in ("null", "control", "planted")


def _sample(job: Job, layer: Layer, live: list[int], size: int) -> list[Unit]:
    if size and size < len(live):
        generator = np.random.default_rng(seed(job.seed, "visualized units", layer.name))
        live = sorted(generator.choice(live, size, replace=False).tolist())
    return [Unit(layer.name, int(channel)) for channel in live]


class Worker:
    """Holds the network, its trunk to the layer at hand, and the perceptual distance."""

    def __init__(self, job: Job, run: Run) -> None:
        self.job = job
        self.run = run
        self.units = [unit for units in _by_layer(job, run) for unit in units]
        self.reader = open_reader(job, run=run)
        self.distance = open_distance(job, self.reader.network)
        self.points = {point.layer: point for point in self.reader.points}

    def __call__(self, shard: Shard) -> dict[str, Columns]:
        """Visualizations of one range of units."""
        units = self.units[shard.start : shard.stop]
        layer = units[0].layer
        ascent = ascent_of(self.job.visualize, self.reader, self.points[layer])
        found = visualize(
            ascent,
            self.distance,
            [unit.channel for unit in units],
            elbow=elbow_settings(self.job.visualize),
            seed=lambda channel, index, tries: self._seed(layer, channel, index, tries),
        )
        return {
            "visualizations": _columns(layer, found),
            "data_visualizations": self._from_data(layer, [unit.channel for unit in units], ascent),
        }

    def _from_data(self, layer: str, channels: list[int], ascent: Ascent) -> Columns:
        """Images that begin as means of the units' exemplars."""
        made: list[tuple[int, DataStart]] = []
        for channel, windows in self._windows(layer, channels, ascent.shape.side):
            found = data_started(
                ascent,
                self.distance,
                channel,
                windows,
                clusters=self.job.visualize.data_starts,
                seed=seed(self.job.seed, "starts from data", layer, channel),
            )
            made += [(channel, each) for each in found]
        return {
            "layer": [layer] * len(made),
            "channel": [channel for channel, _ in made],
            "index": [each.index for _, each in made],
            "n_exemplars": [each.n_exemplars for _, each in made],
            "activation": np.array([each.activation for _, each in made], dtype=np.float32),
            "image": [_png(each.pixels) for _, each in made],
        }

    def _windows(
        self, layer: str, channels: list[int], side: int
    ) -> Iterator[tuple[int, UInt8[np.ndarray, "n y x c"]]]:
        """Each unit's exemplars around their peaks, where the job starts images from them."""
        if not self.job.visualize.data_starts:
            return
        rows = self.run.read("exemplars", ["channel", "image", *BOX], where={"layer": layer})
        rows = rows[rows["channel"].isin(channels)].sort_values("image", kind="stable")
        view = self.reader.network.preprocessing.view
        for channel, mine in rows.groupby("channel"):
            pictures = zip(self.images.read(mine["image"].tolist()), mine[BOX].itertuples(index=False), strict=True)
            windows = [window(view(p.pixels), box, side) for p, box in pictures if isinstance(p, Picture)]
            yield int(cast("int", channel)), np.stack(windows)

    @cached_property
    def images(self) -> ImageSource:
        """Asked for only where images start from exemplars."""
        return open_images(self.job)

    def _seed(self, layer: str, channel: int, index: int, tries: int) -> int:
        purpose = f"start image, {tries + 1}" if tries else "start image"
        return seed(self.job.seed, purpose, layer, channel, index)


def ascent_of(settings: VisualizeSettings, reader: Reader, point: ReadPoint) -> Ascent:
    """What makes images of a layer's units."""
    return ascent_to(reader, point, ascent_settings(settings), settings.precision, compiled=settings.compile)


def ascent_settings(settings: VisualizeSettings) -> AscentSettings:
    """The part of the job's settings that makes one image."""
    names = {"steps", "step_size", "objective", "jitter_px", "rotate_degrees", "scale", "batch", "canvas_px"}
    return AscentSettings(**settings.model_dump(include=names))


def elbow_settings(settings: VisualizeSettings) -> ElbowSettings:
    """The part of them that says when there are enough."""
    return ElbowSettings(**settings.model_dump(include={"threshold", "patience", "min_images", "max_images"}))


def _columns(layer: str, found: list[Visualization]) -> Columns:
    return {
        "layer": [layer] * len(found),
        "channel": [item.channel for item in found],
        "index": [item.index for item in found],
        "activation": np.array([item.activation for item in found], dtype=np.float32),
        "mean_distance": np.array([item.mean_distance for item in found]),
        "n_counted": [item.n_counted for item in found],
        "stop": [item.stop for item in found],
        "image": [_png(item.pixels) for item in found],
    }


def _png(pixels: UInt8[np.ndarray, "y x c"]) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0]).save(sink, format="PNG")
    return sink.getvalue()
