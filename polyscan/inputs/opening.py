"""Opens what a job names: its network, read points, images, embedder and perceptual distance."""

from __future__ import annotations

from polyscan.errors import JobError
from polyscan.images import ImageOptions, ImageSource
from polyscan.images import open_images as open_source
from polyscan.inputs.virtual import OF_INPUTS, OWN, of_kind, virtual_readouts
from polyscan.inputs.wording import with_vocabulary
from polyscan.job import Job, settled
from polyscan.nulls.null_sets import LAYER_REACHES, allowed
from polyscan.run import Run
from polyscan.vision.channels import COLOURS
from polyscan.vision.devices import pick_device, prepare_device
from polyscan.vision.embedders import Embedder, EmbedderRequest, load_embedder
from polyscan.vision.networks import Network, NetworkRequest, load_network
from polyscan.vision.perceptual import PerceptualDistance, load_distance
from polyscan.vision.readouts import Reader


def open_network(job: Job) -> Network:
    """The scanned network on the job's device, which is prepared for it."""
    device = pick_device(job.device)
    prepare_device(device)
    request = NetworkRequest(**job.network.model_dump(exclude={"layers"}), folder=job.folder)
    return load_network(request, device)


def open_reader(job: Job, network: Network | None = None, *, run: Run | None = None) -> Reader:
    """The scanned network with its chosen layers; with a surveyed run, also the virtual layers."""
    network = network or open_network(job)
    if run is None:
        return Reader(network, job.network.layers)
    virtual = virtual_readouts(run)
    return Reader(network, job.network.layers, of_kind(virtual, OWN), of_kind(virtual, OF_INPUTS))


def open_images(job: Job) -> ImageSource:
    """The scanned images.

    Raises:
        JobError: if there are too few images for k exemplars per unit, or for a null.
    """
    options = ImageOptions(**job.images.model_dump(exclude={"source"}))
    source = open_source(job.images.source, options=options)
    job = settled(job, len(source))
    if len(source) < job.k:
        raise JobError(
            f"`images.source` {job.images.source} has {len(source)} images, `collect.k` is {job.k}; "
            "k must not be above the number of images: scan more images or lower k"
        )
    if job.survey.readouts:
        _check_null(job, len(source))
    return source


def settled_job(job: Job) -> Job:
    """The job with k as a number, for which the images are opened if it names none; what a command does first.

    Raises:
        JobError: as `open_images`.
        ImagesError: if the images can't be opened.
    """
    return job if job.collect.k is not None else settled(job, len(open_images(job)))


def _check_null(job: Job, n_images: int) -> None:
    try:
        allowed(LAYER_REACHES, job.k, n_images)
    except ValueError as error:
        raise JobError(
            f"`images.source` {job.images.source} and `collect.k` {job.k} give no null: {error} "
            "Or scan without p-values: survey.readouts = 0"
        ) from error


def open_embedder(job: Job, network: Network) -> Embedder:
    """The embedder whose space evidence is compared in; it may be made of the scanned network itself.

    Raises:
        JobError: if it can't embed the job's words, the network's crops or the job's visualizations.
        ModelError: if it can't be loaded.
    """
    device, settings = pick_device(job.device), job.embed
    request = EmbedderRequest(
        settings.model, lambda: network, job.folder, settings.input_px, device, classes=settings.classes
    )
    embedder = with_vocabulary(load_embedder(request), settings.vocabulary)
    _check_channels(job, embedder, network.preprocessing.channels)
    return embedder


def _check_channels(job: Job, embedder: Embedder, of_crops: int) -> None:
    channels = embedder.preprocessing.channels
    if channels not in (1, COLOURS, of_crops):
        raise JobError(
            f"`embed.model` {embedder.name} takes {channels} channels, the network's images have {of_crops}; allowed "
            f"is an embedder of 1, {COLOURS} or as many channels. Choose another"
        )
    if job.visualize.enabled and channels not in (1, COLOURS):
        raise JobError(
            f"`embed.model` {embedder.name} takes {channels} channels, but visualizations are stored with at most "
            f"{COLOURS}; allowed is an embedder of 1 or {COLOURS} channels. Choose another, or set `visualize.enabled` "
            "= false"
        )


def open_distance(job: Job, network: Network) -> PerceptualDistance:
    """The perceptual distance that the elbow uses."""
    return load_distance(job.visualize.distance, network=network, device=pick_device(job.device))
