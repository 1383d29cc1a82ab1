"""Networks of torchvision and timm by name, with their default weights, other weights by name, or random ones.

Law: only torchvision and timm download, by their own code and only for weights that were asked for.
"""

from __future__ import annotations

import inspect
import socket
import urllib.request
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from polyscan.errors import ModelError, nearest, suggestion
from polyscan.vision.preprocessing import Preprocessing, from_timm, from_torchvision

RANDOM = "random"
"""The name of weights that ask for an untrained network."""
UNTRAINED = "random weights: the network is untrained"
WEIGHTS_ARGUMENTS = frozenset(
    ("weights", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir", "progress")
)
"""Arguments of the libraries that polyscan sets itself."""
PATIENCE_S = 30.0
"""How long a host of weights may stay silent."""
FETCHING = ("urllib", "http", "httpx", "requests", "huggingface_hub", "socket", "ssl")
"""Packages whose errors mean that weights could not be fetched."""


@dataclass(frozen=True)
class Built:
    """A network as a library or the user's code gives it.

    Args:
        module: the network.
        preprocessing: that of its weights; None if it is not known.
        weights_taken: which weights it has, as a sentence.
        is_untrained: whether its weights are random because the job asks for it.
        class_option: the option that sets its number of classes; "" if there is none.
    """

    module: nn.Module
    preprocessing: Preprocessing | None
    weights_taken: str
    is_untrained: bool = False
    class_option: str = "num_classes"


def of_torchvision(name: str, weights: str, options: Mapping[str, Any]) -> Built:
    """A network of torchvision; no `weights` are its default ones."""
    import torchvision.models as zoo  # noqa: PLC0415  # takes half a second, which other networks don't need

    if name not in zoo.list_models():
        raise ModelError(f'torchvision has no model "{name}"; nearest: {nearest(name, zoo.list_models())}')
    if name.startswith("quantized_"):
        raise ModelError(
            f"torchvision:{name} is quantized, and its layers can't be read; "
            f"scan torchvision:{name.removeprefix('quantized_')}"
        )
    known: Any = zoo.get_model_weights(name)
    chosen = None if weights == RANDOM else _torchvision_weights(name, weights or "DEFAULT", known)
    arguments = dict(options)
    if chosen is None and "weights_backbone" in inspect.signature(zoo.get_model_builder(name)).parameters:
        arguments.setdefault("weights_backbone", None)  # otherwise those of the trunk would be fetched
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # GoogLeNet and Inception announce another initialisation
        module = _built(
            lambda more: zoo.get_model(name, weights=chosen, **more), f"torchvision:{name}", chosen, arguments
        )
    default = chosen or next(iter(known), None)
    taken = UNTRAINED if chosen is None else f"torchvision's weights {chosen.name}"
    return Built(module, from_torchvision(default.transforms()) if default else None, taken, chosen is None)


def _torchvision_weights(name: str, weights: str, known: Any) -> Any:
    if not known.__members__:
        raise ModelError(f"torchvision has no weights for {name}; {_without_weights()}")
    if weights != "DEFAULT" and weights not in known.__members__:
        raise ModelError(
            f'torchvision:{name} has no weights "{weights}"; it has: {", ".join(known.__members__)}; '
            f"{_without_weights()}"
        )
    return known[weights]


def of_timm(name: str, weights: str, options: Mapping[str, Any]) -> Built:
    """A network of timm; no `weights` are its default ones, as for `timm.create_model(name, pretrained=True)`."""
    import timm  # noqa: PLC0415  # takes a second, which other networks don't need
    from timm.data.config import resolve_data_config  # noqa: PLC0415

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise ModelError(f'timm has no model "{architecture}"; nearest: {nearest(architecture, timm.list_models())}')
    if tag and weights not in ("", RANDOM, tag):
        raise ModelError(
            f'timm:{name} names the weights "{tag}", but `network.weights` are "{weights}"; leave one of them out'
        )
    is_untrained = weights == RANDOM
    tag = tag if is_untrained else _timm_tag(architecture, weights or tag)
    # A tag sets the input's size and the head, whether its weights are taken or not.
    full = f"{architecture}.{tag}" if tag else architecture
    if not is_untrained:
        _refuse_new_head(full, options)
        _refuse_unreachable(full)
    module = _built(
        lambda more: timm.create_model(full, pretrained=not is_untrained, **more),
        f"timm:{architecture}",
        "" if is_untrained else tag,
        options,
    )
    taken = UNTRAINED if is_untrained else f"timm's weights {tag}"
    return Built(module, from_timm(resolve_data_config({}, model=module)), taken, is_untrained)


def _timm_tag(architecture: str, weights: str) -> str:
    """The tag of pretrained weights: the default one if none is asked for."""
    import timm  # noqa: PLC0415  # as above

    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
    config: Any = timm.models.get_pretrained_cfg(architecture)
    default = config.tag if config and config.has_weights else ""
    if not tags and not default:
        raise ModelError(f"timm has no pretrained weights for {architecture}; {_without_weights()}")
    if not weights:
        return default or tags[0]
    if weights not in tags:
        raise ModelError(f'timm:{architecture} has no weights "{weights}"; {suggestion(weights, tags)}')
    return weights


def _refuse_new_head(full: str, options: Mapping[str, Any]) -> None:
    """Refuses another number of classes with pretrained weights: timm adds a random head without a word."""
    import timm  # noqa: PLC0415  # as above

    config: Any = timm.models.get_pretrained_cfg(full)
    wanted = options.get("num_classes", config.num_classes)
    if wanted not in (config.num_classes, 0):
        raise ModelError(_other_classes(f"timm's weights {full}", config.num_classes, wanted))


def _other_classes(weights: str, n: int, wanted: Any) -> str:
    return (
        f"{weights} have {n} classes, `network.options` asks for {wanted}; name the file of your fine-tuned weights in "
        f'`network.weights`, or "{RANDOM}" for an untrained network'
    )


def _refuse_unreachable(full: str) -> None:
    """Says at once that weights can't be fetched, where the hub would try again for most of a minute."""
    import huggingface_hub as hub  # noqa: PLC0415  # timm has loaded it already
    import timm  # noqa: PLC0415  # as above

    config: Any = timm.models.get_pretrained_cfg(full)
    place = config.hf_hub_id
    if not place or urllib.request.getproxies() or hub.constants.HF_HUB_OFFLINE:
        return
    place = place if config.hf_hub_id != "timm/" else f"timm/{full}"
    names = ("model.safetensors", "pytorch_model.bin")
    if any(isinstance(hub.try_to_load_from_cache(place, name), str) for name in names):
        return
    host = urllib.request.urlparse(hub.constants.ENDPOINT).hostname or ""  # pyright: ignore[reportAttributeAccessIssue]
    try:
        socket.getaddrinfo(host, 443)
    except OSError as error:
        raise ModelError(_not_fetched(f"timm:{full}", error)) from error


def _built(
    build: Callable[[Mapping[str, Any]], nn.Module], name: str, weights: Any, options: Mapping[str, Any]
) -> nn.Module:
    """What a library builds with these options.

    Raises:
        ModelError: if weights can't be fetched, or the network has no such options or can't be built with them.
    """
    for option in options:
        if option in WEIGHTS_ARGUMENTS:
            raise ModelError(f"`{option}` can't be set in `network.options`; set `network.weights`")
    try:
        with _answer_within(PATIENCE_S):
            return build(options)
    except Exception as error:  # the libraries check nothing themselves; what fails is the user's options or the net
        if isinstance(error, OSError) or type(error).__module__.partition(".")[0] in FETCHING:
            raise ModelError(_not_fetched(f"{name} ({_weights_name(weights)})", error)) from error
        raise ModelError(_not_built(build, name, weights, options, error)) from error


@contextmanager
def _answer_within(seconds: float) -> Generator[None]:
    """Ends a download from a host that does not answer, where a library sets no limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(before or seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _weights_name(weights: Any) -> str:
    return getattr(weights, "name", str(weights))


def _not_built(
    build: Callable[[Mapping[str, Any]], nn.Module],
    name: str,
    weights: Any,
    options: Mapping[str, Any],
    error: Exception,
) -> str:
    told = str(error).partition("\n")[0][:200]
    if weights and "num_classes" in told and "num_classes" in options:
        return _other_classes(f"{name}'s weights {_weights_name(weights)}", 1000, options["num_classes"])
    known = _known_options(build)
    wrong = [option for option in options if known and option not in known]
    if isinstance(error, TypeError) and wrong:
        return f"{name} has no option `{wrong[0]}` for `network.options`; {suggestion(wrong[0], known)}"
    if options:
        return f"{name} can't be built with network.options {dict(options)} ({type(error).__name__}: {told})"
    return f"{name} can't be built or its weights can't be read ({type(error).__name__}: {told}); {_without_weights()}"


def _known_options(build: Callable[[Mapping[str, Any]], nn.Module]) -> list[str]:
    """The names of the options that the network's class takes, read from the network without options."""
    try:
        own = inspect.signature(type(build({})).__init__).parameters
    except Exception:  # it can't be built without options either
        return []
    return [name for name in own if name not in ("self", "kwargs", "args")]


def _not_fetched(name: str, error: Exception) -> str:
    reason = str(error).partition("\n")[0].partition(". ")[0][:160]
    home = "HF_HOME" if name.startswith("timm:") else "TORCH_HOME"
    return (
        f"the weights of {name} are not on this machine and could not be fetched ({reason}); put them into {home}, "
        f'name a file in `network.weights`, or set network.weights = "{RANDOM}" for an untrained network'
    )


def _without_weights() -> str:
    return f'name a file in `network.weights`, or set network.weights = "{RANDOM}" for an untrained network'
