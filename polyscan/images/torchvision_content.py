"""What a torchvision data set consists of: its list, the files below its root, and its images as it reads them."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np
from PIL import Image

from polyscan.images.decode import pixels_of, reason
from polyscan.images.listing import stamps_below
from polyscan.images.options import ImageOptions, Selection, list_digest
from polyscan.images.pillow_state import pillow_settings
from polyscan.images.torchvision_opening import datasets_module
from polyscan.storage import Storage

N_PROBED = 64  # images hashed for the digest of a data set that holds no arrays and is no folder of images
ATTRIBUTES = ("classes", "categories", "wnids")
"""Where data sets keep what names their classes."""


def samples(dataset: Any) -> list[tuple[str, Any]] | None:
    """File and class of each image of an ImageFolder or a subclass; None for other data sets."""
    return dataset.samples if isinstance(dataset, datasets_module().DatasetFolder) else None


def is_arrays(dataset: Any) -> bool:
    """Whether a data set holds all its pixels in an array."""
    data = getattr(dataset, "data", None)
    return hasattr(data, "shape") and _length(data) == len(dataset)


def listed_files(dataset: Any) -> list[str]:
    """The image file of each item, where the dataset keeps a list of them; empty where it doesn't."""
    for _, values in _lists(dataset):
        if isinstance(values, (list, tuple)) and values:
            paths = [value[0] if isinstance(value, (list, tuple)) else value for value in cast("list[Any]", values)]
            if all(isinstance(path, (str, os.PathLike)) for path in paths) and os.path.isfile(paths[0]):
                return [os.fspath(path) for path in paths]
    return []


def stamp_of_others(roots: Iterable[str], listed: Iterable[str]) -> str:
    """One stamp of all files below the data sets' folders except the listed image files."""
    known = {os.path.abspath(file) for file in listed}
    others: list[list[str]] = []
    for root in sorted({os.path.abspath(os.path.expanduser(root)) for root in roots}):
        stamps = stamps_below(Storage(root)).items()
        others += [[name, stamp] for name, stamp in stamps if os.path.join(root, name) not in known]
    return list_digest(others)


def item(dataset: Any, place: int, options: ImageOptions) -> tuple[Any, Any]:
    """Pixels (or a reason) and target of one image, as the dataset's own code reads it."""
    with warnings.catch_warnings(), pillow_settings(options.max_pixels):
        warnings.simplefilter("ignore")
        try:
            image, target = dataset[place][:2]
            if not isinstance(image, Image.Image):
                return f"not an image: the set gives a {type(image).__name__}", None
            return pixels_of(image, options.max_pixels, options.decoding), target
        except MemoryError:
            raise
        except Exception as error:  # as in `decode`: damaged files raise almost any exception
            return reason(error), None


def state(dataset: Any, options: ImageOptions) -> Iterator[object]:
    """Plain values that differ between two states of a dataset: its length, classes, and whole list in order."""
    roots = _spellings(getattr(dataset, "root", None), options.root)
    yield len(dataset)
    yield [_plain(getattr(dataset, name, None), roots) for name in ATTRIBUTES]
    if (files := samples(dataset)) is not None:
        for file, label in files:
            yield [os.path.relpath(file, dataset.root), os.path.getsize(file), label]
        return
    for name, values in _lists(dataset):
        yield [name, _plain(values, roots)]
    if not is_arrays(dataset):
        yield from _probes(dataset, options)


def _probes(dataset: Any, options: ImageOptions) -> Iterator[str]:
    """Hashes of some of the images, as the dataset's own code reads them."""
    probes = Selection(len(dataset), N_PROBED)
    for probe in range(len(probes)):
        pixels, _ = item(dataset, probes.place(probe), options)
        yield pixels if isinstance(pixels, str) else _sha256(pixels)


def _lists(dataset: Any) -> list[tuple[str, Any]]:
    """Every attribute that has one entry for each image: paths, labels, indices, arrays."""
    attributes: dict[str, Any] = vars(dataset)
    return [(name, values) for name, values in attributes.items() if _length(values) == len(dataset)]


def _length(values: Any) -> int | None:
    """Number of entries of a list or an array; None for anything else."""
    if isinstance(values, (list, tuple)):
        return len(cast("Sequence[Any]", values))
    return int(values.shape[0]) if len(getattr(values, "shape", ())) else None


def _plain(value: Any, roots: Sequence[str]) -> object:
    """A value as text, numbers and lists of them; paths are relative to the root, arrays are hashed."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (str, os.PathLike)):
        return _below_root(os.fsdecode(cast("str | os.PathLike[str]", value)), roots)
    if isinstance(value, (list, tuple)):
        return [_plain(each, roots) for each in cast("Sequence[Any]", value)]
    if isinstance(value, dict):
        return [[_plain(key, roots), _plain(each, roots)] for key, each in cast("dict[Any, Any]", value).items()]
    return _plain_array(value, roots) if hasattr(value, "shape") else type(value).__name__


def _plain_array(values: Any, roots: Sequence[str]) -> object:
    array = np.asarray(values)
    # An array of objects holds addresses in memory, and one of text may hold paths.
    return _plain(array.tolist(), roots) if array.dtype.kind in "OUS" else _sha256(array)


def _sha256(array: Any) -> str:
    """Hash of an array, with its shape and type."""
    array = np.ascontiguousarray(array)
    return hashlib.sha256(f"{array.shape} {array.dtype.str}".encode() + array.tobytes()).hexdigest()


def _spellings(*roots: object) -> list[str]:
    """Each root as a path may begin with it, so that a renamed root changes no digest."""
    given = [os.path.expanduser(os.fspath(root)) for root in roots if isinstance(root, (str, os.PathLike))]
    forms = (form for root in given for form in (root, os.path.normpath(root), os.path.abspath(root)))
    return sorted({form.rstrip(os.sep) + os.sep for form in forms}, key=len, reverse=True)


def _below_root(text: str, roots: Sequence[str]) -> str:
    return next((text[len(root) :].lstrip(os.sep) for root in roots if text.startswith(root)), text)
