"""Networks with split channels: a channel is computed as A + B - R, which can be read, and the function is unchanged.

A split network is own code: `network.name = "polyscan.vision.split_layers:split_network"`, with the original network
and a file of splits as `network.options`. `polyscan disentangle --how split` writes both.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Int
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from polyscan.errors import ModelError, suggestion
from polyscan.vision.networks import NetworkRequest, load_network

FIRST, SECOND, BOTH = 1, 2, 3
"""Which part an input serves."""
Splits = Mapping[str, Mapping[int, Int[Tensor, " c"]]]
"""By layer and channel, which part each input of the layer serves."""
PLACE = ":"
"""Separates layer and channel in the name of an array of a file of splits."""


class SplitLayer(nn.Module):
    """A linear layer or a 1 x 1 convolution, some of whose channels are computed as A + B - R.

    `parts` computes all channels, A in place of a split one, then B and R of each split channel; `merge` adds them up.
    So A, B and R are channels of the layer `NAME.parts`, which can be scanned as any layer.

    Args:
        layer: a linear layer, or a convolution of 1 x 1 and one group.
        channels: which part each input serves, by channel.

    Raises:
        ModelError: if the layer is another one, or a channel or an input is not in it.
    """

    def __init__(self, layer: nn.Module, channels: Mapping[int, Int[Tensor, " c"]]) -> None:
        super().__init__()
        if not _is_pointwise(layer):
            raise ModelError(f"a {type(layer).__name__} can't be split; allowed: linear layers, 1 x 1 convolutions")
        weight = layer.get_parameter("weight").detach()
        bias = getattr(layer, "bias", None)
        rows, merge, biases = weight.clone(), torch.eye(len(weight)), None if bias is None else bias.detach().clone()
        for channel, sharing in channels.items():
            if not 0 <= channel < len(weight) or len(sharing) != weight.shape[1]:
                raise ModelError(
                    f"a split names channel {channel} with {len(sharing)} inputs; the layer has {len(weight)} channels "
                    f"of {weight.shape[1]} inputs. Make the splits again for this network"
                )
            first, second, both = (_masked(weight[channel], sharing, kept) for kept in ((1, 3), (2, 3), (3,)))
            rows[channel] = first
            rows = torch.cat([rows, second[None], both[None]])
            sums = torch.zeros(len(merge), 2)
            sums[channel] = torch.tensor([1.0, -1.0])
            merge = torch.cat([merge, sums], dim=1)
            biases = None if biases is None else torch.cat([biases, biases[channel].expand(2)])
        stride = layer.stride if isinstance(layer, nn.Conv2d) else (1, 1)
        self.parts = _pointwise(rows, biases, (stride[0], stride[1]))
        self.merge = _pointwise(merge.view(*merge.shape, *[1] * (weight.ndim - 2)), None)

    def forward(self, x: Tensor) -> Tensor:
        """What the layer gives."""
        return self.merge(self.parts(x))


def split_network(
    network: str, splits: str, weights: str = "", folder: str = "", input_px: int | None = None
) -> nn.Module:
    """The network of a name with split channels.

    Args:
        network: its name, as `network.name` of a job.
        splits: a file that `save_splits` wrote.
        weights: its weights, as `network.weights` of a job.
        folder: where its own code is.
        input_px: side of its input, for own code.

    Raises:
        ModelError: if the file can't be read, or does not fit the network.
    """
    request = NetworkRequest(network, weights, folder=folder, input_px=input_px)
    return with_splits(load_network(request, torch.device("cpu")).module, load_splits(splits))


def with_splits(module: nn.Module, splits: Splits) -> nn.Module:
    """The module with these layers replaced by split ones, in place.

    Raises:
        ModelError: if a layer is not in it, or can't be split so.
    """
    names = dict(module.named_modules())
    for layer, channels in splits.items():
        if layer not in names or not layer:
            raise ModelError(f'no layer "{layer}" to split; {suggestion(layer, names)}')
        parent, _, name = layer.rpartition(".")
        setattr(module.get_submodule(parent), name, SplitLayer(names[layer], channels))
    return module


def save_splits(path: Path, splits: Splits) -> None:
    """Writes splits as a `.safetensors` file: an array `LAYER:CHANNEL` for each, with 1, 2 or 3 for each input."""
    save_file(
        {
            f"{layer}{PLACE}{channel}": sharing.to(torch.uint8).contiguous()
            for layer, channels in splits.items()
            for channel, sharing in channels.items()
        },
        str(path),
    )


def load_splits(path: str) -> Splits:
    """What `save_splits` wrote.

    Raises:
        ModelError: if the file can't be read, or holds something else.
    """
    try:
        arrays = load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"the splits can't be read from {path} ({error}); give a file of `disentangle`") from error
    splits: dict[str, dict[int, Tensor]] = {}
    for name, sharing in arrays.items():
        layer, mark, channel = name.rpartition(PLACE)
        is_known = bool(((sharing >= FIRST) & (sharing <= BOTH)).all())
        if not mark or not channel.isdecimal() or sharing.ndim != 1 or not is_known:
            raise ModelError(f"{path} has an array `{name}` that is no split; give a file of `disentangle`")
        splits.setdefault(layer, {})[int(channel)] = sharing
    return splits


def _is_pointwise(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Conv2d):
        return layer.groups == 1 and layer.kernel_size == (1, 1) and layer.padding == (0, 0)
    return isinstance(layer, nn.Linear)


def _masked(weight: Tensor, sharing: Tensor, kept: tuple[int, ...]) -> Tensor:
    is_kept = torch.isin(sharing.to(weight.device), torch.tensor(kept, device=weight.device, dtype=sharing.dtype))
    return weight * is_kept.view(-1, *[1] * (weight.ndim - 1))


def _pointwise(weight: Tensor, bias: Tensor | None, stride: tuple[int, int] = (1, 1)) -> nn.Module:
    """A linear layer with this matrix, or a convolution if the weights are those of one."""
    n_out, n_in = weight.shape[:2]
    made: nn.Module
    if weight.ndim > 2:
        made = nn.Conv2d(n_in, n_out, 1, stride=stride, bias=bias is not None)
    else:
        made = nn.Linear(n_in, n_out, bias=bias is not None)
    with torch.no_grad():
        made.get_parameter("weight").copy_(weight)
        if bias is not None:
            made.get_parameter("bias").copy_(bias)
    return made
