"""The cost of `picture`: one sprite for each live unit."""

from __future__ import annotations

import math

from polyscan.scores.sample import MOST_PARTS
from polyscan.studies.plan.outlook import Outlook
from polyscan.studies.plan.row import PlanRow

PIXEL_BYTES = 0.27
"""Bytes per pixel of a sprite, for photos as JPEG."""
TILE_BYTES = 6
"""Bytes of a tile's row on disk."""
PICTURING_S, READING_S = 4e-3, 0.05
"""Seconds to draw a sprite, and to read a shard."""
HELD = 200e6
"""Bytes in memory."""


def cost(outlook: Outlook) -> PlanRow:
    """One sprite per live unit, of at most `crops` tiles and `per_cluster` more for each of five clusters."""
    job = outlook.job
    sizes = [layer.n_judged for layer in outlook.layers]
    tiles = sum(sizes) * _crops(outlook) + _visualized(outlook) * job.picture.visualizations
    shards = sum(math.ceil(n / job.picture.units_per_shard) for n in sizes) if tiles else 0
    rows = (1 + _most_crops(outlook)) * sum(sizes) + _visualized(outlook) * _most_visualizations(outlook)
    seconds = sum(sizes) * PICTURING_S + shards * READING_S
    return PlanRow("picture", shards, rows * bool(tiles), sprite_bytes(outlook) + rows * TILE_BYTES, seconds, HELD)


def sprite_bytes(outlook: Outlook) -> float:
    """Bytes of all sprites on disk."""
    job = outlook.job
    units = sum(layer.n_judged for layer in outlook.layers)
    crops = units * _crops(outlook) * job.embed.thumbnail_px**2
    visualizations = _visualized(outlook) * job.picture.visualizations * job.picture.visualization_px**2
    return PIXEL_BYTES * (crops + visualizations)


def _crops(outlook: Outlook) -> int:
    """Tiles of the strongest crops of a unit."""
    job = outlook.job
    second = min(job.picture.second, job.n_half) if outlook.second_layers else 0
    return min(job.picture.crops, outlook.n) + second if job.embed.thumbnail_px else 0


def _most_crops(outlook: Outlook) -> int:
    """Tiles of a unit, if none of the strongest crops of its clusters is among its own strongest."""
    job = outlook.job
    most = job.picture.crops + MOST_PARTS * job.picture.per_cluster if job.picture.crops else 0
    second = min(job.picture.second, job.n_half) if outlook.second_layers else 0
    return (min(most, outlook.n) + second) * (job.embed.thumbnail_px > 0)


def _most_visualizations(outlook: Outlook) -> int:
    """Tiles of visualizations: the strongest, one of each cluster, and those started from exemplars."""
    job = outlook.job
    if not job.picture.visualizations:
        return 0
    from_exemplars = min(job.picture.visualizations, job.visualize.data_starts)
    return min(job.picture.visualizations + job.score.max_clusters, job.visualize.max_images) + from_exemplars


def _visualized(outlook: Outlook) -> int:
    """Number of units that are visualized, without null readouts."""
    return sum(layer.n_visualized - layer.n_null_visualized for layer in outlook.layers)
