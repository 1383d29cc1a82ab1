"""Opens the image source that a job names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from polyscan.errors import ImagesError, StoreError, nearest
from polyscan.images.digits import DigitsImages
from polyscan.images.folder import FolderImages
from polyscan.images.listing import listing, state_of_file
from polyscan.images.options import ImageOptions
from polyscan.images.parquet import ParquetImages
from polyscan.images.source import ImageSource
from polyscan.images.torchvision_datasets import TorchvisionImages
from polyscan.storage import Storage, masked, printable

ALLOWED = (
    "a class folder, a folder of photos, a Parquet file or folder (at any address), torchvision:NAME, sklearn:digits"
)
PARQUET_SUFFIXES = (".parquet", ".pq")
IMAGE_SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".png",
    ".gif",
    ".bmp",
    ".tif",
    ".tiff",
    ".webp",
    ".avif",
    ".jp2",
    ".ppm",
    ".pgm",
    ".npy",
)
# A word and a colon, as in torchvision:CIFAR10; not an address (s3://...), a chain of addresses (zip::s3://...) or a
# drive (C:\...).
PREFIXED = re.compile(r"([A-Za-z]\w+):(?!:|//)(.*)")


def open_images(source: str, *, options: ImageOptions) -> ImageSource:
    """The images that `source` names.

    Args:
        source: a folder, a Parquet file or a folder of them (a path, or any address that fsspec knows),
            `torchvision:NAME` or `sklearn:digits`.
        options: part, limit, columns and the like.

    Returns:
        the source; its footers or its file list are read, but no images.

    Raises:
        ImagesError: if there is nothing at the address, no image in it, no such data set, or an option doesn't fit.
    """
    prefixed = PREFIXED.fullmatch(source)
    if prefixed is not None and prefixed[1] in PREFIXES:
        return PREFIXES[prefixed[1]](prefixed[2], options)
    storage = _storage(source)
    if prefixed is not None and not storage.exists():
        raise _unknown_prefix(source, prefixed[1])
    # Files are checked first: to find out whether a web address is a folder, all of it has to be downloaded.
    if storage.is_file():
        return _file(storage, options)
    if not storage.is_dir():
        raise ImagesError(f"there is nothing at {storage.address}; allowed: {ALLOWED}. Check the address.")
    return _folder(storage, options)


def _unknown_prefix(source: str, prefix: str) -> ImagesError:
    near = nearest(prefix, PREFIXES)
    hint = f"allowed: {ALLOWED}" if near == "none" else f'nearest: "{near}:"'
    return ImagesError(f'"{source}" begins with an unknown source ("{prefix}:"); {hint}. Correct `source`.')


def _sklearn(name: str, options: ImageOptions) -> ImageSource:
    if name != "digits":
        raise ImagesError(f'unknown data set "sklearn:{name}"; allowed: sklearn:digits. Correct `source`.')
    return DigitsImages(options)


PREFIXES: Mapping[str, Callable[[str, ImageOptions], ImageSource]] = {
    "torchvision": TorchvisionImages,
    "sklearn": _sklearn,
}


def _storage(source: str) -> Storage:
    """The address as a storage; an unknown protocol, or a secret in the address, is an ImagesError."""
    if not source:
        raise ImagesError(f"the source of the images is empty; allowed: {ALLOWED}. Set `source`.")
    try:
        return Storage(source)
    except StoreError as error:
        raise ImagesError(
            f'"{masked(source)}" can\'t be opened: {error}; allowed: {ALLOWED}. Correct the address.'
        ) from error


def _file(storage: Storage, options: ImageOptions) -> ImageSource:
    """A single file, which can only be Parquet."""
    if not storage.root.lower().endswith(PARQUET_SUFFIXES):
        raise ImagesError(
            f"{storage.address} is a single file whose name doesn't end in .parquet or .pq; allowed: {ALLOWED}. Give "
            "the folder that holds it."
        )
    return ParquetImages(storage, {"": state_of_file(storage)}, options)


def _folder(storage: Storage, options: ImageOptions) -> ImageSource:
    """A folder of Parquet files if it has any, else a folder of images."""
    found = listing(storage)
    # Parquet writers leave files and folders whose names begin with an underscore (_metadata, _temporary/).
    parquet = {
        name: state
        for name, state in found.files.items()
        if name.lower().endswith(PARQUET_SUFFIXES) and not any(part.startswith("_") for part in name.split("/"))
    }
    if not parquet:
        return FolderImages(storage, found, options)
    n_images = sum(name.lower().endswith(IMAGE_SUFFIXES) for name in found.files)
    if n_images:
        raise ImagesError(
            f"{printable(storage.address)} holds {len(parquet)} Parquet files and {n_images} image files; a source has "
            "only one kind. Give a folder, or a file, that holds one kind."
        )
    others = [name for name in found.files if name not in parquet]
    return ParquetImages(storage, parquet, options, str(found.left_out.and_files(others)))
