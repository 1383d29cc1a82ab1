"""The layers that a job scans and the units of each, found without weights."""

from __future__ import annotations

from collections.abc import Sequence

from polyscan.errors import ModelError, suggestion
from polyscan.inputs import open_reader
from polyscan.job import Job
from polyscan.vision.memory import enough_memory
from polyscan.vision.own_sources import is_own_code
from polyscan.vision.readouts import Reader, ReadPoint
from polyscan.vision.untrained import architecture_of

UNTRAINED = "random"
"""`network.weights` of a network with random weights."""
DEFAULT = "DEFAULT"
"""The name that torchvision gives to the weights that are taken if none are named."""
EVERY = "*"
"""`network.layers` for all layers and all blocks."""


def untrained_reader(job: Job, *, every: bool = False) -> Reader:
    """The job's network with random weights and its chosen layers; no weights are fetched or read.

    Args:
        job: the job.
        every: all layers and blocks of the network, not only those that the job scans.

    Raises:
        ModelError: as for a scan, except for what is wrong with the weights.
    """
    job = untrained(job)
    if every:
        job = job.model_copy(update={"network": job.network.model_copy(update={"layers": EVERY})})
    with enough_memory(job.network.name, job.network.input_px):
        return open_reader(job)


def untrained(job: Job) -> Job:
    """The same job with random weights, on the CPU: layers depend on neither weights nor devices."""
    architecture = architecture_of(job.network.name, job.network.weights or DEFAULT)
    input_px = job.network.input_px or architecture.input_px
    if is_own_code(job.network.name):
        changes = {"weights": "", "weights_key": ""}
        return job.model_copy(update={"network": job.network.model_copy(update=changes), "device": "cpu"})
    changes = {"name": architecture.name, "input_px": input_px, "weights": UNTRAINED, "weights_key": ""}
    return job.model_copy(update={"network": job.network.model_copy(update=changes), "device": "cpu"})


def starting_with(points: Sequence[ReadPoint], prefixes: Sequence[str]) -> list[ReadPoint]:
    """The points of layers whose names begin with one of these prefixes; all points if there are none.

    Raises:
        ModelError: if a prefix fits no layer.
    """
    names = [point.layer for point in points]
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in names):
            raise ModelError(f'no layer begins with "{prefix}"; {suggestion(prefix, _beginnings(names))}')
    return [point for point in points if not prefixes or point.layer.startswith(tuple(prefixes))]


def _beginnings(names: Sequence[str]) -> list[str]:
    """The names and all that they begin with up to a dot, each once, the shortest first."""
    parts = (name.split(".") for name in names)
    beginnings = {".".join(part[:n]): n for part in parts for n in range(1, len(part) + 1)}
    return sorted(beginnings, key=lambda name: beginnings[name])
