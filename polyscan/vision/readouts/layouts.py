"""Which axes of a layer's output hold the images and the channels.

Most layers give one row per image. Others fold the images into a longer axis (tiles, windows, mirrored copies), or put
them second (sequences with time first). Read as rows, their peaks would be those of other images, and nothing would say
so; therefore the axis is found by running the network on two images and on three.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

N_FEWER, N_MORE = 2, 3
"""Numbers of images that an axis is found with; not 1, with which `squeeze` would drop the axis."""
SAME = 1e-3
"""Largest difference between batches of two sizes, relative to the largest value; rounding makes one of 1e-6."""


See = Callable[[str, Tensor], None]
"""Receives the name of a node and its output."""
Look = Callable[[Tensor, See], None]
"""Runs the network on images, and shows the outputs of its nodes."""


@dataclass(frozen=True)
class Layout:
    """Where the images and channels of a layer's output are.

    The axis of images has `outer` x images x `inner` entries: tiles of an image that follow one another are `inner`,
    copies of the whole batch are `outer`. All parts of an image belong to its map.

    Args:
        channels: the axis of the channels.
        images: the axis that holds the images.
        outer: number of times that the row of images is repeated.
        inner: number of entries of an image in each row.
    """

    channels: int
    images: int = 0
    outer: int = 1
    inner: int = 1

    @property
    def parts(self) -> int:
        """Number of entries of each image along the axis of images."""
        return self.outer * self.inner

    @property
    def is_by_image(self) -> bool:
        """Whether the output has one row per image."""
        return self.images == 0 and self.parts == 1

    def is_plain(self, value: Tensor) -> bool:
        """Whether an output is maps already: [b, c, y, x]."""
        return value.ndim == 4 and self.channels == 1 and self.is_by_image

    def shape(self, output: tuple[int, ...]) -> tuple[int, int, int, int]:
        """Shape of the maps that are made of an output of this shape."""
        maps = self.maps(torch.empty(output, device="meta"))
        return (maps.shape[0], maps.shape[1], maps.shape[2], maps.shape[3])

    def maps(self, value: Tensor) -> Float[Tensor, "b c y x"]:
        """The maps in a layer's output: a vector has one position, tokens and parts are rows of positions."""
        if self.is_plain(value):
            return value
        if value.ndim == 2 and self.is_by_image:  # contiguous, which decides how a product of matrices is rounded
            return value.reshape(*value.shape, 1, 1)
        n_images = value.shape[self.images] // self.parts
        split = value.unflatten(self.images, (self.outer, n_images, self.inner))
        outer, images, inner = self.images, self.images + 1, self.images + 2
        channels = self.channels + 2 * (self.channels > self.images)
        places = [axis for axis in range(split.ndim) if axis not in (outer, images, inner, channels)]
        moved = split.permute(images, channels, outer, inner, *places)
        width = moved.shape[-1] if len(places) > 1 else 1
        return moved.reshape(n_images, split.shape[channels], -1, width)


def layouts_of(
    channels: Mapping[str, int], look: Look, images: Float[Tensor, "b c y x"]
) -> dict[str, tuple[tuple[int, ...], Layout | None]]:
    """Finds where the images are in the outputs of some nodes.

    Args:
        channels: the axis of the channels in each node's output.
        look: runs the network.
        images: N_MORE different inputs.

    Returns:
        for each node in forward order its output's shape for N_FEWER images, and the layout; None if the output is not
        divided among the images.
    """
    fewer, more = _shapes(look, images[:N_FEWER]), _shapes(look, images)
    possible = {
        node: list(_possible(shape, more.get(node, ()), channels[node]))
        for node, shape in fewer.items()
        if node in channels
    }
    doubtful = {node for node, layouts in possible.items() if len(layouts) > 1}
    outputs = _outputs(look, images[:N_FEWER], doubtful), _outputs(look, images, doubtful)
    found: dict[str, tuple[tuple[int, ...], Layout | None]] = {}
    for node, layouts in possible.items():
        if node in doubtful and all(node in of_batch for of_batch in outputs):
            found[node] = fewer[node], _best(layouts, outputs[0][node], outputs[1][node])
        else:
            found[node] = fewer[node], layouts[0] if layouts and node not in doubtful else None
    return found


def _shapes(look: Look, images: Tensor) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    look(images, lambda node, output: shapes.__setitem__(node, tuple(output.shape)))
    return shapes


def _outputs(look: Look, images: Tensor, nodes: set[str]) -> dict[str, Tensor]:
    """Copies of these nodes' outputs, which later nodes may overwrite."""
    outputs: dict[str, Tensor] = {}

    def keep(node: str, output: Tensor) -> None:
        if node in nodes:
            outputs[node] = output.clone()

    if nodes:
        look(images, keep)
    return outputs


def _possible(fewer: tuple[int, ...], more: tuple[int, ...], channels: int) -> Iterator[Layout]:
    """The layouts that an output may have, from its shapes for N_FEWER and for N_MORE images.

    None if it does not grow with the number of images, or with it in another way.
    """
    if len(fewer) != len(more):
        return
    grown = [axis for axis, (small, large) in enumerate(zip(fewer, more, strict=True)) if small != large]
    if len(grown) != 1 or grown[0] == channels:
        return
    axis = grown[0]
    parts, rest = divmod(fewer[axis], N_FEWER)
    if rest or more[axis] != N_MORE * parts:
        return
    for inner in range(parts, 0, -1):
        if parts % inner == 0:
            yield Layout(channels, axis, parts // inner, inner)


def _best(layouts: Sequence[Layout], fewer: Tensor, more: Tensor) -> Layout | None:
    """The layout with which an image's maps depend least on how many others there are.

    None if they do depend, or if the outputs are so alike that two layouts would do.
    """
    errors = [_difference(layout, fewer, more) for layout in layouts]
    error = min(errors)
    best = layouts[errors.index(error)]
    is_told = errors.count(error) == 1
    return best if error <= SAME and is_told else None


def _difference(layout: Layout, fewer: Tensor, more: Tensor) -> float:
    """Largest difference of the first images' maps between batches of two sizes, relative to the largest value."""
    first, same = layout.maps(more)[:N_FEWER].float(), layout.maps(fewer).float()
    largest = torch.maximum(first.abs().max(), same.abs().max())
    difference = float((first - same).abs().max() / largest.clamp(min=torch.finfo(torch.float32).tiny))
    return math.inf if math.isnan(difference) else difference
