"""The untrained twin of a run: the same network with random weights, scanned with the same settings.

What the test calls in the twin, beyond its single-concept controls, was not learned. The twin is an ordinary run in a
folder beside the first one, so it can be resumed and opened like any other.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor

from polyscan import pipeline
from polyscan.errors import JobError
from polyscan.inputs import open_images, open_network, pinned_threads
from polyscan.inputs.batches import batches
from polyscan.job import Job
from polyscan.pipeline import STAGES
from polyscan.results import Results, stored_job
from polyscan.run import Run
from polyscan.run.reuse import require_finished
from polyscan.shards import seed
from polyscan.studies.layers import DEFAULT, UNTRAINED
from polyscan.studies.network_input import input_settings
from polyscan.studies.scanning import runner_for
from polyscan.vision.networks import Network, NetworkRequest, load_network
from polyscan.vision.norms import set_norm_statistics
from polyscan.vision.untrained import architecture_of

log = logging.getLogger("polyscan")

WEIGHTS = "untrained.safetensors"
NORM_IMAGES = 1024
"""Images that the batch norms of the twin take their statistics from."""


def twin_address(address: str) -> str:
    """The folder of a run's untrained twin.

    >>> twin_address("runs/digits/")
    'runs/digits-untrained'
    """
    return f"{address.rstrip('/')}-untrained"


def untrained_twin(
    address: str, *, on: str | None = None, workers: int | None = None, watcher: pipeline.Watcher | None = None
) -> str:
    """Scans the untrained twin of a finished run, or completes it, and returns its address.

    Args:
        address: the run.
        on: `local` or `ray`, as for a scan.
        workers: number of Ray workers, as for a scan.
        watcher: is notified of every shard.

    Raises:
        TableError: if there is no run, or it is not finished.
        JobError: if the run's own network is untrained, or the folder is not on a disk.
        ModelError: if weights of the network's own code can't be drawn anew.
    """
    base = Results(address).run
    require_finished(base, [stage.name for stage in STAGES])
    job = stored_job(base)
    if job.network.weights == UNTRAINED:
        raise JobError(
            f'{address} is a run of an untrained network (network.weights = "{UNTRAINED}"), so it has no untrained '
            "twin; give a run of a trained network"
        )
    twin = Run(twin_address(address))
    if not twin.storage.is_local:
        raise JobError(f"{twin.address} is not on a disk, where the twin's weights must lie; copy the run to a disk")
    with pinned_threads(job):
        trained = open_network(job)
        if not twin.storage.exists(WEIGHTS):
            twin.files.require_writable()
            twin.storage.put(WEIGHTS, untrained_weights(job, trained))
    with runner_for(on, workers, job.workers) as runner:
        pipeline.scan(_twin_job(job, trained, twin.storage.path(WEIGHTS)), twin, runner, watcher=watcher)
    return twin.address


def untrained_weights(job: Job, trained: Network, *, with_statistics: bool = True) -> bytes:
    """The twin's weights as a safetensors file: drawn as the library or the network's code draws them.

    An untrained batch norm has mean 0 and variance 1 whatever its inputs are, as no trained one has; in deep networks
    activations then vanish or grow from layer to layer. So batch norms get the statistics of their inputs on some of
    the run's images, as after a first epoch at a learning rate of 0.

    Args:
        job: the job of the run.
        trained: its network.
        with_statistics: whether batch norms get these statistics; else they keep 0 and 1.
    """
    settings: dict[str, Any] = {**_architecture(job), **input_settings(trained.preprocessing), "weights": UNTRAINED}
    drawn = NetworkRequest(**settings, folder=job.folder, seed=seed(job.seed, "untrained twin") % 2**63)
    network = load_network(drawn, trained.device)
    if with_statistics:
        n = set_norm_statistics(network.module, _inputs(job, network))
        log.info("untrained twin of %s: %d batch norms with statistics of the images", network.name, n)
    tensors = network.module.state_dict().items()
    return save({name: value.detach().cpu().clone().contiguous() for name, value in tensors if torch.is_tensor(value)})


def _inputs(job: Job, network: Network) -> Iterator[Float[Tensor, "b c y x"]]:
    """Whole batches of images spread over the source."""
    source = open_images(job)
    size = min(job.collect.batch, len(source))
    n = min(NORM_IMAGES, len(source))
    ids = [number * len(source) // n for number in range(n)]
    seen = batches(network, source, ids, size)
    return (batch.inputs for batch in islice(seen, n // size) if len(batch) == size)


def _architecture(job: Job) -> dict[str, Any]:
    """`[network]` without its weights, as the twin needs it."""
    architecture = architecture_of(job.network.name, job.network.weights or DEFAULT)
    return {**job.network.model_dump(exclude={"layers"}), "name": architecture.name, "weights_key": ""}


def _twin_job(job: Job, trained: Network, weights: str) -> Job:
    """The job of the twin: another file of weights, and the preprocessing that the trained network has."""
    changes = {**_architecture(job), **input_settings(trained.preprocessing), "weights": weights}
    network = job.network.model_copy(update=changes)
    title = f"{job.show.title or job.network.name}, untrained"
    return job.model_copy(update={"network": network, "show": job.show.model_copy(update={"title": title})})
