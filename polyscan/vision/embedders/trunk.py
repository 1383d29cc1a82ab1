"""Networks up to the input of their last layer: torchvision's, timm's, and the scanned network itself."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, fx, nn

from polyscan.errors import ModelError
from polyscan.vision.embedders.embedder import Embedder, EmbedderRequest, checked, unknown
from polyscan.vision.networks import Network, NetworkRequest, load_network
from polyscan.vision.readouts.cutting import ending_at
from polyscan.vision.tracing import LAYER_TYPES, folded, traced


def of_scanned(request: EmbedderRequest) -> Embedder:
    """The scanned network itself."""
    return _of_network(request.model, request.scanned(), request.input_px)


def of_library(request: EmbedderRequest) -> Embedder:
    """A network of torchvision or timm with its weights."""
    library = request.model.partition(":")[0]
    name, weights = request.name_and_weights
    if not name:
        raise ModelError(unknown(request.model))
    if not weights:
        raise ModelError(
            f'embedder "{request.model}" names no weights; write {request.model}/WEIGHTS, as in '
            "torchvision:resnet18/IMAGENET1K_V1"
        )
    network = load_network(NetworkRequest(f"{library}:{name}", weights, request.folder), request.device)
    return _of_network(request.model, network, request.input_px)


def _of_network(name: str, network: Network, input_px: int | None) -> Embedder:
    preprocessing = network.preprocessing.at(input_px)
    body = penultimate(network.module)
    return checked(Embedder(name, preprocessing, network.device, body, network.digest))


def penultimate(module: nn.Module) -> Callable[[Tensor], Float[Tensor, "b d"]]:
    """The network up to its last linear layer's (or last convolution's) input, pooled over space where it has any.

    Dropout and flattening in between change nothing in eval mode.

    Raises:
        ModelError: if it has no such layer.
    """
    if not any(isinstance(part, LAYER_TYPES) for part in module.modules()):
        raise ModelError(f"{type(module).__name__} has no linear or convolutional layer to stand before")
    try:
        graph = traced(module)
    except Exception:  # whatever tracing stumbles over, a hook can still catch the input
        return _hooked(module)
    modules = dict(graph.named_modules())
    heads: list[fx.Node] = [
        node
        for node in graph.graph.nodes
        if node.op == "call_module" and isinstance(modules[str(node.target)], LAYER_TYPES)
    ]
    if not heads:
        return _hooked(module)
    body = folded(ending_at(graph, heads[-1].all_input_nodes[0].name))
    return lambda batch: _pooled(body(batch))


def _pooled(value: Tensor) -> Float[Tensor, "b d"]:
    if value.ndim == 4:
        return value.mean(dim=(2, 3))
    return value.mean(dim=1) if value.ndim == 3 else value


def _hooked(module: nn.Module) -> Callable[[Tensor], Float[Tensor, "b d"]]:
    heads = [part for part in module.modules() if isinstance(part, LAYER_TYPES)]

    def encode(batch: Tensor) -> Float[Tensor, "b d"]:
        caught: list[Tensor] = []

        def note(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            caught[:] = [inputs[0]]  # the last layer called stands, wherever the network lists it

        hooks = [head.register_forward_pre_hook(note) for head in heads]
        try:
            module(batch)
        finally:
            for hook in hooks:
                hook.remove()
        return _pooled(caught[0])

    return encode
