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
            f'embedder "{request.model}" has no weights in its name; write {request.model}/WEIGHTS, as in '
            "torchvision:resnet18/IMAGENET1K_V1"
        )
    network = load_network(NetworkRequest(f"{library}:{name}", weights, request.folder), request.device)
    return _of_network(request.model, network, request.input_px)


def _of_network(name: str, network: Network, input_px: int | None) -> Embedder:
    preprocessing = network.preprocessing.at(input_px)
    body = penultimate(network.module)
    return checked(Embedder(name, preprocessing, network.device, body, network.digest))


def penultimate(module: nn.Module) -> Callable[[Tensor], Float[Tensor, "b d"]]:
    """The network up to the input of its last linear layer or convolution, pooled over space if it has positions.

    Dropout and flattening before that layer change nothing in eval mode.

    Raises:
        ModelError: if it has no such layer.
    """
    if not any(isinstance(part, LAYER_TYPES) for part in module.modules()):
        raise ModelError(
            f"{type(module).__name__} has no linear or convolutional layer whose input could be the embedding"
        )
    try:
        graph = traced(module)
    except Exception:  # whatever made tracing fail, a hook can still record the input
        return _hooked(module)
    head = _last_layer(graph)
    if head is None:
        return _hooked(module)
    body = folded(ending_at(graph, head.all_input_nodes[0].name))
    return lambda batch: _pooled(body(batch))


def _last_layer(graph: fx.GraphModule) -> fx.Node | None:
    """The last call of a layer; None if the graph calls no layer as a module."""
    modules = dict(graph.named_modules())
    calls: list[fx.Node] = [node for node in graph.graph.nodes if node.op == "call_module"]
    return next((node for node in reversed(calls) if isinstance(modules[str(node.target)], LAYER_TYPES)), None)


def _pooled(value: Tensor) -> Float[Tensor, "b d"]:
    if value.ndim == 4:
        return value.mean(dim=(2, 3))
    return value.mean(dim=1) if value.ndim == 3 else value


def _hooked(module: nn.Module) -> Callable[[Tensor], Float[Tensor, "b d"]]:
    """As `penultimate`, with hooks that record the inputs of all layers."""
    layers = [part for part in module.modules() if isinstance(part, LAYER_TYPES)]

    def encode(batch: Tensor) -> Float[Tensor, "b d"]:
        values: list[Tensor] = []

        def record(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            values[:] = [inputs[0]]  # keeps the input of the last layer called, whatever the order of the modules

        hooks = [layer.register_forward_pre_hook(record) for layer in layers]
        try:
            module(batch)
        finally:
            for hook in hooks:
                hook.remove()
        return _pooled(values[0])

    return encode
