"""A job: one TOML file, one scan. Frozen settings, extra keys refused, every number with its bounds.

Paths inside a job file are relative to that file; paths given on the command line to the working directory.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, cast, get_args

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from polyscan.errors import JobError
from polyscan.scores import SCORES
from polyscan.scores.score import Score


class Settings(BaseModel):
    """Base of all groups of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NetworkSettings(Settings):
    """Which network is scanned, and where."""

    name: str = Field(description="`torchvision:NAME`, `timm:NAME` or `module:callable` (your own code)")
    weights: str = Field("", description="a name the library knows, a `.safetensors` or a `.pth` file; empty: as built")
    layers: str | tuple[str, ...] = Field("all", description="`all`, `blocks`, a glob, or a list of names and globs")
    input_px: int | None = Field(None, ge=4, description="side of the square input; default: the weights' own")
    resize_px: int | None = Field(
        None, ge=4, description="short side before the centre crop; default: the weights' own"
    )
    channels: Literal[1, 3] | None = Field(None, description="colour channels of the input")
    mean: tuple[float, ...] | None = Field(None, description="mean per channel, of values in 0..1")
    std: tuple[float, ...] | None = Field(None, description="standard deviation per channel")


class ImagesSettings(Settings):
    """Which images it is shown."""

    source: str = Field(description="a class folder, a Parquet file or folder, `torchvision:NAME`, `sklearn:digits`")
    part: str = Field("all", description="`all`, `train` or `test`, where the source has parts")
    image_column: str | None = Field(None, description="Parquet: the column of image bytes; default: found by itself")
    label_column: str | None = Field(None, description="Parquet: the column of labels")
    root: str | None = Field(None, description="torchvision: the folder that holds the data set")
    limit: int | None = Field(None, ge=1, description="so many images, evenly spaced over the source")
    max_pixels: int = Field(64_000_000, ge=1, description="larger images are rejects")


class CollectSettings(Settings):
    """How exemplars are found."""

    k: int = Field(100, ge=8, le=4096, description="exemplars per unit")
    batch: int = Field(32, ge=1, description="images per forward pass")
    images_per_shard: int = Field(512, ge=1, description="images per shard")


class VisualizeSettings(Settings):
    """How visualizations are made and when a unit has enough of them."""

    enabled: bool = Field(True, description="whether units are visualized")
    layers: str | tuple[str, ...] = Field("all", description="which of the scanned layers")
    units_per_layer: int = Field(0, ge=0, description="a seeded sample of so many units a layer; 0: all")
    distance: str = Field("lpips:squeeze", description="`lpips:alex|vgg|squeeze`, or `features` of the scanned network")
    threshold: float = Field(0.02, gt=0, description="the elbow: |m_I - m_(I-1)| below this")
    patience: int = Field(2, ge=1, description="so many times in a row (published: 1)")
    min_images: int = Field(6, ge=3, description="never fewer images (published: 3)")
    max_images: int = Field(32, ge=3, description="never more images")
    steps: int = Field(128, ge=1, description="steps of gradient ascent an image")
    step_size: float = Field(0.05, gt=0, description="Adam's step size")
    objective: Literal["centre", "channel"] = Field(
        "centre", description="the unit at the middle, or its channel's mean"
    )
    canvas_px: int | None = Field(
        None, ge=16, description="side of the image; default: the receptive field and a margin"
    )
    jitter_px: int = Field(4, ge=0, description="random shifts of the image each step, in px of the input")
    batch: int = Field(32, ge=1, description="images optimised at once")
    units_per_shard: int = Field(16, ge=1, description="units per shard")

    @model_validator(mode="after")
    def _ordered(self) -> VisualizeSettings:
        if self.max_images < self.min_images:
            raise ValueError(f"`max_images` must be at least `min_images` {self.min_images}, got {self.max_images}")
        return self


class EmbedSettings(Settings):
    """Where evidence is compared."""

    model: str = Field(
        "torchvision:resnet18/IMAGENET1K_V1",
        description="`torchvision:NAME/WEIGHTS`, `timm:NAME/WEIGHTS`, `open_clip:MODEL/WEIGHTS`, or `penultimate`: "
        "the scanned network's own last but one layer",
    )
    input_px: int | None = Field(None, ge=16, description="side of the embedder's input; default: its own")
    n_exemplars: int | None = Field(None, ge=8, description="embed only so many of the k exemplars; default: all")
    batch: int = Field(64, ge=1, description="crops per forward pass")
    crops_per_shard: int = Field(4096, ge=1, description="crops or visualizations per shard")
    thumbnail_px: int = Field(64, ge=0, le=512, description="side of the stored thumbnails; 0: none")


class ScoreSettings(Settings):
    """How evidence is clustered."""

    max_clusters: int = Field(10, ge=2, le=64, description="K is at most this")
    restarts: int = Field(10, ge=1, description="k-means starts per K")
    units_per_shard: int = Field(256, ge=1, description="units per shard")


class ShowSettings(Settings):
    """How the maps are drawn; in no fingerprint."""

    top_per_layer: int = Field(6, ge=0, description="units of each layer shown with pictures")
    tiles: int = Field(10, ge=1, description="pictures per cluster")
    title: str = Field("", description="title of the pages; default: the network and its weights")


class Job(Settings):
    """One scan."""

    seed: int = Field(0, ge=0, description="seed of everything random")
    threads: int = Field(1, ge=1, description="CPU threads per worker, the same on every runner")
    device: str = Field("auto", description="`auto`, `cpu`, `cuda`, `cuda:1` ...")
    network: NetworkSettings
    images: ImagesSettings
    collect: CollectSettings = CollectSettings()  # pyright: ignore[reportCallIssue]
    visualize: VisualizeSettings = VisualizeSettings()  # pyright: ignore[reportCallIssue]
    embed: EmbedSettings = EmbedSettings()  # pyright: ignore[reportCallIssue]
    score: ScoreSettings = ScoreSettings()  # pyright: ignore[reportCallIssue]
    scores: dict[str, dict[str, Any]] = Field(default_factory=dict, description="settings per score; all are computed")
    show: ShowSettings = ShowSettings()  # pyright: ignore[reportCallIssue]
    folder: str = Field("", description="where the job's own code and weights lie; filled when the file is read")

    @field_validator("scores")
    @classmethod
    def _known_scores(cls, scores: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, settings in scores.items():
            if name not in SCORES:
                raise ValueError(f"[scores.{name}] names no score; known scores: {', '.join(sorted(SCORES))}")
            try:
                SCORES[name](**settings)
            except (TypeError, ValueError) as error:
                raise ValueError(f"[scores.{name}] {error}") from error
        return scores

    def score_functions(self) -> dict[str, Score]:
        """Every score of the registry with this job's settings."""
        return {name: score(**self.scores.get(name, {})) for name, score in SCORES.items()}

    def to_toml(self) -> str:
        """The whole job, defaults filled in, as a TOML file that `load` reads again."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


PATHS = ("network.weights", "images.source", "images.root")


def load(path: Path, overrides: Mapping[str, Any] | None = None) -> Job:
    """Reads a job file.

    Args:
        path: the TOML file.
        overrides: dotted keys to values, as `--set` gives them; paths among them are relative to the working folder.

    Raises:
        JobError: if the file is missing, no TOML, or says anything that is not a job.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise JobError(f"no job file at {path} ({error.strerror}); give an existing .toml file") from error
    return parse(text, str(path), overrides, folder=path.resolve().parent)


def parse(text: str, origin: str, overrides: Mapping[str, Any] | None = None, *, folder: Path | None = None) -> Job:
    """A job from the text of a TOML file.

    Args:
        text: the file's content.
        origin: what error messages call it.
        overrides: as for `load`.
        folder: where the job's own paths and code begin, unless the text says it.

    Raises:
        JobError: if it is no TOML, or says anything that is not a job.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise JobError(f"{origin} is no TOML: {error}") from error
    content.setdefault("folder", str(folder or Path.cwd()))
    _anchor(content, Path(content["folder"]))
    for key, value in (overrides or {}).items():
        _put(content, key, value)
    _anchor(content, Path.cwd(), only=set(overrides or {}))
    return build(content, origin)


def fill(overrides: Mapping[str, Any]) -> Job:
    """A job without a file: defaults, and what the command says. A torchvision network gets its default weights.

    Raises:
        JobError: if network or images are missing, or anything is no setting.
    """
    content: dict[str, Any] = {"folder": str(Path.cwd())}
    for key, value in overrides.items():
        _put(content, key, value)
    _anchor(content, Path.cwd())
    network = content.get("network", {})
    if str(network.get("name", "")).startswith("torchvision:"):
        network.setdefault("weights", "DEFAULT")
    return build(content, "the command")


def build(content: Mapping[str, Any], origin: str) -> Job:
    """A job from plain dictionaries.

    Args:
        content: as a TOML file gives it.
        origin: what the error message calls it.

    Raises:
        JobError: naming every wrong key with its value, what is allowed, and the file to fix.
    """
    try:
        return Job.model_validate(content)
    except ValidationError as error:
        raise JobError("\n".join(_explained(error, content)) + f"\nFix {origin}.") from error


def settings_of(job: Job, groups: Sequence[str]) -> dict[str, Any]:
    """The job's settings of these groups, as plain values; what a stage's fingerprint is made from."""
    dump = job.model_dump(mode="json")
    # With their defaults filled in, so that a new score or another default is another fingerprint as well.
    dump["scores"] = {name: asdict(cast("Any", score)) for name, score in job.score_functions().items()}
    return {group: dump[group] for group in groups}


def _put(content: dict[str, Any], key: str, value: Any) -> None:
    *groups, name = key.split(".")
    for group in groups:
        inner = content.setdefault(group, {})
        if not isinstance(inner, dict):
            raise JobError(f"--set {key}: `{group}` is no group of settings")
        content = inner
    content[name] = value


def _anchor(content: dict[str, Any], base: Path, only: set[str] | None = None) -> None:
    """Makes relative paths absolute where such a file or folder exists below `base`."""
    for key in PATHS:
        group, name = key.split(".")
        value = content.get(group, {}).get(name) if isinstance(content.get(group), dict) else None
        if (only is not None and key not in only) or not isinstance(value, str) or not value:
            continue
        looks_like_file = value.endswith((".safetensors", ".pth", ".pt", ".parquet")) or value.startswith((".", "~"))
        target = base / Path(value).expanduser()
        if "://" not in value and (looks_like_file or target.exists()):
            content[group][name] = str(target.resolve())


def _explained(error: ValidationError, content: Mapping[str, Any]) -> Iterator[str]:
    for fault in error.errors():
        place = [str(part) for part in fault["loc"]]
        key = ".".join(place)
        if fault["type"] == "extra_forbidden":
            known = _known_keys(place[:-1])
            nearest = difflib.get_close_matches(place[-1], known, n=1)
            hint = f'; did you mean "{nearest[0]}"?' if nearest else f"; known keys: {', '.join(known)}"
            yield f"unknown key `{key}`{hint}"
        elif fault["type"] == "missing":
            yield f"`{key}` is missing; {_description(place) or 'the job needs it'}"
        elif fault["type"] == "value_error":
            yield str(fault["msg"]).removeprefix("Value error, ")
        else:
            got = fault.get("input", content)
            yield f"`{key}`: {fault['msg'][0].lower()}{fault['msg'][1:]}, got {got!r}"


def _group(place: Sequence[str]) -> type[BaseModel] | None:
    model: type[BaseModel] = Job
    for part in place:
        found = model.model_fields.get(part)
        kinds = [found.annotation, *get_args(found.annotation)] if found else []
        inner = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if inner is None:
            return None
        model = inner
    return model


def _known_keys(place: Sequence[str]) -> list[str]:
    model = _group(place)
    return sorted(model.model_fields) if model else []


def _description(place: Sequence[str]) -> str:
    model = _group(place[:-1])
    return (model.model_fields[place[-1]].description or "") if model and place[-1] in model.model_fields else ""
