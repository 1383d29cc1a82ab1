"""Checks the network on images of the source before it is scanned, in the driver and in each worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from polyscan.errors import JobError, ModelError
from polyscan.images import ImageSource
from polyscan.inputs.threads import pinned_threads
from polyscan.inputs.views import views
from polyscan.job import Job
from polyscan.run import Run
from polyscan.vision.checking import Values, check_reading, values_on, values_on_noise
from polyscan.vision.networks import Network
from polyscan.vision.readouts import Reader
from polyscan.vision.trial import example

TRIED = 16
"""Images that are tried to find two different ones that can be read."""
SAME = 1e-3
"""Largest difference between two machines' sums of peaks, relative to their length; kinds of CPU differ by 1e-6."""


def check_network(job: Job, reader: Reader, images: ImageSource) -> Values:
    """Checks that each image has its own peaks, alone or in a batch, now and again; see `check_reading`.

    Returns:
        what the network gives for two of the images; see `values_on`.

    Raises:
        ModelError: if it has not.
    """
    inputs = _two_inputs(reader.network, images)
    with pinned_threads(job):
        check_reading(reader, inputs)
        return values_on(reader, inputs)


def _two_inputs(network: Network, images: ImageSource) -> Float[Tensor, "2 c y x"]:
    """Inputs of two different images, from all over the source; of noise in place of those that can't be had."""
    count = min(TRIED, len(images))
    inputs: list[Tensor] = []
    entries = images.read([number * len(images) // count for number in range(count)])
    for _, view in views(network.preprocessing, entries):
        new = network.preprocessing.batch(view[None], network.device)
        if not inputs or not torch.equal(new, inputs[0]):
            inputs.append(new)
        if len(inputs) == 2:
            break
    return torch.cat([*inputs, example(network, 2)])[:2]


def check_worker(job: Job, run: Run, network: Network, images: ImageSource | None = None) -> None:
    """Checks that a worker has the network and the images of the run, and that the network gives each image its peaks.

    Own code may draw its weights anew in each process, and another machine may hold other files.

    Args:
        job: the settings.
        run: the results folder; one that no driver has prepared has nothing to compare with.
        network: the worker's.
        images: the worker's; None if it reads none.

    Raises:
        ModelError: if the network differs from the driver's, or fails `check_network`.
        JobError: if the images differ from the driver's.
    """
    about = run.manifest()
    reader = Reader(network, job.network.layers)
    with pinned_threads(job):
        _check_values(about, "values_on_noise", reader, values_on_noise(reader))
    if about and about["network"]["digest"] != network.digest:
        raise ModelError(_other(reader, "weights"))
    if images is None:
        return
    if about:
        _check_images(about, job, images)
    _check_values(about, "values_on_images", reader, check_network(job, reader, images))


def _check_images(about: Mapping[str, Any], job: Job, images: ImageSource) -> None:
    if about["images"]["digest"] != images.digest:
        raise JobError(
            f"the images at {job.images.source} are not those that the scan began with: files were added, removed or "
            "changed, or this machine has others. Restore them, or use a new --run"
        )


def _check_values(about: Mapping[str, Any], name: str, reader: Reader, values: Values) -> None:
    if other := different_layers(about["network"][name] if about else {}, values):
        raise ModelError(_other(reader, f"values at layer {other[0]}"))


def _other(reader: Reader, what: str) -> str:
    return (
        f"{reader.network.name} has other {what} in this process than where the scan was started: its code or its "
        "weights differ, or it draws random weights (seed every generator that it uses)"
    )


def different_layers(before: Mapping[str, Sequence[float]], now: Values) -> list[str]:
    """The layers of both whose values differ by more than rounding, in forward order."""
    layers: list[str] = []
    for layer, (value, length) in now.items():
        then, then_length = before.get(layer, (value, length))
        if abs(value - then) > SAME * max(length, then_length):
            layers.append(layer)
    return layers
