"""Data sets that torchvision knows by name and that are already on this disk; nothing is downloaded."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any

from polyscan.errors import ImagesError
from polyscan.images.content import array_content, checksum
from polyscan.images.decode import decode
from polyscan.images.listing import stamp_of_path
from polyscan.images.names import shown
from polyscan.images.options import PARTS, ImageOptions, list_digest
from polyscan.images.source import Picture, Reject
from polyscan.images.torchvision_classes import classes_of, label_of
from polyscan.images.torchvision_content import is_arrays, item, listed_files, samples, stamp_of_others, state
from polyscan.images.torchvision_opening import dataset_class, open_part, parts_of

OTHERS = "all other files"
"""Name in `stamps` of what lies below the root beside image files: lists, annotations, archives."""


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
        self._selection = options.selection(sum(len(dataset) for _, dataset in self._sets))
        if not len(self):
            raise ImagesError(f'torchvision:{name} holds no images in "{options.root}". Check `root`.')
        self._classes = classes_of(name, self._sets)

    def __reduce__(self) -> tuple[type[TorchvisionImages], tuple[str, ImageOptions]]:
        """Pickled by name and options and opened again when unpickled: small data sets are in memory as a whole."""
        return TorchvisionImages, (self._name, self._options)

    def __len__(self) -> int:
        return len(self._selection)

    @property
    def digest(self) -> str:
        """Hash of each part's whole list in order (arrays or paths, labels, sizes in class folders) and its classes."""
        header = ["torchvision", self._name, self._options.part, *self._options.reading]
        return list_digest([header, *((part, *state(dataset, self._options)) for part, dataset in self._sets)])

    @property
    def labels(self) -> str:
        """Where the labels come from; see `ImageSource.labels`."""
        dataset = self._sets[0][1]
        files = samples(dataset)
        target = files[0][1] if files else item(dataset, 0, self._options)[1]
        if label_of(target) is None:
            return f"none found (the targets of torchvision:{self._name} are not whole numbers)"
        n_names = len(self._classes.names)
        return f"targets of torchvision:{self._name}, " + (f"{n_names} classes named" if n_names else "without names")

    @property
    def left_out(self) -> str:
        """Nothing: the data set itself says which files belong to it."""
        return ""

    @property
    def stamps(self) -> dict[str, str]:
        """Stamp of each image file, and one of all other files below the root that the data set's own code may read.

        Empty for data sets in arrays, which the digest covers.
        """
        stamps = {name: stamp_of_path(file) for name, (file, _) in self._places_of_files.items()}
        if roots := self._roots_read_by_own_code:
            files = (file for file, _ in self._places_of_files.values())
            stamps[OTHERS] = stamp_of_others(roots, files)
        return stamps

    def images_of_file(self, name: str) -> Sequence[int]:
        """Ids of the images in a file; all for the stamp of the other files; see `ImageSource.images_of_file`."""
        if name == OTHERS and self._roots_read_by_own_code:
            return range(len(self))
        _, places = self._places_of_files.get(name, ("", ()))
        return [image for place in places for image in self._selection.images(place, place + 1)]

    @property
    def _roots_read_by_own_code(self) -> list[str]:
        """Folders from which the data set's own code reads images when they are asked for."""
        own = [dataset for _, dataset in self._sets if samples(dataset) is None and not is_arrays(dataset)]
        roots: list[object] = [getattr(dataset, "root", None) for dataset in own]
        return [os.fspath(root) for root in roots if isinstance(root, (str, os.PathLike)) and os.path.isdir(root)]

    @cached_property
    def _places_of_files(self) -> Mapping[str, tuple[str, list[int]]]:
        """Path of each image file and its positions in the full order, by its name in `stamps`."""
        found: dict[str, tuple[str, list[int]]] = {}
        starts = accumulate((len(dataset) for _, dataset in self._sets), initial=0)
        for start, (_, dataset) in zip(starts, self._sets, strict=False):
            for place, file in enumerate(listed_files(dataset), start):
                found.setdefault(self._shown(file), (file, []))[1].append(place)
        return found

    def contents(self, images: Sequence[int]) -> Iterator[bytes]:
        """Bytes of the file, or else pixels and label, of each of these images; see `ImageSource.contents`."""
        for image in images:
            part, place = self._located(image)
            dataset = self._sets[part][1]
            files = samples(dataset)
            if files is None:
                yield _array_content(*item(dataset, place, self._options))
            else:
                content = _file_content(files[place][0])
                yield b"" if isinstance(content, str) else content

    def read(self, images: Sequence[int]) -> Iterator[Picture | Reject]:
        """The images of these ids; see `ImageSource.read`."""
        for image in images:
            yield self._entry(int(image), *self._located(image))

    def _located(self, image: int) -> tuple[int, int]:
        """The part of an image, and the position in it."""
        place = self._selection.place(image)
        for part, (_, dataset) in enumerate(self._sets):
            if place < len(dataset):
                return part, place
            place -= len(dataset)
        raise AssertionError("a position is always in a part")

    def _entry(self, image: int, part: int, place: int) -> Picture | Reject:
        name, dataset = self._sets[part]
        files = samples(dataset)
        if files is None:
            path = f"{name}#{place}"
            pixels, target = item(dataset, place, self._options)
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
        return Picture(image, path, pixels, *self._classes.of(part, target), digits)

    def _shown(self, file: str) -> str:
        return shown(os.path.relpath(file, self._options.root or "."))


def _file_content(file: str) -> bytes | str:
    """Bytes of a file, or the reason why it can't be read."""
    try:
        with open(file, "rb") as stream:
            return stream.read()
    except (FileNotFoundError, PermissionError) as error:
        return f"unreadable: {error.strerror}"


def _array_content(pixels: Any, target: Any) -> bytes:
    """Pixels and label as bytes; empty if there are no pixels."""
    return b"" if isinstance(pixels, str) else array_content(pixels, label_of(target))
