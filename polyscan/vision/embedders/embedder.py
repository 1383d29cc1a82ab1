"""What an embedder is: a network that turns a crop into one vector."""

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


def checked(embedder: Embedder) -> Embedder:
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


def unknown(model: str) -> str:
    """What is wrong with a name that no embedder has."""
    return (
        f'unknown embedder "{model}"; write torchvision:NAME/WEIGHTS, timm:NAME/WEIGHTS, open_clip:MODEL/WEIGHTS, '
        "penultimate or module:callable (your own code)"
    )
