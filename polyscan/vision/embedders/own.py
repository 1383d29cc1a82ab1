"""The user's own embedder: `module:callable`."""

from __future__ import annotations

from torch import nn

from polyscan.errors import ModelError
from polyscan.vision.embedders.embedder import Embedder, EmbedderRequest, checked, unknown
from polyscan.vision.networks import Network
from polyscan.vision.own_code import own_callable
from polyscan.vision.preprocessing import Preprocessing


def of_own_code(request: EmbedderRequest) -> Embedder:
    """What the user's own code gives: an `Embedder`, or a module from images to vectors.

    A module takes [b, 3, y, x] with values from -1 to 1 at the side `embed.input_px`, which must then be set.
    """
    if ":" not in request.model or "/" in request.model:
        raise ModelError(unknown(request.model))
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
    return checked(Embedder(request.model, preprocessing, request.device, made, network.digest))
