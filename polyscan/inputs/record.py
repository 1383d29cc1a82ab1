"""What a run records about its inputs: digests for fingerprints, and facts for people."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

from polyscan.images import ImageSource
from polyscan.inputs.checking import check_network
from polyscan.inputs.directions import directions_digest, open_directions
from polyscan.inputs.naming import namer_digests, open_namer
from polyscan.inputs.opening import open_distance, open_embedder, open_reader
from polyscan.inputs.vocabulary import vocabulary_digest
from polyscan.job import Job
from polyscan.vision.checking import values_on_noise
from polyscan.vision.devices import arithmetic
from polyscan.vision.embedders import Embedder
from polyscan.vision.own_sources import own_code_digest
from polyscan.vision.readouts import Reader, chosen_layers

PACKAGES = ("polyscan", "torch", "pyarrow", "numpy", "scikit-learn")


def digests_and_facts(job: Job, images: ImageSource) -> tuple[dict[str, str], dict[str, Any]]:
    """Opens and checks all inputs of a job; returns their digests, and what its run records about them.

    Raises:
        PolyscanError: if one of them can't be used as the job says.
    """
    reader = open_reader(job)
    about_network = _about_network(job, reader)
    about_network["network"]["values_on_images"] = check_network(job, reader, images)
    embedder = open_embedder(job, reader.network)
    namer = open_namer(job, reader.network)
    distance = _distance_version(job, reader)
    directions = open_directions(job, reader)
    digests = {
        "network": about_network["network"]["digest"],
        "code": own_code_digest(job.network.name, job.folder),
        "images": images.digest,
        "directions": directions_digest(directions),
        "distance": str(distance),
        "embedder": embedder.digest + own_code_digest(job.embed.model, job.folder),
        "words": vocabulary_digest(job.embed.vocabulary),
        **namer_digests(job, namer),
    }
    about = {
        **about_network,
        "images": {**_about_images(images), "source": job.images.source, "digest": digests["images"]},
        "embedder": _about_embedder(embedder),
        "distance": distance,
        "directions": {
            "digest": digests["directions"],
            "layers": {layer: len(of_layer.weights) for layer, of_layer in directions.items()},
        },
        **_about_machine(),
    }
    return digests, about


def _distance_version(job: Job, reader: Reader) -> str | None:
    """Version of the perceptual distance; None if the job makes no visualizations."""
    if not job.visualize.enabled:
        return None
    chosen_layers([point.layer for point in reader.points], job.visualize.layers)  # raises if a name is wrong
    return open_distance(job, reader.network).version


def _about_network(job: Job, reader: Reader) -> dict[str, Any]:
    network = {
        "name": job.network.name,
        "weights": job.network.weights,
        "weights_taken": reader.network.weights_taken,
        "is_untrained": reader.network.is_untrained,
        "digest": reader.network.digest,
        "values_on_noise": values_on_noise(reader),
    }
    return {
        "network": network,
        "left_out": dict(reader.left_out),
        "is_traced": reader.is_traced,
        "untraced_because": reader.untraced_because,
        "input_px": reader.network.preprocessing.input_px,
        "device": str(reader.network.device),
    }


def _about_images(images: ImageSource) -> dict[str, Any]:
    return {"n": len(images), "labels": images.labels, "left_out": images.left_out}


def _about_embedder(embedder: Embedder) -> dict[str, Any]:
    return {"name": embedder.name, "digest": embedder.digest, "input_px": embedder.preprocessing.input_px}


def _about_machine() -> dict[str, Any]:
    return {
        "versions": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "gpu": arithmetic(),
    }
