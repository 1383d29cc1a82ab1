"""The class of embedders: networks that turn a crop into one vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from polyscan.errors import ModelError
from polyscan.vision.networks import Network
from polyscan.vision.preprocessing import Preprocessing

PHOTO = "a photo of {}"


@dataclass(frozen=True)
class Embedder:
    """A space: its name, its input, and the function from inputs to vectors.

    Args:
        name: as in the job.
        preprocessing: what turns a crop into its input.
        device: where it is.
        encode: from inputs to vectors.
        digest: of its weights.
        words: from phrases to vectors, if it has a text tower or a table.
        known: the only phrases that `words` has vectors of; None: any.
    """

    name: str
    preprocessing: Preprocessing
    device: torch.device
    encode: Callable[[Float[Tensor, "b c y x"]], Float[Tensor, "b d"]]
    digest: str
    words: Callable[[Sequence[str]], Float32[np.ndarray, "w d"]] | None = None
    known: tuple[str, ...] | None = None

    def __call__(self, crops: UInt8[np.ndarray, "b y x c"]) -> Float32[np.ndarray, "b d"]:
        """Raw vectors of crops, which must have the size and channels of the input."""
        with torch.inference_mode():
            return self.encode(self.preprocessing.batch(crops, self.device)).float().cpu().numpy()


@dataclass(frozen=True)
class EmbedderRequest:
    """Which embedder to load; see `[embed]` of a job.

    Args:
        model: the embedder's name, as in the package's docstring.
        scanned: gives the scanned network; called only if the embedder is made from it.
        folder: where a weights file or the user's own code is looked for.
        input_px: side of the input; None for the embedder's own.
        device: where the embedder runs.
        classes: the table with the text vectors of a ConSE classifier's classes.
        templates: what a text tower reads, with `{}` for the phrase; the mean over all.
    """

    model: str
    scanned: Callable[[], Network]
    folder: str
    input_px: int | None
    device: torch.device
    classes: str = ""
    templates: tuple[str, ...] = (PHOTO,)

    @property
    def name_and_weights(self) -> tuple[str, str]:
        """The parts of the name between the colon and the slash, and after the slash."""
        name, _, weights = self.model.partition(":")[2].partition("/")
        return name, weights


def checked(embedder: Embedder) -> Embedder:
    """The embedder, after a check that it gives one vector per image.

    Raises:
        ModelError: if it gives something else; the message says what.
    """
    height, width = embedder.preprocessing.size
    example = torch.zeros(2, embedder.preprocessing.channels, height, width, device=embedder.device)
    with torch.inference_mode():
        shape = tuple(embedder.encode(example).shape)
    if len(shape) != 2 or shape[0] != 2:
        raise ModelError(
            f"{embedder.name} gives {shape} for 2 images of {height} x {width} px, but must give one vector per image, "
            "(2, dimensions); choose another embedder"
        )
    return embedder


def unknown(model: str) -> str:
    """The error message for an unknown name."""
    return (
        f'unknown embedder "{model}"; write torchvision:NAME/WEIGHTS, timm:NAME/WEIGHTS, open_clip:MODEL/WEIGHTS, '
        "penultimate or module:callable (your own code)"
    )
