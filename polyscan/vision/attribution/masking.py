"""Units of which only some lower channels pass: a unit cut out by a circuit.

`masked_values` cuts channels in the network itself, so it is exact for every layer, but costs a pass through the
network. `masked_directions` writes the same as readouts of what a layer reads, which can be scanned like any virtual
units. It is exact where the layer reads its inputs linearly, position for position (a 1x1 convolution of stride 1, a
linear layer), the batch norm after it included. A unit of another layer is no linear function of one position.

Source: Dreyer et al. 2024, "PURE: Turning polysemantic neurons into pure features by identifying relevant circuits".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from polyscan.errors import ModelError
from polyscan.stats.circuit_parts import carriers
from polyscan.vision.attribution.attributor import Attributor, inputs_of, passage_between, picked
from polyscan.vision.attribution.passage import Passage
from polyscan.vision.readouts import Directions, Reader, ReadPoint
from polyscan.vision.tracing import shape_of
from polyscan.vision.trial import example


def masked_values(
    attributor: Attributor,
    inputs: Float[Tensor, "b c y x"],
    units: Int64[Tensor, " b"],
    places: Int64[Tensor, "b 2"],
    keep: Bool[Tensor, "b d"],
) -> Float[Tensor, " b"]:
    """The units' values if only some channels of the lower layer pass, and the others are 0.

    What passes the lower layer by is left as it is.

    Args:
        attributor: of the units' layer and the lower layer.
        inputs: the network's inputs.
        units: the unit of each.
        places: row and column of its position in the unit's map.
        keep: for each input, the channels of the lower layer that pass.

    Raises:
        ModelError: if the lower layer's output has no row for each image.
    """
    passage, lower = attributor.passage, attributor.lower
    if not lower.layout.is_by_image:
        raise ModelError(f"layer {lower.layer} has no row for each image, so its channels can't be cut image by image")
    mask = _along_channels(keep.to(inputs), passage, lower)
    return picked(attributor.upper, passage.changed(inputs, lambda value: value * mask), units, places)


def _along_channels(rows: Float[Tensor, "b d"], passage: Passage, lower: ReadPoint) -> Tensor:
    """Numbers of each channel in the shape of the lower layer's output, with one position."""
    shape = [1] * len(shape_of(passage.lower))
    shape[0], shape[lower.layout.channels] = rows.shape
    return rows.reshape(shape)


def masked_directions(reader: Reader, layer: str, channels: Sequence[int], keep: Bool[Tensor, "u d"]) -> Directions:
    """Channels of a layer as readouts of what it reads, with some of the inputs left out.

    With all inputs kept, each is the channel itself. The bias is that of the whole channel.

    Args:
        reader: reads the layer.
        layer: a layer that reads its inputs linearly at each position.
        channels: its channels, which may repeat.
        keep: for each, the inputs that pass.

    Raises:
        ModelError: if the layer does not read so, or `keep` does not fit its inputs.
    """
    inputs = inputs_of(reader, layer)
    point = next(each for each in reader.points if each.layer == layer)
    if keep.shape != (len(channels), inputs.n_channels):
        raise ModelError(
            f"`keep` has the shape {tuple(keep.shape)}; {layer} reads {inputs.n_channels} channels, so "
            f"({len(channels)}, {inputs.n_channels}) is allowed"
        )
    weights, bias = _linear(reader, point, inputs)
    rows = torch.as_tensor(list(channels))
    return Directions(weights[rows] * keep.to(weights), bias[rows])


def purified_directions(
    reader: Reader,
    layer: str,
    channel: int,
    relevance: Float[np.ndarray, "n d"],
    clusters: Int[np.ndarray, " n"],
    *,
    share: float = 0.8,
) -> Directions:
    """A channel purified by its circuits: for each cluster of its exemplars the inputs that carry it there.

    Args:
        reader: reads the layer.
        layer: a layer that reads its inputs linearly at each position.
        channel: its channel.
        relevance: of each input, for each exemplar, as an `Attributor` with `to` = "" gives it.
        clusters: of each exemplar, as `pure_parts` gives them.
        share: of the relevance that the inputs kept of each cluster must hold.

    Returns:
        Readouts of the layer's inputs, one for each cluster in ascending order.

    Raises:
        ModelError: if the layer does not read so, or `relevance` does not fit its inputs.
    """
    keep = np.stack(list(carriers(relevance, clusters, share=share).values()))
    return masked_directions(reader, layer, [channel] * len(keep), torch.from_numpy(keep))


def _linear(reader: Reader, point: ReadPoint, inputs: ReadPoint) -> tuple[Float[Tensor, "c d"], Float[Tensor, " c"]]:
    """Weights and bias of all channels of a layer, as functions of its inputs: its answers to unit vectors and to 0."""
    passage = passage_between(reader, point, inputs)
    probes = torch.cat([torch.zeros(1, inputs.n_channels), torch.eye(inputs.n_channels)]).to(reader.network.device)
    given = _along_channels(probes, passage, inputs)
    answers = point.maps(passage.changed(example(reader.network, 2), lambda _: given))[:, :, 0, 0]
    return (answers[1:] - answers[0]).T.contiguous(), answers[0]
