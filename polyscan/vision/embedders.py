"""Spaces in which evidence is compared: networks that turn a crop into one vector.

`torchvision:NAME/WEIGHTS`, `timm:NAME/WEIGHTS`, `open_clip:MODEL/WEIGHTS`, `penultimate` (the scanned network's own
last but one layer, pooled over space), or `module:callable`, your own code: see `EMBEDDERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor, fx, nn

from polyscan.errors import ModelError, nearest
from polyscan.vision.networks import Network, NetworkRequest, load_network
from polyscan.vision.own_code import own_callable
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


@dataclass(frozen=True)
class EmbedderRequest:
    """What is asked for: see `[embed]` of a job.

    Args:
        model: its name, see the module.
        scanned: gives the scanned network, called where the embedder is made of it.
        folder: where a weights file or the user's own code is looked for.
        input_px: side of its input, its own if None.
        device: where it runs.
    """

    model: str
    scanned: Callable[[], Network]
    folder: str
    input_px: int | None
    device: torch.device

    @property
    def name_and_weights(self) -> tuple[str, str]:
        """What stands between the colon and the slash, and after it."""
        name, _, weights = self.model.partition(":")[2].partition("/")
        return name, weights


def load_embedder(request: EmbedderRequest) -> Embedder:
    """The embedder of that name.

    Raises:
        ModelError: if it is unknown or its weights can't be had.
    """
    library = request.model.partition(":")[0]
    return EMBEDDERS.get(library, _own)(request)


def _penultimate(request: EmbedderRequest) -> Embedder:
    return _of_network(request.model, request.scanned(), request.input_px)


def _of_library(request: EmbedderRequest) -> Embedder:
    """A network of torchvision or timm with its weights."""
    library = request.model.partition(":")[0]
    name, weights = request.name_and_weights
    if not name:
        raise ModelError(_unknown(request.model))
    if not weights:
        raise ModelError(
            f'embedder "{request.model}" names no weights; write {request.model}/WEIGHTS, as in '
            "torchvision:resnet18/IMAGENET1K_V1"
        )
    network = load_network(NetworkRequest(f"{library}:{name}", weights, request.folder), request.device)
    return _of_network(request.model, network, request.input_px)


def _own(request: EmbedderRequest) -> Embedder:
    """What the user's own code gives: an `Embedder`, or a module from images to vectors.

    A module takes [b, 3, y, x] with values from -1 to 1 at the side `embed.input_px`, which must then be set.
    """
    if ":" not in request.model or "/" in request.model:
        raise ModelError(_unknown(request.model))
    made = own_callable(request.model, request.folder)()
    if isinstance(made, Embedder):
        return made
    if not isinstance(made, nn.Module):
        raise ModelError(
            f'"{request.model}" gave a {type(made).__name__}; it must give a torch.nn.Module that turns images into '
            "vectors, or a polyscan.vision.embedders.Embedder"
        )
    if request.input_px is None:
        raise ModelError(f"nothing says what side of input {request.model} takes; set `embed.input_px`")
    made.eval().requires_grad_(requires_grad=False).to(request.device)
    preprocessing = Preprocessing(request.input_px, request.input_px, (0.5,) * 3, (0.5,) * 3)
    network = Network(request.model, made, preprocessing, request.device)
    return _checked(Embedder(request.model, preprocessing, request.device, made, network.digest))


def _unknown(model: str) -> str:
    return (
        f'unknown embedder "{model}"; write torchvision:NAME/WEIGHTS, timm:NAME/WEIGHTS, open_clip:MODEL/WEIGHTS, '
        "penultimate or module:callable (your own code)"
    )


def _checked(embedder: Embedder) -> Embedder:
    """The embedder, if it gives one vector an image.

    Raises:
        ModelError: saying what it gives instead.
    """
    side, channels = embedder.preprocessing.input_px, embedder.preprocessing.channels
    example = torch.zeros(2, channels, side, side, device=embedder.device)
    with torch.inference_mode():
        shape = tuple(embedder.encode(example).shape)
    if len(shape) != 2 or shape[0] != 2:
        raise ModelError(
            f"{embedder.name} gives {shape} for 2 images of {side} px, where it must give one vector an image, (2, "
            "dimensions); choose another embedder"
        )
    return embedder


def _of_network(name: str, network: Network, input_px: int | None) -> Embedder:
    preprocessing = network.preprocessing.at(input_px)
    body = penultimate(network.module)
    return _checked(Embedder(name, preprocessing, network.device, body, network.digest))


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


def _open_clip(request: EmbedderRequest) -> Embedder:
    """OpenCLIP's image tower. The weights `random` give a randomly initialised one, for tests of the code alone."""
    import open_clip  # noqa: PLC0415  # seconds that other embedders don't need

    name, weights = request.name_and_weights
    if name not in open_clip.list_models():
        raise ModelError(f'open_clip has no model "{name}"; nearest: {nearest(name, open_clip.list_models())}')
    if not weights:
        raise ModelError(
            f'embedder "{request.model}" names no weights; '
            f"open_clip has for it: {', '.join(open_clip.list_pretrained_tags_by_model(name))}"
        )
    clip = _loaded_clip(name, weights, request.device)
    preprocessing = _clip_preprocessing(clip, name, request.input_px)
    network = Network(request.model, clip.visual, preprocessing, request.device)
    words = _words(clip, name, request.device)
    return Embedder(request.model, preprocessing, request.device, clip.encode_image, network.digest, words)


def _loaded_clip(name: str, weights: str, device: torch.device) -> Any:
    import open_clip  # noqa: PLC0415  # as above

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
    return clip.eval().requires_grad_(requires_grad=False)


def _clip_preprocessing(clip: Any, name: str, input_px: int | None) -> Preprocessing:
    import open_clip  # noqa: PLC0415  # as above

    side = clip.visual.image_size
    side = int(side[0] if isinstance(side, tuple | list) else side)
    if input_px not in (None, side):
        raise ModelError(f"open_clip {name} takes {side} px, `embed.input_px` is {input_px}; leave it out")
    mean = getattr(clip.visual, "image_mean", None) or open_clip.OPENAI_DATASET_MEAN
    std = getattr(clip.visual, "image_std", None) or open_clip.OPENAI_DATASET_STD
    return Preprocessing(side, side, tuple(mean), tuple(std), "bicubic")


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


EMBEDDERS: dict[str, Callable[[EmbedderRequest], Embedder]] = {
    "torchvision": _of_library,
    "timm": _of_library,
    "open_clip": _open_clip,
    "penultimate": _penultimate,
}
"""The registry of embedders, by what stands before the colon of their name; anything else is `module:callable`."""
