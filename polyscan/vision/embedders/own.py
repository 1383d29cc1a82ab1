"""The user's own embedder: `module:callable`."""

from __future__ import annotations

from torch import nn

from polyscan.errors import ModelError
from polyscan.vision.embedders.embedder import Embedder, EmbedderRequest, checked, unknown
from polyscan.vision.module_checks import ready
from polyscan.vision.networks import Network
from polyscan.vision.own_code import own_result
from polyscan.vision.own_sources import is_own_code
from polyscan.vision.preprocessing import Preprocessing


def of_own_code(request: EmbedderRequest) -> Embedder:
    """The embedder that the user's own code gives: an `Embedder`, or a module from images to vectors.

    A module takes [b, 3, y, x] with values from -1 to 1 at the side `embed.input_px`, which must then be set.
    """
    if not is_own_code(request.model) or "/" in request.model.rpartition(":")[2]:
        raise ModelError(unknown(request.model))
    result = own_result(request.model, request.folder, kinds=(nn.Module, Embedder))
    if isinstance(result, Embedder):
        return result
    if not isinstance(result, nn.Module):
        raise ModelError(
            f'"{request.model}" gave a {type(result).__name__}; it must give a torch.nn.Module that turns images into '
            "vectors, or a polyscan.vision.embedders.Embedder"
        )
    return _of_module(request, result)


def _of_module(request: EmbedderRequest, module: nn.Module) -> Embedder:
    if request.input_px is None:
        raise ModelError(f"the input size of {request.model} is not known; set `embed.input_px`")
    module = ready(module, request.model)[0].to(request.device)
    preprocessing = Preprocessing(request.input_px, request.input_px, (0.5,) * 3, (0.5,) * 3)
    network = Network(request.model, module, preprocessing, request.device)
    return checked(Embedder(request.model, preprocessing, request.device, module, network.digest))
