"""Classes of a torchvision data set: one number means one class in all its parts.

A set whose parts are folders numbers its classes part by part, so a class that one part lacks moves the numbers of all
behind it. Then the classes are numbered anew, by their names over all parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from polyscan.errors import ImagesError
from polyscan.images.names import shown
from polyscan.images.torchvision_content import samples


@dataclass(frozen=True)
class Classes:
    """Numbers and names of the classes over all parts.

    Args:
        names: by number; empty if the data set names no classes.
        numbers: of each part, the number of each of its own classes; None where they are as the part counts them.
    """

    names: tuple[str, ...]
    numbers: tuple[tuple[int, ...] | None, ...]

    def of(self, part: int, target: Any) -> tuple[int | None, str]:
        """Number and name of the class that a part's target means; None and "" if it is no whole number."""
        label = label_of(target)
        numbers = self.numbers[part]
        if label is not None and numbers is not None:
            label = numbers[label]
        named = label is not None and 0 <= label < len(self.names)
        return label, self.names[label] if named and label is not None else ""


def classes_of(name: str, parts: Sequence[tuple[str, Any]]) -> Classes:
    """The classes of the parts of a data set.

    Args:
        name: of the data set, for messages.
        parts: name and dataset of each part.

    Raises:
        ImagesError: if the parts differ in their classes and are no folders of them.
    """
    keys = [_keys(dataset) for _, dataset in parts]
    if all(own == keys[0] for own in keys):
        return Classes(_names(parts[0][1]), (None,) * len(parts))
    are_folders = all(samples(dataset) is not None for _, dataset in parts)
    if not are_folders or any(len(set(own)) < len(own) for own in keys):
        _refuse(name, [part for part, _ in parts], keys)
    named: dict[str, str] = {}
    for (_, dataset), own in zip(parts, keys, strict=True):
        named |= dict(zip(own, _names(dataset), strict=True))
    places = {key: place for place, key in enumerate(sorted(named))}
    return Classes(tuple(named[key] for key in places), tuple(tuple(places[key] for key in own) for own in keys))


def label_of(target: Any) -> int | None:
    """The label that a target is; None if it is no whole number (boxes, captions)."""
    return int(target) if isinstance(target, (int, np.integer)) or _is_scalar_tensor(target) else None


def _is_scalar_tensor(target: Any) -> bool:
    """Whether `target` is a single whole number in a tensor."""
    return hasattr(target, "is_floating_point") and target.ndim == 0 and not target.is_floating_point()


def _keys(dataset: Any) -> tuple[str, ...]:
    """What tells the classes apart: WordNet's ids, since a name may occur twice (ImageNet has two cranes), or names."""
    names, ids = _names(dataset), getattr(dataset, "wnids", None)
    return tuple(map(str, cast("Iterable[Any]", ids))) if isinstance(ids, list) and len(ids) == len(names) else names


def _names(dataset: Any) -> tuple[str, ...]:
    """Names of the classes; of several names of one class (ImageNet's synonyms), all."""
    classes = getattr(dataset, "classes", None) or getattr(dataset, "categories", None)
    if not isinstance(classes, (list, tuple)):
        return ()
    return tuple(
        ", ".join(map(str, cast("Iterable[Any]", each))) if isinstance(each, (list, tuple)) else shown(str(each))
        for each in cast("Sequence[Any]", classes)
    )


def _refuse(name: str, parts: Sequence[str], keys: Sequence[tuple[str, ...]]) -> None:
    """Raises an ImagesError that names a class which one part has and another lacks, or has under another number."""
    first, other = keys[0], next(own for own in keys if own != keys[0])
    place = next((i for i, (a, b) in enumerate(zip(first, other, strict=False)) if a != b), min(len(first), len(other)))
    here, there = (f'"{own[place]}"' if place < len(own) else "no class" for own in (first, other))
    raise ImagesError(
        f"the parts of torchvision:{name} have other classes: {place} is {here} in {parts[0]} and {there} in "
        f"{parts[keys.index(other)]}; a number must mean one class in all parts. Restore the files of both parts, or "
        'set `part` to "train" or "test".'
    )
