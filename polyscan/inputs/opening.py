"""What a job names, opened: its network, its read points, its images, its embedder and its perceptual distance."""

from __future__ import annotations

from polyscan.errors import JobError
from polyscan.images import ImageOptions, ImageSource
from polyscan.images import open_images as open_source
from polyscan.inputs.virtual import virtual_readouts
from polyscan.job import Job
from polyscan.nulls.null_sets import LAYER_REACHES, allowed
from polyscan.run import Run
from polyscan.vision.devices import pick_device, prepare_device
from polyscan.vision.embedders import Embedder, EmbedderRequest, load_embedder
from polyscan.vision.networks import Network, NetworkRequest, load_network
from polyscan.vision.perceptual import PerceptualDistance, load_distance
from polyscan.vision.readouts import Reader


def open_network(job: Job) -> Network:
    """The scanned network on the job's device, which is set up for it."""
    device = pick_device(job.device)
    prepare_device(device)
    request = NetworkRequest(**job.network.model_dump(exclude={"layers"}), folder=job.folder)
    return load_network(request, device)


def open_reader(job: Job, network: Network | None = None, *, run: Run | None = None) -> Reader:
    """The scanned network with its chosen layers; with those of a surveyed run, virtual ones among them."""
    network = network or open_network(job)
    return Reader(network, job.network.layers, virtual_readouts(run) if run is not None else None)


def open_images(job: Job) -> ImageSource:
    """The images that the network is shown.

    Raises:
        JobError: if there are fewer than the k exemplars that each unit is to have.
    """
    options = ImageOptions(**job.images.model_dump(exclude={"source"}))
    source = open_source(job.images.source, options=options)
    if len(source) < job.collect.k:
        raise JobError(
            f"`images.source` {job.images.source} has {len(source)} images, `collect.k` is {job.collect.k}; "
            "k must not be above the number of images: name more images or a smaller k"
        )
    try:
        allowed(LAYER_REACHES, job.collect.k, len(source)) if job.survey.readouts else ()
    except ValueError as error:
        raise JobError(
            f"`images.source` {job.images.source} and `collect.k` {job.collect.k} give no null: {error} "
            "Or go without p: survey.readouts = 0"
        ) from error
    return source


def open_embedder(job: Job, network: Network) -> Embedder:
    """The space in which evidence is compared; it may be made of the scanned network itself."""
    device = pick_device(job.device)
    return load_embedder(EmbedderRequest(job.embed.model, lambda: network, job.folder, job.embed.input_px, device))


def open_distance(job: Job, network: Network) -> PerceptualDistance:
    """The perceptual distance of the elbow."""
    return load_distance(job.visualize.distance, network=network, device=pick_device(job.device))
