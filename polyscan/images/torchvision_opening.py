"""Opens a class of `torchvision.datasets` from files that are already on this disk; nothing is downloaded."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

from polyscan.errors import ImagesError, nearest

# What the data sets call their parts, most usual name first.
SPLITS = {"train": ("train", "trainval", "train-standard"), "test": ("test", "val", "valid")}


def datasets_module() -> Any:
    """torchvision.datasets, imported only when needed, because it imports all of torch."""
    from torchvision import datasets  # noqa: PLC0415

    return datasets


def dataset_class(name: str) -> Any:
    """The class of that name.

    Raises:
        ImagesError: with the nearest names, if there is no such class.
    """
    known = _datasets()
    if name in known:
        return known[name]
    same_letters = [word for word in known if word.lower() == name.lower()]
    near = ", ".join(same_letters) or nearest(name, known)
    raise ImagesError(
        f'torchvision has no dataset "{name}"; nearest: {near}. All of them are listed on '
        "https://docs.pytorch.org/vision/stable/datasets.html."
    )


def _datasets() -> dict[str, Any]:
    """The data sets by name: neither functions nor bases of data sets, which hold no images."""
    module = datasets_module()
    base = module.VisionDataset
    found = {name: getattr(module, name) for name in sorted(module.__all__)}
    return {name: kind for name, kind in found.items() if isinstance(kind, type) and kind is not base}


def parts_of(kind: Any) -> tuple[str, ...]:
    """The parts that a dataset class has; () if it isn't divided."""
    return ("train", "test") if {"train", "split"} & set(inspect.signature(kind).parameters) else ()


def open_part(kind: Any, part: str, root: str | None) -> Any:
    """One part of a dataset, opened from `root`.

    Raises:
        ImagesError: if its files are not there, or it needs arguments that can't be given here.
    """
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
    else:
        _refuse_other_splits(kind, problem)
    raise ImagesError(
        f'torchvision:{kind.__name__} ({part}) can\'t be opened in "{arguments.get("root")}": '
        f"{' '.join(str(problem).split())}. It is never downloaded here; to get it: {_recipe(kind)}"
    ) from problem


def _refuse_other_splits(kind: Any, problem: Exception | None) -> None:
    """Raises an ImagesError if `split` must be given and none of its values is a part (EMNIST: letters ...)."""
    split = inspect.signature(kind).parameters.get("split")
    if split is None or split.default is not split.empty:
        return
    values = getattr(kind, "splits", ())
    named = f" ({', '.join(map(str, values))})" if values else ""
    raise ImagesError(
        f"torchvision:{kind.__name__} needs more than a folder: its `split`{named} is no part like train or test, and "
        "can't be given here. Save its images as files in class folders and give that folder."
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
