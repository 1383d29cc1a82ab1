"""Networks by name: architecture, weights, their own preprocessing, and a hash of what was loaded.

Law: only torchvision and timm download, by their own code and only for weights that were asked for; a weights file is
read without running any code in it. Which weights were taken is told in a sentence.
"""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from polyscan.errors import ModelError
from polyscan.vision.framing import sides
from polyscan.vision.libraries import RANDOM, UNTRAINED, Built, of_timm, of_torchvision
from polyscan.vision.module_checks import ready
from polyscan.vision.own_code import own_parameters, own_result
from polyscan.vision.own_sources import LIBRARIES, is_own_code
from polyscan.vision.plain_weights import make_weights_plain
from polyscan.vision.preprocessing import Preprocessing
from polyscan.vision.weights_files import is_weights_file, load_weights_file

log = logging.getLogger(__name__)

CLASS_OPTIONS = ("num_classes", "n_classes", "nb_classes", "num_class", "num_labels", "n_labels", "classes")
"""Names under which functions take the number of classes."""


@dataclass(frozen=True)
class NetworkRequest:
    """Which network to load; see `[network]` of a job. `module:callable` is looked for in `folder` first.

    Random weights are drawn from `seed`.
    """

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
    trace: bool = True
    weights_key: str = ""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    seed: int = 0


@dataclass(frozen=True)
class Network:
    """A loaded network: in eval mode, its weights frozen.

    Args:
        name: as in the job.
        module: the network itself.
        preprocessing: what turns an image into its input.
        device: where it is.
        weights_taken: which weights it has, in a sentence.
        is_untrained: whether its weights are random because the job asks for it.
        trace: whether it is read by the graph that torch.fx traces, if it can be traced.
    """

    name: str
    module: nn.Module
    preprocessing: Preprocessing
    device: torch.device
    weights_taken: str = ""
    is_untrained: bool = False
    trace: bool = True

    @property
    def digest(self) -> str:
        """Sha256 over the names, shapes and bytes of all weights and buffers, and over plain extra states."""
        digest = hashlib.sha256()
        for name, value in sorted(self.module.state_dict().items()):
            for part in _bytes_of(name, value):
                digest.update(part)
        return digest.hexdigest()


def _bytes_of(name: str, value: Any) -> Iterator[bytes]:
    """What a digest covers of one entry of a state dict; of objects that are not plain values only their class."""
    if isinstance(value, Tensor):
        yield f"{name} {value.dtype} {tuple(value.shape)}".encode()
        dense = value.detach().to_dense() if value.layout != torch.strided else value.detach()
        yield dense.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    elif isinstance(value, Mapping):
        for key, inner in cast("Mapping[Any, Any]", value).items():
            yield from _bytes_of(f"{name}.{key}", inner)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(cast("list[Any]", value)):
            yield from _bytes_of(f"{name}.{index}", inner)
    elif isinstance(value, str | bytes | int | float | bool | None):
        yield f"{name} {value!r}".encode()
    else:
        yield f"{name} {type(value).__qualname__}".encode()


def load_network(request: NetworkRequest, device: torch.device) -> Network:
    """Loads the network of a request onto a device.

    Raises:
        ModelError: if the name is unknown, weights are missing or do not fit, the network can't be read, or the
            preprocessing is not known.
    """
    library, _, name = request.name.partition(":")
    loader = LOADERS.get(library if name else "", _of_own_code)
    has_file = is_weights_file(request.weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(request.seed)  # random weights must be the same on every worker
        built = loader(request, RANDOM if has_file else request.weights)
    module, notes = ready(built.module, request.name)
    taken, is_untrained = built.weights_taken, built.is_untrained and not has_file
    if has_file:
        path, option = Path(request.weights), built.class_option
        taken = load_weights_file(module, path, request.name, key=request.weights_key, class_option=option)
    elif request.weights_key:
        raise ModelError(f'`network.weights_key` is "{request.weights_key}", but `network.weights` names no file')
    make_weights_plain(module)
    preprocessing = _preprocessing(request, built.preprocessing)
    module, preprocessing = _placed(module, device, preprocessing)
    _announce(request.name, tuple(notes))
    return Network(request.name, module, preprocessing, device, "; ".join([taken, *notes]), is_untrained, request.trace)


@functools.cache
def _announce(name: str, notes: tuple[str, ...]) -> None:
    """Warns once per process of what was changed in a network; that it is untrained is said before a scan."""
    for note in notes:
        log.warning("%s was %s", name, note)


def _placed(module: nn.Module, device: torch.device, preprocessing: Preprocessing) -> tuple[nn.Module, Preprocessing]:
    """The network on the device, in the order of memory that it takes, and inputs in the same order."""
    # Channels-last convolutions are the fast ones on CPU and GPU alike (MobileNetV2 here: about half the time).
    if any(tensor.ndim == 5 for tensor in module.state_dict().values() if isinstance(tensor, Tensor)):
        return module.to(device=device), preprocessing  # torch has no such order of memory for 3-D convolutions
    module = module.to(device=device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if not _needs_rows_first(module, device, preprocessing):
        return module, preprocessing
    module = module.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    return module, replace(preprocessing, channels_last=False)


def _needs_rows_first(module: nn.Module, device: torch.device, preprocessing: Preprocessing) -> bool:
    """Whether a network views its maps in a way (`x.view(b, -1)`) that the order channels last does not allow."""
    image = torch.zeros(1, preprocessing.channels, *preprocessing.size, device=device)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            module(image.contiguous(memory_format=torch.channels_last))
    except RuntimeError as error:
        return "view size is not compatible" in str(error)
    except (Exception, SystemExit):  # told where the network is read
        return False
    return False


def _of_own_code(request: NetworkRequest, weights: str) -> Built:
    """The network of the user's own code; random weights and those of a file replace what it gives."""
    if not is_own_code(request.name):
        raise ModelError(
            f'unknown network "{request.name}"; write torchvision:NAME, timm:NAME or module:callable (your own code)'
            f"{_meant(request.name)}"
        )
    module = own_result(request.name, request.folder, request.options)
    if not isinstance(module, nn.Module):
        raise ModelError(f'"{request.name}" gave a {type(module).__name__}; it must give a torch.nn.Module')
    if weights not in ("", RANDOM):
        raise ModelError(
            f'weights "{request.weights}" of {request.name} must be a .safetensors or .pth file, "{RANDOM}", or empty '
            "to take the network as your code gives it"
        )
    known = own_parameters(request.name, request.folder)
    option = next((name for name in CLASS_OPTIONS if name in known), "")
    if weights == RANDOM and not is_weights_file(request.weights):
        if request.seed:
            torch.manual_seed(request.seed)  # own code may have seeded the generator itself
        _draw_weights_anew(module, request.name)
    taken = UNTRAINED if weights == RANDOM else f"as {request.name} gives them"
    return Built(module, None, taken, weights == RANDOM, option)


def _draw_weights_anew(module: nn.Module, name: str) -> None:
    """Draws random weights as torch's layers do, whatever the code has loaded.

    Raises:
        ModelError: if some weights belong to no layer that can do so.
    """
    drawn: set[int] = set()
    for part in module.modules():
        reset: Any = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()
            drawn |= {id(parameter) for parameter in part.parameters(recurse=False)}
    left = [key for key, parameter in module.named_parameters() if id(parameter) not in drawn]
    if left:
        raise ModelError(
            f'network.weights = "{RANDOM}" can\'t draw `{left[0]}` of {name} anew, a parameter of your own code; '
            "let your function give an untrained network, and leave `weights` out"
        )


def _meant(name: str) -> str:
    """A hint for names that a library knows, or that are a file without a function."""
    if name.endswith(".py"):
        return f"; name the function, too, as in {name}:build"
    import torchvision.models as zoo  # noqa: PLC0415  # as in `libraries`

    if name in zoo.list_models():
        return f". Did you mean torchvision:{name}?"
    return f"; the name after {name} is missing" if name.rstrip(":") in LIBRARIES else ""


def _of_library(build: Callable[[str, str, Mapping[str, Any]], Built]) -> Callable[[NetworkRequest, str], Built]:
    def load(request: NetworkRequest, weights: str) -> Built:
        return build(request.name.partition(":")[2], weights, request.options)

    return load


LOADERS: dict[str, Callable[[NetworkRequest, str], Built]] = {
    "torchvision": _of_library(of_torchvision),
    "timm": _of_library(of_timm),
}
"""The registry of networks, by the part of the name before the colon; any other name is `module:callable`."""


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
