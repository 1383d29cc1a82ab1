"""OpenCLIP's image towers as embedders, with their text towers for words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float32

from polyscan.errors import ModelError, nearest
from polyscan.vision.embedders.embedder import Embedder, EmbedderRequest
from polyscan.vision.framing import Size, sides
from polyscan.vision.networks import Network
from polyscan.vision.preprocessing import Preprocessing

PHRASES_AT_ONCE = 256
TINY = 1e-12

Vectors = Float32[np.ndarray, "w d"]


def of_open_clip(request: EmbedderRequest) -> Embedder:
    """OpenCLIP's image tower. The weights `random` give a randomly initialised tower, for tests of the code only."""
    import open_clip  # noqa: PLC0415  # takes seconds, which other embedders don't need

    name, weights = request.name_and_weights
    if name not in open_clip.list_models():
        raise ModelError(f'open_clip has no model "{name}"; nearest: {nearest(name, open_clip.list_models())}')
    if not weights:
        raise ModelError(
            f'embedder "{request.model}" has no weights in its name; '
            f"open_clip has for it: {', '.join(open_clip.list_pretrained_tags_by_model(name))}"
        )
    clip = _loaded_clip(name, weights, request.device)
    preprocessing = _clip_preprocessing(clip, name, request.input_px)
    network = Network(request.model, clip.visual, preprocessing, request.device)
    words = _text_encoder(clip, name, request)
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

    size: Size = sides(clip.visual.image_size)
    side = size[0] if size[0] == size[1] else size
    if input_px not in (None, side):
        raise ModelError(f"open_clip {name} takes {side} px, `embed.input_px` is {input_px}; leave it out")
    mean = getattr(clip.visual, "image_mean", None) or open_clip.OPENAI_DATASET_MEAN
    std = getattr(clip.visual, "image_std", None) or open_clip.OPENAI_DATASET_STD
    return Preprocessing(side, side, tuple(mean), tuple(std), "bicubic")


def _text_encoder(clip: Any, name: str, request: EmbedderRequest) -> Callable[[Sequence[str]], Vectors]:
    """The text tower as a function from phrases to vectors: of one template as it gives them, else a mean."""
    import open_clip  # noqa: PLC0415  # as above

    def encode(phrases: Sequence[str]) -> Vectors:
        tokenizer: Any = open_clip.get_tokenizer(name)
        vectors: list[Vectors] = []
        with torch.inference_mode():
            for start in range(0, len(phrases), PHRASES_AT_ONCE):
                batch = tokenizer(phrases[start : start + PHRASES_AT_ONCE])
                vectors.append(clip.encode_text(batch.to(request.device)).float().cpu().numpy())
        return np.concatenate(vectors)

    def words(phrases: Sequence[str]) -> Vectors:
        of_templates = [
            encode([template.replace("{}", phrase) for phrase in phrases]) for template in request.templates
        ]
        return of_templates[0] if len(of_templates) == 1 else ensemble(of_templates)

    return words


def ensemble(of_templates: Sequence[Vectors]) -> Vectors:
    """The mean of the vectors of several prompts, each of length 1, as CLIP's own prompt ensembles take it."""
    return np.mean([v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), TINY) for v in of_templates], axis=0)
