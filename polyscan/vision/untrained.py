"""What named weights decide besides their numbers: the input's size, and in timm the number of classes as well."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """A network without its weights.

    Args:
        name: the network's name; in timm with the tag of the weights, which sets the size of its input and its head.
        input_px: side of the input that the weights were made for; None: that of the name.
    """

    name: str
    input_px: int | None = None


def architecture_of(name: str, weights: str) -> Architecture:
    """The network that a name and weights of that name stand for; nothing is fetched.

    Args:
        name: the network's name, as in a job.
        weights: the weights, as in a job; what the library does not know, such as a file, changes nothing.
    """
    library, _, model = name.partition(":")
    if library == "timm":
        return Architecture(f"{name}.{weights}" if _is_timm_tag(model, weights) else name)
    return Architecture(name, _crop_px(model, weights) if library == "torchvision" else None)


def _is_timm_tag(model: str, weights: str) -> bool:
    from timm.models import get_arch_pretrained_cfgs, is_model  # noqa: PLC0415  # a second, for timm's networks alone

    return bool(weights) and is_model(model) and f"{model}.{weights}" in get_arch_pretrained_cfgs(model)


def _crop_px(model: str, weights: str) -> int | None:
    """Side of the crop of torchvision's weights; None if there are no weights of that name, or no crop."""
    import torchvision.models as zoo  # noqa: PLC0415  # half a second, for torchvision's networks alone

    if model not in zoo.list_models() or weights not in (known := zoo.get_model_weights(model).__members__):
        return None
    crop = getattr(known[weights].transforms(), "crop_size", None)
    return int(crop[0]) if crop else None
