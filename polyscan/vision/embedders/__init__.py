"""Embedders: networks that turn a crop into one vector, which span the spaces in which evidence is compared.

`torchvision:NAME/WEIGHTS`, `timm:NAME/WEIGHTS`, `open_clip:MODEL/WEIGHTS`, `conse:LIBRARY:NAME/WEIGHTS` or
`conse:scanned` (a classifier whose classes have text vectors), `penultimate` (the scanned network's last but one layer,
pooled over space), or `module:callable` (your own code). To add one, write a file here and a line in
EMBEDDERS.
"""

from __future__ import annotations

from collections.abc import Callable

from polyscan.vision.embedders.clip import of_open_clip
from polyscan.vision.embedders.conse import of_classifier
from polyscan.vision.embedders.embedder import Embedder, EmbedderRequest
from polyscan.vision.embedders.own import of_own_code
from polyscan.vision.embedders.trunk import of_library, of_scanned, penultimate

__all__ = ["EMBEDDERS", "WORDLESS", "Embedder", "EmbedderRequest", "load_embedder", "penultimate"]

EMBEDDERS: dict[str, Callable[[EmbedderRequest], Embedder]] = {
    "torchvision": of_library,
    "timm": of_library,
    "open_clip": of_open_clip,
    "conse": of_classifier,
    "penultimate": of_scanned,
}
"""The registry of embedders, by the part of the name before the colon; any other name is `module:callable`."""
WORDLESS = ("torchvision", "timm", "penultimate")
"""Embedders that have no words of their own, known without loading them."""


def load_embedder(request: EmbedderRequest) -> Embedder:
    """The embedder of that name.

    Raises:
        ModelError: if it is unknown or its weights can't be loaded.
    """
    library = request.model.partition(":")[0]
    return EMBEDDERS.get(library, of_own_code)(request)
