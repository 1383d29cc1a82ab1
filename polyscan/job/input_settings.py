"""The settings of what is scanned: the network and the images; and the base of all groups of settings."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from polyscan.job.values import checked_per_channel, checked_range, checked_size


class Settings(BaseModel):
    """Base of all groups of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _in_64_bits(cls, value: Any) -> Any:
        """Refuses whole numbers of more than 64 bits, which neither TOML nor torch nor Arrow supports."""
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError("input should be a number of 64 bits")
        return value


class NetworkSettings(Settings):
    """Which network is scanned, and at which layers."""

    name: str = Field(
        description="`torchvision:NAME`, `timm:NAME`, or `module:callable` or `file.py:callable` (your own code)"
    )
    weights: str = Field(
        "",
        description="weights of the library by name, or a file (`.safetensors`, `.pth`, `.ckpt` ...); empty: the "
        "library's default weights, and your own code's network as it gives it; `random`: an untrained network",
    )
    weights_key: str = Field(
        "", description="which weights in the file, as in `state_dict_ema`, if several fit; default: those that fit"
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="arguments of the network by name, as in `{num_classes = 17}`",
    )
    trace: bool = Field(
        True, description="whether places are found in the graph that torch.fx traces; false: by hooks on the modules"
    )
    layers: str | tuple[str, ...] = Field("all", description="`all`, `blocks`, a glob, or a list of names and globs")
    input_px: int | tuple[int, int] | None = Field(
        None,
        description="the input's side, or its height and width, from 4 px on; default: those of the weights",
    )
    resize_px: int | tuple[int, int] | None = Field(
        None,
        description="size before the crop: of the input's short side, or height and width; default: that of the "
        "weights",
    )
    crop_mode: Literal["center", "squash", "border"] | None = Field(
        None,
        description="`center`: the picture is resized to cover the input, the rest is cut off; `squash`: it is resized "
        "to the input's shape; `border`: it is resized to lie within the input, a border is added; default: that of "
        "the weights",
    )
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"] | None = Field(
        None, description="how pictures are resized; default: that of the weights"
    )
    channels: int | None = Field(None, ge=1, le=32, description="channels of the input; default: those of the weights")
    mean: float | tuple[float, ...] | None = Field(
        None,
        description="mean of each channel, or one number for all, of values in 0..1; default: that of the weights",
    )
    std: float | tuple[float, ...] | None = Field(
        None, description="standard deviation of each channel, or one for all; default: that of the weights"
    )

    @field_validator("input_px", "resize_px", mode="before")
    @classmethod
    def _is_size(cls, value: Any) -> Any:
        return checked_size(value)

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _is_per_channel(cls, value: Any, info: ValidationInfo) -> Any:
        return checked_per_channel(value, is_positive=info.field_name == "std")


class ImagesSettings(Settings):
    """Which images are scanned."""

    source: str = Field(description="a class folder, a Parquet file or folder, `torchvision:NAME`, `sklearn:digits`")
    part: str = Field("all", description="`all`, `train` or `test`, where the source has parts")
    image_column: str | None = Field(None, description="Parquet: the column of image bytes; default: detected")
    label_column: str | None = Field(
        None,
        description="Parquet: the column, or the key of folders like `label=cat`, of the labels; empty: no labels; "
        "default: `label`, `labels`, `class`, `target`, `fine_label` or the like, if there is one",
    )
    root: str | None = Field(None, description="torchvision: the folder that holds the data set")
    limit: int | None = Field(
        None, ge=1, description="only this many images, evenly spaced over the source; default: all"
    )
    half: Literal["first", "second"] | None = Field(
        None,
        description="only one of two disjoint halves of the images, of which `limit` takes some: what is found on one "
        "half can be tried on the other",
    )
    max_pixels: int = Field(64_000_000, ge=1, description="images with more pixels are rejected")
    exif: Literal["turn", "ignore"] = Field(
        "turn", description="whether pictures are turned upright as their EXIF orientation says"
    )
    alpha: Literal["white", "black", "drop", "keep"] = Field(
        "white",
        description="transparent pictures: laid on `white` or `black`; `drop`: the colours as stored; `keep`: alpha is "
        "a fourth channel",
    )
    value_range: Literal["format", "image"] | tuple[float, float] = Field(
        "format",
        description="values of more than 8 bits that become black and white: two numbers, the same for all images; "
        "`image`: each image's own least and largest value; `format`: see below",
    )
    npy_axes: Literal["auto", "yxc", "cyx"] = Field(
        "auto", description="order of the axes of `.npy` arrays; `auto`: the axis of at most 32 entries is the channels"
    )
    tiff_pages: Literal["first", "channels"] = Field(
        "first", description="TIFF of several pages: the first is the image, or each is a channel"
    )

    @field_validator("value_range", mode="before")
    @classmethod
    def _is_range(cls, value: Any) -> Any:
        return checked_range(value)
