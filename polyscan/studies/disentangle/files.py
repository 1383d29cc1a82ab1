"""What disentangling writes: directions, a table of what they are, their images, a job that scans them, and splits."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
from safetensors.numpy import save_file

from polyscan.job import Job
from polyscan.maps.urls import slug
from polyscan.studies.disentangle.parts import UnitPart, by_layer
from polyscan.units import DIRECTION, Unit, virtual_layer
from polyscan.vision.split_layers import Splits, save_splits

PARTS_TABLE, ITEMS_TABLE, JOB_FILE, SPLITS_FILE, SPLIT_JOB = (
    "parts.csv",
    "items.csv",
    "job.toml",
    "splits.safetensors",
    "split-job.toml",
)
PARTS_HEAD = (
    *("unit", "how", "part", "layer", "channel", "threshold", "separation", "n"),
    *("explained", "explained_by_all"),
)
Shares = Mapping[tuple[Unit, int], tuple[float, float]]


def write_directions(folder: Path, parts: Sequence[UnitPart], of: str) -> dict[str, str]:
    """One file of directions for each layer, with the parts' names; returns the files by layer."""
    files: dict[str, str] = {}
    for number, (layer, of_layer) in enumerate(by_layer(parts).items()):
        path = folder / f"{number:02d}-{slug(layer)}.safetensors"
        weights = np.stack([part.weights for part in of_layer])
        bias = np.array([part.bias for part in of_layer])
        names = json.dumps([part.name for part in of_layer])
        save_file({"weights": weights, "bias": bias}, path, {"names": names, "of": of})
        files[layer] = str(path)
    return files


def places(parts: Sequence[UnitPart]) -> dict[tuple[Unit, int], Unit]:
    """Under which unit each part is scanned, by its whole and number."""
    return {
        (part.unit, part.number): Unit(virtual_layer(layer, DIRECTION), channel)
        for layer, of_layer in by_layer(parts).items()
        for channel, part in enumerate(of_layer)
    }


def write_tables(folder: Path, parts: Sequence[UnitPart], shares: Shares, threshold: float) -> None:
    """`parts.csv`: what each part is; `items.csv`: the images that it was found on."""
    at = places(parts)
    with (folder / PARTS_TABLE).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(PARTS_HEAD)
        for part in parts:
            scanned, (share, every) = at[part.unit, part.number], shares[part.unit, part.number]
            numbers = (f"{part.separation:.6g}", len(part.images), f"{share:.6g}", f"{every:.6g}")
            writer.writerow([part.unit, part.how, part.number, scanned.layer, scanned.channel, threshold, *numbers])
    with (folder / ITEMS_TABLE).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("unit", "part", "image"))
        writer.writerows((part.unit, part.number, image) for part in parts for image in part.images.tolist())


def write_job(folder: Path, job: Job) -> None:
    """The job that scans the parts."""
    (folder / JOB_FILE).write_text(job.to_toml(), encoding="utf-8")


def write_splits(folder: Path, parts: Sequence[UnitPart], job: Job, preprocessing: Mapping[str, Any]) -> None:
    """The splits of channels, and a job that scans the split network; nothing if no part is of a split."""
    splits: dict[str, dict[int, torch.Tensor]] = {}
    for part in parts:
        if len(part.sharing):
            splits.setdefault(part.unit.layer, {})[part.unit.channel] = torch.from_numpy(part.sharing)
    if splits:
        save_splits(folder / SPLITS_FILE, splits)
        content = split_job(job, splits, str((folder / SPLITS_FILE).resolve()), preprocessing)
        (folder / SPLIT_JOB).write_text(tomli_w.dumps(content), encoding="utf-8")


def split_job(job: Job, splits: Splits, path: str, preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    """The job's settings with the split network in place of its network, and without directions."""
    content = job.model_dump(mode="json", exclude_none=True)
    named = job.network.name.rpartition(":")[0]
    options = {"network": job.network.name, "splits": path, "weights": job.network.weights, "folder": job.folder}
    if named not in ("torchvision", "timm"):
        options["input_px"] = preprocessing["input_px"]
    layers = [f"{layer}.parts" if layer in splits else layer for layer in _names(job)]
    missing = [f"{layer}.parts" for layer in splits if f"{layer}.parts" not in layers]
    network = {**content["network"], **preprocessing}
    network |= {"name": "polyscan.vision.split_layers:split_network", "weights": "", "options": options}
    return {**content, "directions": {}, "network": {**network, "layers": [*layers, *missing]}}


def _names(job: Job) -> list[str]:
    layers = job.network.layers
    return [layers] if isinstance(layers, str) else list(layers)
