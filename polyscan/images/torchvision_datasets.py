"""Data sets that torchvision knows by name and that are already on this disk; nothing is downloaded."""

from __future__ import annotations

import hashlib
import inspect
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from polyscan.errors import ImagesError, nearest
from polyscan.images.decode import decode, pixels_of, reason
from polyscan.images.listing import printable
from polyscan.images.options import PARTS, ImageOptions, Selection, list_digest
from polyscan.images.source import Picture, Reject

# What the data sets call their parts, most usual name first.
SPLITS = {"train": ("train", "trainval", "train-standard"), "test": ("test", "val", "valid")}
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
        kind = _dataset_class(name)
        options.check_unused(f"torchvision:{name}", "image_column", "label_column")
        if "root" not in inspect.signature(kind).parameters:
            options.check_unused(f"torchvision:{name}", "root")
        parts = _parts(kind)
        options.check_part(f"torchvision:{name}", PARTS if parts else ("all",))
        chosen = parts if options.part == "all" and parts else (options.part,)
        self._sets = [(part, _dataset(kind, part, options.root)) for part in chosen]
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

    def read(self, images: Sequence[int]) -> Iterator[Picture | Reject]:
        """The images of these ids; see `ImageSource.read`."""
        for image in images:
            place = self._selection.place(image)
            for part, dataset in self._sets:
                if place < len(dataset):
                    yield self._entry(int(image), part, dataset, place)
                    break
                place -= len(dataset)

    def _entry(self, image: int, part: str, dataset: Any, place: int) -> Picture | Reject:
        files = _files(dataset)
        if files is None:
            path = f"{part}#{place}"
            pixels, target = _item(dataset, place, self._options)
        else:
            file, target = files[place]
            path = printable(os.path.relpath(file, self._options.root or "."))
            pixels = _file_pixels(file, self._options)
        if isinstance(pixels, str):
            return Reject(image, path, pixels)
        label = int(target) if isinstance(target, (int, np.integer)) or _is_scalar_tensor(target) else None
        return Picture(image, path, pixels, label, _class_name(dataset, label))


def _datasets() -> Any:
    """torchvision.datasets, imported only when needed, because it imports all of torch."""
    from torchvision import datasets  # noqa: PLC0415

    return datasets


def _dataset_class(name: str) -> Any:
    """The class of that name; raises an ImagesError with the nearest names if there is no such class."""
    datasets = _datasets()
    known: list[str] = sorted(datasets.__all__)
    if name in known:
        return getattr(datasets, name)
    same_letters = [word for word in known if word.lower() == name.lower()]
    near = ", ".join(same_letters) or nearest(name, known)
    raise ImagesError(
        f'torchvision has no dataset "{name}"; nearest: {near}. All of them are listed on '
        "https://docs.pytorch.org/vision/stable/datasets.html."
    )


def _parts(kind: Any) -> tuple[str, ...]:
    """The parts that a dataset class has; () if it isn't divided."""
    return ("train", "test") if {"train", "split"} & set(inspect.signature(kind).parameters) else ()


def _dataset(kind: Any, part: str, root: str | None) -> Any:
    """One part of a dataset, opened from `root`."""
    parameters = inspect.signature(kind).parameters
    arguments: dict[str, Any] = {"download": False} if "download" in parameters else {}
    if "root" in parameters:
        arguments["root"] = _checked_root(kind, root)
    needed = [p.name for p in parameters.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    if missing := set(needed) - set(arguments) - {"train", "split"}:
        raise ImagesError(
            f"torchvision:{kind.__name__} needs more than a folder ({', '.join(sorted(missing))}), which can't be "
            "given here. Save its images as files in class folders and give that folder."
        )
    return _opened(kind, part, arguments)


def _checked_root(kind: Any, root: str | None) -> str:
    """The folder of a dataset's files.

    Raises:
        ImagesError: if it is not set, saying how to get the files.
    """
    if root is None:
        raise ImagesError(
            f"torchvision:{kind.__name__} needs the folder of its files, but `root` is not set. Set `root` to that "
            f"folder; to get the files: {_recipe(kind)}"
        )
    return root


def _opened(kind: Any, part: str, arguments: dict[str, Any]) -> Any:
    """The dataset's object; exceptions of its constructor become an ImagesError that says how to get the files."""
    problem: Exception | None = None
    for choice in _part_arguments(kind, part):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torchvision warns about its own old names
                return kind(**arguments, **choice)
        except Exception as error:  # each dataset reports missing files in its own way
            problem = error
            # A ValueError means that the dataset has no part of this name; others, that the files are missing.
            if not isinstance(error, ValueError):
                break
    raise ImagesError(
        f'torchvision:{kind.__name__} ({part}) can\'t be opened in "{arguments.get("root")}": '
        f"{' '.join(str(problem).split())}. It is never downloaded here; to get it: {_recipe(kind)}"
    ) from problem


def _part_arguments(kind: Any, part: str) -> list[dict[str, Any]]:
    """Arguments that may select a part of a dataset, most likely first."""
    parameters = inspect.signature(kind).parameters
    if "train" in parameters:
        return [{"train": part == "train"}]
    return [{"split": word} for word in SPLITS[part]] if "split" in parameters else [{}]


def _recipe(kind: Any) -> str:
    """How to get a dataset's files."""
    if "download" not in inspect.signature(kind).parameters:
        return f"put its files where torchvision.datasets.{kind.__name__} documents them."
    return (
        f'python -c "from torchvision.datasets import {kind.__name__} as D; D(ROOT, download=True)", with your `root` '
        "as ROOT (once per part)."
    )


def _files(dataset: Any) -> list[tuple[str, Any]] | None:
    """File and class of each image of an ImageFolder or a subclass; None for other data sets."""
    return dataset.samples if isinstance(dataset, _datasets().DatasetFolder) else None


def _file_pixels(file: str, options: ImageOptions) -> Any:
    """Pixels of a file, or the reason why it can't be read."""
    try:
        with open(file, "rb") as stream:
            content = stream.read()
    except (FileNotFoundError, PermissionError) as error:
        return f"unreadable: {error.strerror}"
    return decode(content, options.max_pixels, options.decoding)


def _item(dataset: Any, place: int, options: ImageOptions) -> tuple[Any, Any]:
    """Pixels (or a reason) and target of one image, as the dataset's own code reads it."""
    with warnings.catch_warnings():
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


def _is_scalar_tensor(target: Any) -> bool:
    """Whether `target` is a single whole number in a tensor."""
    return hasattr(target, "is_floating_point") and target.ndim == 0 and not target.is_floating_point()


def _class_name(dataset: Any, label: int | None) -> str:
    """The class's name, or all its names (ImageNet's synonyms)."""
    classes = getattr(dataset, "classes", None) or getattr(dataset, "categories", None)
    if label is None or not isinstance(classes, (list, tuple)) or not 0 <= label < len(classes):
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
