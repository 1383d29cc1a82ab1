"""Networks up to the input of their last layer: torchvision's, timm's, and the scanned network itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from polyscan.errors import ModelError
from polyscan.vision.embedders.embedder import Embedder, EmbedderRequest, checked, unknown
from polyscan.vision.networks import Network, NetworkRequest, load_network
from polyscan.vision.readouts.channel_axes import layer_axis
from polyscan.vision.readouts.cutting import ending_at
from polyscan.vision.readouts.layouts import N_MORE, layouts_of
from polyscan.vision.readouts.places import Places
from polyscan.vision.readouts.structure import structure_of
from polyscan.vision.tracing import LAYER_TYPES, folded, function_name
from polyscan.vision.trial import example


def of_scanned(request: EmbedderRequest) -> Embedder:
    """The scanned network itself."""
    return _of_network(request.model, request.scanned(), request.input_px)


def of_library(request: EmbedderRequest) -> Embedder:
    """A network of torchvision or timm with its weights."""
    return _of_network(request.model, library_network(request), request.input_px)


def library_network(request: EmbedderRequest) -> Network:
    """The whole network of torchvision or timm, with its own preprocessing.

    Raises:
        ModelError: if the name is wrong or lacks its weights, or these can't be loaded.
    """
    library = request.model.partition(":")[0]
    name, weights = request.name_and_weights
    if library not in ("torchvision", "timm") or not name:
        raise ModelError(unknown(request.model))
    if not weights:
        raise ModelError(
            f'embedder "{request.model}" has no weights in its name; write {request.model}/WEIGHTS, as in '
            "torchvision:resnet18/IMAGENET1K_V1"
        )
    try:
        return load_network(NetworkRequest(f"{library}:{name}", weights, request.folder), request.device)
    except ModelError as error:  # its advice is about the scanned network
        why = str(error).partition("; put them")[0]
        raise ModelError(
            f'embedder "{request.model}": {why}; allowed is any that can be loaded, among them `embed.model` = '
            '"penultimate", the scanned network itself'
        ) from error


def _of_network(name: str, network: Network, input_px: int | None) -> Embedder:
    network = replace(network, preprocessing=network.preprocessing.at(input_px))
    body = penultimate(network)
    return checked(Embedder(name, network.preprocessing, network.device, body, network.digest))


@dataclass(frozen=True)
class _Body:
    """The network up to the input of its last layer, and that layer: its module, or its function's name."""

    layer: nn.Module | str
    run: Callable[[Tensor], Tensor]


def penultimate(network: Network) -> Callable[[Tensor], Float[Tensor, "b d"]]:
    """The network up to the input of its last linear layer or convolution, averaged over positions if it has some.

    Dropout and flattening before that layer change nothing in eval mode.

    Raises:
        ModelError: if it has no such layer, or the layer's input is not divided among the images.
    """
    body = _body(network)
    images = example(network, N_MORE)
    with torch.no_grad():
        axis = layer_axis(body.layer, tuple(body.run(images).shape))
        (_, layout), *_ = layouts_of({"input": axis}, lambda few, see: see("input", body.run(few)), images).values()
    if layout is None:
        raise ModelError(f"the input of the last layer of {network.name} is not divided among the images of a batch")
    return lambda batch: layout.maps(body.run(batch)).mean(dim=(2, 3))


def _body(network: Network) -> _Body:
    graph = structure_of(network).graph
    layers = Places(graph).own_places if graph is not None else {}
    if graph is None or not layers:  # then a hook records the input
        return _hooked(network.module, example(network, N_MORE))
    head = list(layers)[-1]
    module = folded(ending_at(graph, head.all_input_nodes[0].name))
    return _Body(graph.get_submodule(str(head.target)) if head.op == "call_module" else function_name(head), module)


def _hooked(network: nn.Module, images: Tensor) -> _Body:
    """The body of a network that can't be traced: the input of the last layer called, whatever the modules' order."""
    layers = [part for part in network.modules() if isinstance(part, LAYER_TYPES)]
    if not layers:
        raise ModelError(
            f"{type(network).__name__} has no linear or convolutional layer whose input could be the embedding"
        )
    called: list[tuple[nn.Module, Tensor]] = []

    def record(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        called[:] = [(layer, inputs[0])]

    def run(batch: Tensor) -> Tensor:
        hooks = [layer.register_forward_pre_hook(record) for layer in layers]
        try:
            network(batch)
        finally:
            for hook in hooks:
                hook.remove()
        return called[0][1]

    with torch.no_grad():
        run(images)
    return _Body(called[0][0], run)
