"""ConSE: a classifier as the image side of a space of words, so that images have names without a CLIP image tower."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from polyscan.errors import ModelError
from polyscan.vision.embedders.embedder import Embedder, EmbedderRequest
from polyscan.vision.embedders.trunk import library_network
from polyscan.vision.networks import Network
from polyscan.vision.text_tables import TextTable, load_text_table

TOP = 10
SCANNED = "scanned"


def of_classifier(request: EmbedderRequest) -> Embedder:
    """`conse:LIBRARY:NAME/WEIGHTS` or `conse:scanned`: an image's vector is that of the classes it may be.

        f(x) = sum over the top 10 classes of p(class | x) v(class) / sum of these p

    v is the text vector of a class, a row of the table `classes`. Words are looked up in tables, too.

    Source: Norouzi et al. 2014, "Zero-shot learning by convex combination of semantic embeddings", arXiv 1312.5650,
    eq. 3, with T = 10.

    Raises:
        ModelError: if the network is no classifier of as many classes as the table has rows.
    """
    inner = request.model.partition(":")[2]
    if not request.classes:
        raise ModelError(
            f'embedder "{request.model}" needs a table with a text vector for each class of the network; set `classes` '
            "= FILE.safetensors#KEY beside `model`"
        )
    table = load_text_table(request.classes)
    is_scanned = inner == SCANNED
    network = request.scanned() if is_scanned else library_network(replace(request, model=inner))
    network = replace(network, preprocessing=network.preprocessing.at(request.input_px))
    _check_classes(network, table, request.model)
    digest = hashlib.sha256(f"{network.digest} {table.digest}".encode()).hexdigest()
    encode = convex_combination(network, table)
    return Embedder(
        request.model, network.preprocessing, network.device, encode, digest, table.words, table.distinct_names
    )


def _check_classes(network: Network, table: TextTable, model: str) -> None:
    height, width = network.preprocessing.size
    example = torch.zeros(2, network.preprocessing.channels, height, width, device=network.device)
    with torch.inference_mode():
        output = network.module(example)
    shape = tuple(output.shape) if isinstance(output, Tensor) else ()
    if len(shape) != 2 or shape[0] != 2:
        raise ModelError(
            f"{model} gives {shape or type(output).__name__} for 2 images; ConSE needs a classifier, which gives one "
            "number for each class: (2, classes). Choose another network"
        )
    if shape[1] != len(table):
        raise ModelError(
            f"the table {table.address} has {len(table)} rows, but {model} has {shape[1]} classes; `classes` must have "
            "one row for each class, in the network's order. Name the table of its classes"
        )


def convex_combination(network: Network, table: TextTable) -> torch.nn.Module:
    """The module from inputs to the mean text vector of their likeliest classes."""
    return _Combination(network.module, torch.from_numpy(table.vectors).to(network.device))


class _Combination(torch.nn.Module):
    def __init__(self, classifier: torch.nn.Module, vectors: Float[Tensor, "classes d"]) -> None:
        super().__init__()
        self.classifier = classifier
        self.vectors = vectors

    def forward(self, batch: Float[Tensor, "b c y x"]) -> Float[Tensor, "b d"]:
        """A vector for each image."""
        chances = self.classifier(batch).float().softmax(dim=1)
        top = chances.topk(min(TOP, chances.shape[1]), dim=1)
        weights = top.values / top.values.sum(dim=1, keepdim=True)
        return torch.einsum("bt,btd->bd", weights, self.vectors[top.indices])
