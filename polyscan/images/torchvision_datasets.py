"""Data sets that torchvision knows by name and that are already on this disk; nothing is downloaded."""

from __future__ import annotations

import hashlib
import inspect
import os
import warnings
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any, cast

import numpy as np
from PIL import Image

from polyscan.errors import ImagesError
from polyscan.images.content import array_content, checksum
from polyscan.images.decode import decode, pixels_of, reason
from polyscan.images.listing import stamp_of_path
from polyscan.images.options import PARTS, ImageOptions, Selection, list_digest
from polyscan.images.pillow_state import pillow_settings
from polyscan.images.source import Picture, Reject
from polyscan.images.torchvision_opening import dataset_class, datasets_module, open_part, parts_of
from polyscan.storage import printable

N_PROBED = 64  # images hashed for the digest of a data set that exposes neither its arrays nor its files


class TorchvisionImages:
    """A class of `torchvision.datasets`: its training images first, then its test images.

    A data set of image files (ImageFolder and its subclasses) is decoded here, like a folder; other data sets give
    images that their own code has decoded. Labels that are not whole numbers (boxes, captions, attributes) are
    ignored.

    Args:
        name: the class, as in `CIFAR10`.
        options: `root` is torchvision's argument of that name; `part` may be "train" or "test" if the data set has
            such parts ("test" means the validation part if that is the only other one).

    Raises:
        ImagesError: if there is no such class, its files are not in `root`, it needs arguments that can't be given
            here, or an option doesn't fit.
    """

    def __init__(self, name: str, options: ImageOptions) -> None:
        self._name = name
        self._options = options
        kind = dataset_class(name)
        options.check_unused(f"torchvision:{name}", "image_column", "label_column")
        if "root" not in inspect.signature(kind).parameters:
            options.check_unused(f"torchvision:{name}", "root")
        parts = parts_of(kind)
        options.check_part(f"torchvision:{name}", PARTS if parts else ("all",))
        chosen = parts if options.part == "all" and parts else (options.part,)
        self._sets = [(part, open_part(kind, part, options.root)) for part in chosen]
        self._selection = Selection(sum(len(dataset) for _, dataset in self._sets), options.limit)
        if not len(self):
            raise ImagesError(f'torchvision:{name} holds no images in "{options.root}". Check `root`.')

    def __reduce__(self) -> tuple[type[TorchvisionImages], tuple[str, ImageOptions]]:
        """Pickled by name and options and opened again when unpickled: small data sets are in memory as a whole."""
        return TorchvisionImages, (self._name, self._options)

    def __len__(self) -> int:
        return len(self._selection)

    @property
    def digest(self) -> str:
        """Hash of each part's arrays, or files and sizes, or else of 64 of its images; and of its labels."""
        header = ["torchvision", self._name, self._options.part, *self._options.reading]
        return list_digest([header, *((part, *_content(dataset, self._options)) for part, dataset in self._sets)])

    @property
    def labels(self) -> str:
        """Where the labels come from; see `ImageSource.labels`."""
        dataset = self._sets[0][1]
        files = _files(dataset)
        target = files[0][1] if files else _item(dataset, 0, self._options)[1]
        if _label(target) is None:
            return f"none found (the targets of torchvision:{self._name} are not whole numbers)"
        n_names = len(_classes(dataset))
        return f"targets of torchvision:{self._name}, " + (f"{n_names} classes named" if n_names else "without names")

    @property
    def left_out(self) -> str:
        """Nothing: the data set itself says which files belong to it."""
        return ""

    @property
    def stamps(self) -> dict[str, str]:
        """Stamp of each image file; empty for data sets in arrays, which the digest covers."""
        return {self._shown(file): stamp_of_path(file) for file in self._places_of_files}

    def images_of_file(self, name: str) -> Sequence[int]:
        """Ids of the images in a file; see `ImageSource.images_of_file`."""
        places = (place for file, place in self._places_of_files.items() if self._shown(file) == name)
        return [image for place in places for image in self._selection.images(place, place + 1)]

    @cached_property
    def _places_of_files(self) -> dict[str, int]:
        """Position of each image file in the full order."""
        starts = accumulate((len(dataset) for _, dataset in self._sets), initial=0)
        files = ((start, _listed_files(dataset)) for start, (_, dataset) in zip(starts, self._sets, strict=False))
        return {file: start + place for start, listed in files for place, file in enumerate(listed)}

    def contents(self, images: Sequence[int]) -> Iterator[bytes]:
        """Bytes of the file, or else pixels and label, of each of these images; see `ImageSource.contents`."""
        for image in images:
            _, dataset, place = self._located(image)
            files = _files(dataset)
            if files is None:
                yield _array_content(*_item(dataset, place, self._options))
            else:
                content = _file_content(files[place][0])
                yield b"" if isinstance(content, str) else content

    def read(self, images: Sequence[int]) -> Iterator[Picture | Reject]:
        """The images of these ids; see `ImageSource.read`."""
        for image in images:
            yield self._entry(int(image), *self._located(image))

    def _located(self, image: int) -> tuple[str, Any, int]:
        """The part of an image, its dataset and the position in it."""
        place = self._selection.place(image)
        for part, dataset in self._sets:
            if place < len(dataset):
                return part, dataset, place
            place -= len(dataset)
        raise AssertionError("a position is always in a part")

    def _entry(self, image: int, part: str, dataset: Any, place: int) -> Picture | Reject:
        files = _files(dataset)
        if files is None:
            path = f"{part}#{place}"
            pixels, target = _item(dataset, place, self._options)
            stored = _array_content(pixels, target)
        else:
            file, target = files[place]
            path = self._shown(file)
            stored = _file_content(file)
            pixels = (
                stored if isinstance(stored, str) else decode(stored, self._options.max_pixels, self._options.decoding)
            )
        digits = "" if isinstance(stored, str) else checksum(stored)
        if isinstance(pixels, str):
            return Reject(image, path, pixels, digits)
        label = _label(target)
        return Picture(image, path, pixels, label, _class_name(dataset, label), digits)

    def _shown(self, file: str) -> str:
        return printable(os.path.relpath(file, self._options.root or "."))


def _files(dataset: Any) -> list[tuple[str, Any]] | None:
    """File and class of each image of an ImageFolder or a subclass; None for other data sets."""
    return dataset.samples if isinstance(dataset, datasets_module().DatasetFolder) else None


def _listed_files(dataset: Any) -> list[str]:
    """The image file of each item, where the dataset keeps a list of them; empty where it doesn't."""
    for values in vars(dataset).values():
        if isinstance(values, (list, tuple)) and values and len(cast("list[Any]", values)) == len(dataset):
            paths = [value[0] if isinstance(value, (list, tuple)) else value for value in cast("list[Any]", values)]
            if all(isinstance(path, (str, os.PathLike)) for path in paths) and os.path.isfile(paths[0]):
                return [os.fspath(path) for path in paths]
    return []


def _file_content(file: str) -> bytes | str:
    """Bytes of a file, or the reason why it can't be read."""
    try:
        with open(file, "rb") as stream:
            return stream.read()
    except (FileNotFoundError, PermissionError) as error:
        return f"unreadable: {error.strerror}"


def _array_content(pixels: Any, target: Any) -> bytes:
    """Pixels and label as bytes; empty if there are no pixels."""
    return b"" if isinstance(pixels, str) else array_content(pixels, _label(target))


def _item(dataset: Any, place: int, options: ImageOptions) -> tuple[Any, Any]:
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


def _label(target: Any) -> int | None:
    """The label that a target is; None if it is no whole number (boxes, captions)."""
    return int(target) if isinstance(target, (int, np.integer)) or _is_scalar_tensor(target) else None


def _is_scalar_tensor(target: Any) -> bool:
    """Whether `target` is a single whole number in a tensor."""
    return hasattr(target, "is_floating_point") and target.ndim == 0 and not target.is_floating_point()


def _classes(dataset: Any) -> Sequence[Any]:
    """Names of the classes; () if the dataset has none."""
    classes = getattr(dataset, "classes", None) or getattr(dataset, "categories", None)
    return cast("Sequence[Any]", classes) if isinstance(classes, (list, tuple)) else ()


def _class_name(dataset: Any, label: int | None) -> str:
    """The class's name, or all its names (ImageNet's synonyms)."""
    classes = _classes(dataset)
    if label is None or not 0 <= label < len(classes):
        return ""
    name: Any = classes[label]
    return ", ".join(map(str, name)) if isinstance(name, (list, tuple)) else str(name)


def _content(dataset: Any, options: ImageOptions) -> Iterator[object]:
    """Plain values that differ between two states of a dataset."""
    yield len(dataset)
    if (files := _files(dataset)) is not None:
        for file, label in files:
            yield [os.path.relpath(file, dataset.root), os.path.getsize(file), label]
        return
    labels = getattr(dataset, "targets", getattr(dataset, "labels", None))
    yield None if labels is None else _sha256(labels)
    data = getattr(dataset, "data", None)
    if data is not None and hasattr(data, "shape"):
        yield _sha256(data)
        return
    probes = Selection(len(dataset), N_PROBED)
    for probe in range(len(probes)):
        pixels, _ = _item(dataset, probes.place(probe), options)
        yield pixels if isinstance(pixels, str) else _sha256(pixels)


def _sha256(values: Any) -> str:
    """Hash of an array, tensor or list of numbers, with its shape."""
    array = np.ascontiguousarray(values)
    return hashlib.sha256(f"{array.shape}".encode() + array.tobytes()).hexdigest()
