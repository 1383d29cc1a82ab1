"""Networks by name: architecture, weights, their own preprocessing, and a hash of what was loaded.

Law: only torchvision and timm download, by their own code and only for a weights name; a weights file is read without
running any code in it.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from polyscan.errors import ModelError, nearest
from polyscan.vision.framing import sides
from polyscan.vision.own_code import own_callable
from polyscan.vision.preprocessing import Preprocessing, from_timm, from_torchvision
from polyscan.vision.weights_files import is_weights_file, load_weights_file


@dataclass(frozen=True)
class NetworkRequest:
    """Which network to load; see `[network]` of a job. `module:callable` is looked for in `folder` first."""

    name: str
    weights: str = ""
    folder: str = ""
    input_px: int | tuple[int, int] | None = None
    resize_px: int | tuple[int, int] | None = None
    channels: int | None = None
    mean: float | tuple[float, ...] | None = None
    std: float | tuple[float, ...] | None = None
    interpolation: str | None = None
    crop_mode: str | None = None


@dataclass(frozen=True)
class Network:
    """A loaded network: in eval mode, its weights frozen."""

    name: str
    module: nn.Module
    preprocessing: Preprocessing
    device: torch.device

    @property
    def digest(self) -> str:
        """Sha256 over the names, shapes and bytes of all weights and buffers."""
        digest = hashlib.sha256()
        for name, value in sorted(self.module.state_dict().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def load_network(request: NetworkRequest, device: torch.device) -> Network:
    """Loads the network of a request onto a device.

    Raises:
        ModelError: if the name is unknown, weights are missing or do not fit, or the preprocessing is not known.
    """
    prefix, _, name = request.name.partition(":")
    loader = LOADERS.get(prefix if name else "", _load_own)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # random weights must be the same on every worker
        module, default = loader(request, name)
    if is_weights_file(request.weights):
        load_weights_file(module, Path(request.weights), request.name)
    module.eval().requires_grad_(requires_grad=False)
    return Network(request.name, _placed(module, device), _preprocessing(request, default), device)


def _placed(module: nn.Module, device: torch.device) -> nn.Module:
    # Channels-last convolutions are the fast ones on CPU and GPU alike (MobileNetV2 here: about half the time).
    return module.to(device=device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def _load_torchvision(request: NetworkRequest, name: str) -> tuple[nn.Module, Preprocessing | None]:
    import torchvision.models as zoo  # noqa: PLC0415  # takes half a second, which other networks don't need

    if name not in zoo.list_models():
        raise ModelError(f'torchvision has no model "{name}"; nearest: {nearest(name, zoo.list_models())}')
    weights = None
    if request.weights and not is_weights_file(request.weights):
        weights = _torchvision_weights(name, request.weights, zoo.get_model_weights(name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # GoogLeNet and Inception announce another initialisation
        module = _fetched(lambda: zoo.get_model(name, weights=weights), request)
    default = weights or next(iter(zoo.get_model_weights(name)), None)
    return module, from_torchvision(default.transforms()) if default else None


def _torchvision_weights(name: str, weights: str, known: Any) -> Any:
    if weights != "DEFAULT" and weights not in known.__members__:
        raise ModelError(f'torchvision:{name} has no weights "{weights}"; it has: {", ".join(known.__members__)}')
    return known[weights]


def _load_timm(request: NetworkRequest, name: str) -> tuple[nn.Module, Preprocessing | None]:
    import timm  # noqa: PLC0415  # takes a second, which other networks don't need
    from timm.data.config import resolve_data_config  # noqa: PLC0415

    full = f"{name}.{request.weights}" if request.weights and not is_weights_file(request.weights) else name
    if not timm.is_model(name):
        raise ModelError(f'timm has no model "{name}"; nearest: {nearest(name, timm.list_models())}')
    pretrained = full != name
    module = _fetched(lambda: timm.create_model(full, pretrained=pretrained), request)
    return module, from_timm(resolve_data_config({}, model=module))


def _load_own(request: NetworkRequest, _: str) -> tuple[nn.Module, Preprocessing | None]:
    if ":" not in request.name:
        raise ModelError(
            f'unknown network "{request.name}"; write torchvision:NAME, timm:NAME or module:callable (your own code)'
        )
    module = own_callable(request.name, request.folder)()
    if not isinstance(module, nn.Module):
        raise ModelError(f'"{request.name}" gave a {type(module).__name__}; it must give a torch.nn.Module')
    if request.weights and not is_weights_file(request.weights):
        raise ModelError(f'weights "{request.weights}" of {request.name} must be a .safetensors or .pth file')
    return module, None


LOADERS: dict[str, Callable[[NetworkRequest, str], tuple[nn.Module, Preprocessing | None]]] = {
    "torchvision": _load_torchvision,
    "timm": _load_timm,
}
"""The registry of networks, by the part of the name before the colon; any other name is `module:callable`."""


def _fetched(build: Callable[[], nn.Module], request: NetworkRequest) -> nn.Module:
    try:
        return build()
    except OSError as error:  # URLError and the hub's own errors are OSErrors
        raise ModelError(
            f'the weights "{request.weights}" of {request.name} are not on this machine and could not be fetched '
            f"({error}); copy them to TORCH_HOME or name a .safetensors file"
        ) from error


def _preprocessing(request: NetworkRequest, default: Preprocessing | None) -> Preprocessing:
    """The network's default preprocessing, changed by the settings of the request."""
    if default is None and request.input_px is None:
        raise ModelError(
            f"the preprocessing of {request.name} is not known; "
            "set `input_px`, `channels`, `mean` and `std` in [network]"
        )
    base = default or Preprocessing(request.input_px or 0, request.input_px or 0, (0.5,) * 3, (0.5,) * 3)
    sized = base.at(request.input_px)
    mean, std = _normalisation(request, base)
    return Preprocessing(
        resize_px=_resize_px(request, sized),
        input_px=sized.input_px,
        mean=mean,
        std=std,
        interpolation=request.interpolation or sized.interpolation,
        crop_mode=request.crop_mode or sized.crop_mode,
    )


def _resize_px(request: NetworkRequest, sized: Preprocessing) -> int | tuple[int, int]:
    """The size before the crop; one number is the size that the input's short side has in it."""
    if request.resize_px is None:
        return sized.resize_px
    short = min(sized.size)
    wanted = request.resize_px
    if isinstance(wanted, int) and sized.size != (short, short):
        wanted = (round(wanted * sized.size[0] / short), round(wanted * sized.size[1] / short))
    if any(before < after for before, after in zip(sides(wanted), sized.size, strict=True)):
        raise ModelError(
            f"`resize_px` {request.resize_px} is smaller than `input_px` {sized.input_px}, so the input would have a "
            "black margin; allowed is a size from `input_px` on. Raise `resize_px` in [network], or leave it out"
        )
    return wanted


def _normalisation(request: NetworkRequest, base: Preprocessing) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel; one number counts for all channels, 0.5 if nothing is known."""
    lengths = [len(values) for values in (request.mean, request.std) if isinstance(values, tuple)]
    channels = request.channels or next(iter(lengths), base.channels)

    def each(wanted: float | tuple[float, ...] | None, default: tuple[float, ...]) -> tuple[float, ...]:
        if wanted is None:
            return default if len(default) == channels else (0.5,) * channels
        return tuple(wanted) if isinstance(wanted, tuple) else (wanted,) * channels

    mean, std = each(request.mean, base.mean), each(request.std, base.std)
    if not len(mean) == len(std) == channels:
        raise ModelError(
            f"`mean` has {len(mean)} and `std` {len(std)} numbers; `channels` is {channels}; allowed is one number for "
            "each channel, or one for all. Correct them in [network]"
        )
    return mean, std
