"""Spaces in which evidence is compared: networks that turn a crop into one vector.

`torchvision:NAME/WEIGHTS`, `timm:NAME/WEIGHTS`, `open_clip:MODEL/WEIGHTS`, or `penultimate`: the scanned network's
own last but one layer, pooled over space.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor, fx, nn

from polyscan.errors import ModelError
from polyscan.vision.networks import Network, NetworkRequest, load_network
from polyscan.vision.preprocessing import Preprocessing
from polyscan.vision.readouts.cutting import ending_at
from polyscan.vision.tracing import LAYER_TYPES, folded, traced

WORDS_AT_ONCE = 256


@dataclass(frozen=True)
class Embedder:
    """A space: its name, its input, and the function from inputs to vectors; `words` too where it has a text tower."""

    name: str
    preprocessing: Preprocessing
    device: torch.device
    encode: Callable[[Float[Tensor, "b c y x"]], Float[Tensor, "b d"]]
    digest: str
    words: Callable[[Sequence[str]], Float32[np.ndarray, "w d"]] | None = None

    def __call__(self, crops: UInt8[np.ndarray, "b y x c"]) -> Float32[np.ndarray, "b d"]:
        """Raw vectors of crops that already have the input's size and channels."""
        with torch.inference_mode():
            return self.encode(self.preprocessing.batch(crops, self.device)).float().cpu().numpy()


def load_embedder(
    model: str, *, scanned: Callable[[], Network], folder: str, input_px: int | None, device: torch.device
) -> Embedder:
    """The embedder of that name.

    Args:
        model: see the module.
        scanned: gives the scanned network, called where the embedder is made of it.
        folder: where a weights file is looked for.
        input_px: side of its input, its own if None.
        device: where it runs.

    Raises:
        ModelError: if there is none of that name or its weights can't be had.
    """
    if model == "penultimate":
        return _of_network("penultimate", scanned(), input_px)
    library, _, rest = model.partition(":")
    name, _, weights = rest.partition("/")
    if library == "open_clip" and name:
        return _open_clip(model, name, weights, input_px, device)
    if library not in ("torchvision", "timm") or not name:
        raise ModelError(
            f'embedder "{model}" is none; '
            "write torchvision:NAME/WEIGHTS, timm:NAME/WEIGHTS, open_clip:MODEL/WEIGHTS or penultimate"
        )
    if not weights:
        raise ModelError(
            f'embedder "{model}" names no weights; write {model}/WEIGHTS, as in torchvision:resnet18/IMAGENET1K_V1'
        )
    network = load_network(NetworkRequest(f"{library}:{name}", weights, folder), device)
    return _of_network(model, network, input_px)


def _of_network(name: str, network: Network, input_px: int | None) -> Embedder:
    preprocessing = network.preprocessing.at(input_px)
    side = preprocessing.input_px
    example = torch.zeros(2, preprocessing.channels, side, side, device=network.device)
    body = penultimate(network.module)
    with torch.inference_mode():
        width = body(example).shape
    if len(width) != 2:
        raise ModelError(
            f"{network.name} gives no vector before its last layer but {tuple(width)}; choose another embedder"
        )
    return Embedder(name, preprocessing, network.device, body, network.digest)


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


def _open_clip(model: str, name: str, weights: str, input_px: int | None, device: torch.device) -> Embedder:
    """OpenCLIP's image tower. The weights `random` give a randomly initialised one, for tests of the code alone."""
    import open_clip  # noqa: PLC0415  # seconds that other embedders don't need

    if name not in open_clip.list_models():
        near = difflib.get_close_matches(name, open_clip.list_models(), n=3)
        raise ModelError(f'open_clip has no model "{name}"; nearest: {", ".join(near) or "none"}')
    if not weights:
        raise ModelError(
            f'embedder "{model}" names no weights; '
            f"open_clip has for it: {', '.join(open_clip.list_pretrained_tags_by_model(name))}"
        )
    try:
        pretrained = None if weights == "random" else weights
        with torch.random.fork_rng():
            torch.manual_seed(0)
            clip = cast("Any", open_clip.create_model(name, pretrained=pretrained, device=device))
    except (OSError, RuntimeError) as error:
        raise ModelError(
            f'weights "{weights}" of open_clip {name} could not be loaded '
            f"({type(error).__name__}: {str(error).partition(chr(10))[0]})"
        ) from error
    clip.eval().requires_grad_(requires_grad=False)
    side = clip.visual.image_size
    side = int(side[0] if isinstance(side, tuple | list) else side)
    if input_px not in (None, side):
        raise ModelError(f"open_clip {name} takes {side} px, `embed.input_px` is {input_px}; leave it out")
    mean = getattr(clip.visual, "image_mean", None) or open_clip.OPENAI_DATASET_MEAN
    std = getattr(clip.visual, "image_std", None) or open_clip.OPENAI_DATASET_STD
    preprocessing = Preprocessing(side, side, tuple(mean), tuple(std), "bicubic")
    network = Network(model, clip.visual, preprocessing, device)
    return Embedder(model, preprocessing, device, clip.encode_image, network.digest, _words(clip, name, device))


def _words(clip: Any, name: str, device: torch.device) -> Callable[[Sequence[str]], Float32[np.ndarray, "w d"]]:
    """The text tower, as a function of phrases."""
    import open_clip  # noqa: PLC0415  # as above

    def encode(phrases: Sequence[str]) -> Float32[np.ndarray, "w d"]:
        tokens: Any = open_clip.get_tokenizer(name)
        parts: list[Float32[np.ndarray, "_ d"]] = []
        with torch.inference_mode():
            for start in range(0, len(phrases), WORDS_AT_ONCE):
                batch = tokens([f"a photo of {phrase}" for phrase in phrases[start : start + WORDS_AT_ONCE]])
                parts.append(clip.encode_text(batch.to(device)).float().cpu().numpy())
        return np.concatenate(parts)

    return encode
