"""Trains the networks of a study, each once: weights, and what the outputs answer to, are kept in the run's folder."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float32, Int64, Shaped
from safetensors.torch import save
from torch import Tensor, nn

from polyscan.errors import ImagesError, JobError
from polyscan.images import ImageSource, Picture
from polyscan.inputs import open_images, open_network
from polyscan.inputs.views import views
from polyscan.job import Job
from polyscan.shards import seed
from polyscan.storage import Storage
from polyscan.studies.network_input import input_settings
from polyscan.studies.validate.trained.design import ONE_CLASS, Layout, Output, designs, targets, usable_classes
from polyscan.studies.validate.trained.networks import SmallNetwork, Trunk, trunk_of, weights_name
from polyscan.studies.validate.trained.training import CPU, trained_head, trained_network
from polyscan.studies.validate.trained.truth import OutputTruth, output_truths
from polyscan.vision.preprocessing import Preprocessing

log = logging.getLogger("polyscan")

Kind = Literal["network", "head"]
"""What is trained: small networks, or linear layers on the features of the job's own network."""

PLAN = "plan.json"
LARGEST_SIDE = 32
"""Side in px of what a small network sees, or twice that of the images if they are smaller."""
AT_ONCE = 64
"""Images per forward pass."""
TRIED = 16
"""Images whose size is looked at."""
NO_LABEL = -1


@dataclass(frozen=True)
class Trained:
    """The trained networks of one study.

    Args:
        kind: what was trained.
        layout: whether merged classes have outputs of their own, too.
        folder: where their weights are.
        sizes: number of outputs of each network. Of small networks the last has an output for each class, and is
            scanned for its penultimate layer alone.
        preprocessing: of their images.
        truths: of every output but those of that last one.
        trained_on: which images they were trained on, in words.
        n_images: number of labelled training images.
        n_classes: number of classes in use.
    """

    kind: Kind
    layout: Layout
    folder: str
    sizes: list[int]
    preprocessing: Preprocessing
    truths: list[OutputTruth]
    trained_on: str
    n_images: int
    n_classes: int

    @property
    def n_networks(self) -> int:
        """Number of networks whose outputs are measured."""
        return 1 + max(truth.network for truth in self.truths)


@dataclass(frozen=True, eq=False)
class _LabelledInputs:
    """What a network is trained on or measured on: an input for each image, and its label, -1 for none."""

    values: Shaped[np.ndarray, "n ..."]
    labels: Int64[np.ndarray, " n"]


class _Making:
    """What differs between the kinds: how images are seen, and how a network is trained and read."""

    def __init__(self, job: Job, kind: Kind, layout: Layout) -> None:
        self.job = job
        self.kind: Kind = kind
        self.layout: Layout = layout
        self.scanned = open_images(job)
        self.network = open_network(job)
        whole = self.network.preprocessing
        self.preprocessing = whole.at(_side(self.scanned, whole)) if kind == "network" else whole
        self.trunk: Trunk | None = None

    def training_source(self) -> tuple[ImageSource, str]:
        """The images that networks are trained on, and which these are, in words."""
        part = self.job.images.part
        if part != "test":
            return self.scanned, "the scanned images"
        images = self.job.images.model_copy(update={"part": "train"})
        return open_images(self.job.model_copy(update={"images": images})), "the part `train` of the images"

    def labelled(self, source: ImageSource) -> _LabelledInputs:
        """All images of a source that can be read: what the network sees of them, or the features of its trunk."""
        seen = self._small if self.kind == "network" else self._features
        values: list[Shaped[np.ndarray, "b ..."]] = []
        labels: list[int] = []
        chunk: list[np.ndarray] = []
        for picture, view in views(self.preprocessing, source.read(range(len(source)))):
            labels.append(NO_LABEL if picture.label is None else picture.label)
            chunk.append(view)
            if len(chunk) == AT_ONCE:
                values.append(seen(np.stack(chunk)))
                chunk = []
        if chunk:
            values.append(seen(np.stack(chunk)))
        return _LabelledInputs(np.concatenate(values), np.array(labels, dtype=np.int64))

    def _small(self, chunk: Shaped[np.ndarray, "b y x c"]) -> Shaped[np.ndarray, "b y x c"]:
        return chunk

    def _features(self, chunk: Shaped[np.ndarray, "b y x c"]) -> Float32[np.ndarray, "b d"]:
        if self.trunk is None:
            self.trunk = trunk_of(head_settings(self.job, self.preprocessing), self.job.folder)
        with torch.inference_mode():
            return self.trunk(self.preprocessing.batch(chunk, CPU)).float().numpy()

    def train(self, images: _LabelledInputs, outputs: Sequence[Output], *, seed: int) -> nn.Module:
        """A network after training."""
        wanted = targets(images.labels, outputs, np.random.default_rng(seed))
        # Without merged outputs there is nothing to be beside: the outputs compete.
        is_merged = any(output.minor is not None for output in outputs)
        layout: Layout = self.layout if is_merged else "instead"
        if self.kind == "network":
            return trained_network(images.values, wanted, self.preprocessing, layout=layout, seed=seed)
        return nn.ModuleDict({"out": trained_head(images.values, wanted, layout=layout, seed=seed)})

    def activations(self, network: nn.Module, images: _LabelledInputs) -> Float32[np.ndarray, "n o"]:
        """The outputs of a network for each image."""
        run: Callable[[Any], Tensor]
        if isinstance(network, SmallNetwork):
            run = lambda chunk: network(self.preprocessing.batch(chunk, CPU))  # noqa: E731
        else:
            run = lambda chunk: network["out"](torch.from_numpy(chunk))  # pyright: ignore  # noqa: E731
        with torch.inference_mode():
            starts = range(0, len(images.values), AT_ONCE)
            return np.concatenate([run(images.values[start : start + AT_ONCE]).numpy() for start in starts])


def head_settings(job: Job, preprocessing: Preprocessing) -> dict[str, Any]:
    """`[network]` of the job's own network, of which heads read the features."""
    return {**job.network.model_dump(exclude={"layers"}), **input_settings(preprocessing)}


def made(job: Job, kind: Kind, storage: Storage, *, per_strength: int, layout: Layout = "beside") -> Trained:
    """Trains what is not trained yet.

    Args:
        job: the settings of the validation.
        kind: what is trained.
        storage: the study's folder, on a disk.
        per_strength: merged outputs of each strength, over all networks.
        layout: whether merged classes have outputs of their own, too.

    Raises:
        ImagesError: if there are too few labelled images.
        JobError: if the folder has networks of other settings.
    """
    making = _Making(job, kind, layout)
    source, trained_on = making.training_source()
    images = making.labelled(source)
    classes = usable_classes(images.labels)
    plans = designs(classes, per_strength, layout=layout, run_seed=job.seed)
    if kind == "network":
        plans.append([Output(ONE_CLASS, label) for label in classes])
    _settle(storage, _facts(making, source, plans))
    # Read when the first network needs it: nothing is measured again in a folder where all is done.
    scanned: list[_LabelledInputs] = [images] if source is making.scanned else []
    truths: list[OutputTruth] = []
    for place, outputs in enumerate(plans):
        if not storage.exists(_truth_name(place)):
            if not scanned:
                scanned.append(making.labelled(making.scanned))
            _make(making, storage, place, outputs, images=images, scanned=scanned[0])
        truths += [OutputTruth(**row) for row in json.loads(storage.read(_truth_name(place)))]
    last = len(plans) if kind == "head" else len(plans) - 1
    return Trained(
        kind=kind,
        layout=layout,
        folder=storage.path(),
        sizes=[len(outputs) for outputs in plans],
        preprocessing=making.preprocessing,
        truths=[truth for truth in truths if truth.network < last],
        trained_on=trained_on,
        n_images=int((images.labels >= 0).sum()),
        n_classes=len(classes),
    )


def _make(
    making: _Making,
    storage: Storage,
    place: int,
    outputs: Sequence[Output],
    *,
    images: _LabelledInputs,
    scanned: _LabelledInputs,
) -> None:
    """Trains one network and files its weights, then what its outputs answer to: that file says that it is done."""
    draw = seed(making.job.seed, f"validate trained: {making.kind}", "", place)
    network = making.train(images, outputs, seed=draw)
    storage.put(weights_name(place), save({name: value.contiguous() for name, value in network.state_dict().items()}))
    activations = making.activations(network, scanned)
    rows = list(output_truths(place, activations, scanned.labels, outputs, k=making.job.k))
    storage.put(_truth_name(place), json.dumps([asdict(row) for row in rows], indent=1).encode())
    area = float(np.nanmean([row.own_auroc for row in rows]))
    log.info("trained %s %d: %d outputs, AUROC of their own images %.3f", making.kind, place, len(outputs), area)


def _truth_name(place: int) -> str:
    return f"{place:03d}.json"


def _facts(making: _Making, source: ImageSource, plans: Iterable[Sequence[Output]]) -> dict[str, Any]:
    """All that the trained networks depend on, and what is measured of them, as plain values."""
    job = making.job
    return {
        "seed": job.seed,
        "layout": making.layout,
        "k": job.k,
        "network": making.network.digest if making.kind == "head" else "",
        "input": {name: str(value) for name, value in input_settings(making.preprocessing).items()},
        "images": [source.digest, making.scanned.digest],
        "outputs": [[asdict(output) for output in outputs] for outputs in plans],
    }


def _settle(storage: Storage, facts: Mapping[str, Any]) -> None:
    """Files what the networks depend on, or refuses a folder with networks that depend on something else."""
    if not storage.exists(PLAN):
        storage.put(PLAN, json.dumps(facts).encode())
        return
    before = json.loads(storage.read(PLAN))
    if other := [name for name, value in facts.items() if before.get(name) != value]:
        raise JobError(
            f"{storage.address} holds networks trained with other settings ({', '.join(other)} differ); use a new --run"
        )


def _side(source: ImageSource, preprocessing: Preprocessing) -> int:
    """The side of a small network's input: at most 32 px, at most the network's own, at most twice the images'."""
    entries = source.read(range(min(TRIED, len(source))))
    sides = [min(entry.pixels.shape[:2]) for entry in entries if isinstance(entry, Picture)]
    if not sides:
        raise ImagesError(f"none of the first {TRIED} images can be read; `polyscan scan` says why")
    return min(LARGEST_SIDE, *preprocessing.size, 2 * int(np.median(sides)))
