"""The settings of a job: frozen, extra keys refused, every number with its bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_type_hints

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from polyscan.errors import JobError
from polyscan.job.explaining import explained
from polyscan.nulls.null_sets import LAYER_NULL, POOLED
from polyscan.scores import SCORES
from polyscan.scores.score import Score


class Settings(BaseModel):
    """Base of all groups of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _in_64_bits(cls, value: Any) -> Any:
        """Refuses whole numbers that TOML itself does not have, and that neither torch nor Arrow could take."""
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError("input should be a number of 64 bits")
        return value


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


class SurveySettings(Settings):
    """What is sampled of each layer, and the virtual units that carry its null and its proof."""

    images: int = Field(4096, ge=16, description="a seeded sample of so many images; fewer where there are fewer")
    positions: int = Field(16_384, ge=64, description="activation vectors per layer for its mean and covariance")
    readouts: int = Field(800, ge=0, description="one-exemplar readouts behind each layer's null; 0: no layer null")
    controls: int = Field(40, ge=0, description="further one-exemplar readouts a layer, which measure its error rate")
    planted: int = Field(40, ge=0, description="planted units a layer and kind, which measure its power")
    plants: tuple[str, ...] = Field(
        ("planted",), description="kinds of planted units; `planted`: pairs of controls; the others are `validate`'s"
    )
    space: Literal["auto", "image", "next", "own"] = Field(
        "auto",
        description="where exemplars are compared: `image` by the embedder, `next` or `own` by the scanned network's "
        "features at the peak's place; auto: `next` where there is one, else `image` where the field covers it, or own",
    )
    sign: Literal["up", "both"] = Field("up", description="`both` scans each unit's strongest images downwards, too")


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
    virtual_units: int = Field(
        0,
        ge=0,
        description="so many null readouts, controls and planted units a layer are visualized, too: their null",
    )
    distance: str = Field("lpips:squeeze", description="`lpips:alex|vgg|squeeze`, or `features` of the scanned network")
    threshold: float = Field(0.02, gt=0, description="the elbow: |m_I - m_(I-1)| below this")
    patience: int = Field(2, ge=1, description="so many times in a row (published: 1)")
    min_images: int = Field(6, ge=3, description="never fewer images (published: 3)")
    max_images: int = Field(32, ge=3, description="never more images")
    data_starts: int = Field(
        0,
        ge=0,
        description="so many further images a unit, each begun as the mean of a cluster of its exemplars: for small "
        "modes; in a table of their own, and in no score",
    )
    steps: int = Field(128, ge=1, description="steps of gradient ascent an image")
    step_size: float = Field(0.05, gt=0, description="Adam's step size")
    objective: Literal["centre", "channel"] = Field(
        "centre", description="the unit at the middle, or its channel's mean"
    )
    canvas_px: int | None = Field(
        None, ge=16, description="side of the image; default: the receptive field and a margin"
    )
    jitter_px: int = Field(4, ge=0, description="random shifts of the image each step, in px of the input")
    rotate_degrees: float = Field(
        0.0, ge=0, le=180, description="random turns of the image each step, up to so many degrees either way"
    )
    scale: float = Field(0.0, ge=0, le=1, description="random factors of size each step, 1 / (1 + scale) to 1 + scale")
    batch: int = Field(32, ge=1, description="images optimised at once")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="the numbers that gradients go through the network in; auto: bfloat16 where a worker's device "
        "multiplies it faster. Activations of finished images are float32 always",
    )
    compile: bool = Field(
        False,
        description="whether the passes of the ascent go through `torch.compile`: half a minute a layer and a C++ "
        "compiler; slower on CPUs, not measured on a GPU",
    )
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
        description="`torchvision:NAME/WEIGHTS`, `timm:NAME/WEIGHTS`, `open_clip:MODEL/WEIGHTS`, `penultimate` (the "
        "scanned network's own last but one layer), or `module:callable` (your own code)",
    )
    input_px: int | None = Field(None, ge=16, description="side of the embedder's input; default: its own")
    crops: bool = Field(True, description="whether real units' crops are embedded where they are not compared, too")
    pool: bool = Field(True, description="whether every image is embedded whole: the pool of the embedding null")
    vocabulary: str = Field(
        "", description="a text file of concepts, one a line, where the model has a text tower; empty: the class names"
    )
    n_exemplars: int | None = Field(None, ge=8, description="embed only so many of the k exemplars; default: all")
    batch: int = Field(64, ge=1, description="crops per forward pass")
    crops_per_shard: int = Field(4096, ge=1, description="crops or visualizations per shard")
    thumbnail_px: int = Field(64, ge=0, le=512, description="side of the stored thumbnails; 0: none")


class CalibrateSettings(Settings):
    """What scores are compared with."""

    nulls: tuple[str, ...] = Field(
        ("layer", "embedding"),
        description="`layer`: the layer's one-exemplar readouts; `embedding`: the same of embeddings, where evidence "
        "is the whole image; others, which do not keep their level: `random`, `neighbourhoods`",
    )
    match: Literal["regression", "nearest"] = Field(
        "regression", description="null scores regressed on clarity, or those of the 200 sets nearest in clarity"
    )
    embedding_sets: int = Field(1600, ge=20, description="sets of the embedding null")
    sets_per_shard: int = Field(100, ge=1, description="null sets per shard")

    @field_validator("nulls")
    @classmethod
    def _known_nulls(cls, nulls: tuple[str, ...]) -> tuple[str, ...]:
        known = (LAYER_NULL, *POOLED)
        for name in nulls:
            if name not in known:
                raise ValueError(f'unknown null "{name}"; allowed: {", ".join(known)}')
        return nulls


class ScoreSettings(Settings):
    """How evidence is clustered."""

    max_clusters: int = Field(10, ge=2, le=64, description="K is at most this")
    restarts: int = Field(10, ge=1, description="k-means starts per K")
    n_exemplars: int | None = Field(
        None, ge=8, description="score only so many of the embedded exemplars; default: all"
    )
    seed: int = Field(0, ge=0, description="seed of clusterings and of null sets drawn from the pool, beside the job's")
    units_per_shard: int = Field(256, ge=1, description="units per shard")


class PictureSettings(Settings):
    """What is seen of a unit: one JPEG with the thumbnails of its strongest exemplars and its visualizations."""

    crops: int = Field(16, ge=0, le=256, description="strongest exemplars that are seen of each unit; 0: none")
    per_cluster: int = Field(6, ge=0, le=256, description="strongest exemplars of each cluster, where these are more")
    visualizations: int = Field(6, ge=0, le=256, description="visualizations that are seen; 0: none")
    visualization_px: int = Field(128, ge=16, le=512, description="side of a visualization in it")
    units_per_shard: int = Field(128, ge=1, description="units per shard")


class ShowSettings(Settings):
    """How the maps are drawn; in no fingerprint."""

    fdr: float = Field(0.05, gt=0, lt=1, description="false discovery rate at which a unit is called several")
    pictures_per_layer: int | None = Field(
        None,
        ge=0,
        description="units of each layer whose pictures are copied to the maps, most of the first score "
        "first; default: all",
    )
    title: str = Field("", description="title of the pages; default: the network and its weights")


class WorkersSettings(Settings):
    """Ray workers; in no fingerprint, since they change no result."""

    n: int | None = Field(None, ge=1, description="how many; default: as many as there is room for, also later on")
    gpus: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of a GPU that a worker of a stage with a network is given, where there are any",
    )
    deadline_s: float | None = Field(
        None,
        gt=0,
        description="a shard that takes longer is taken back; default: 20 times the slowest so far, at least 1800",
    )
    patience_s: float = Field(
        25.0, ge=0, description="how long a cluster without room for one worker is waited for: more where it is to grow"
    )


KINDS: dict[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "text"),
}


def _check_kinds(score: type[Score], settings: Mapping[str, Any]) -> None:
    """Refuses a score's setting of another kind than its field; what it may be beyond that, the score itself says.

    Raises:
        ValueError: naming the setting and what was got.
    """
    hints = get_type_hints(score)
    for name, value in settings.items():
        kinds, words = KINDS.get(hints.get(name, object), ((object,), ""))
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds and object not in kinds):
            raise ValueError(f"`{name}` must be {words}, got {value!r:.80}")
        if isinstance(value, int | float) and not -(2**63) <= value < 2**63:  # nor is nan
            raise ValueError(f"`{name}` must be a finite number of 64 bits, got {value!r:.80}")


class Job(Settings):
    """One scan.

    Raises:
        JobError: naming every wrong key with its value and what is allowed.

    >>> job = Job(network={"name": "torchvision:resnet18"}, images={"source": "photos"}, collect={"k": 64})
    >>> job.collect.k, job.score.restarts
    (64, 10)
    """

    seed: int = Field(0, ge=0, description="seed of everything random")
    threads: int = Field(1, ge=1, description="CPU threads per worker, the same on every runner")
    device: str = Field("auto", description="`auto`, `cpu`, `cuda`, `cuda:1` ...")
    network: NetworkSettings
    images: ImagesSettings
    survey: SurveySettings = SurveySettings()  # pyright: ignore[reportCallIssue]
    collect: CollectSettings = CollectSettings()  # pyright: ignore[reportCallIssue]
    visualize: VisualizeSettings = VisualizeSettings()  # pyright: ignore[reportCallIssue]
    embed: EmbedSettings = EmbedSettings()  # pyright: ignore[reportCallIssue]
    calibrate: CalibrateSettings = CalibrateSettings()  # pyright: ignore[reportCallIssue]
    score: ScoreSettings = ScoreSettings()  # pyright: ignore[reportCallIssue]
    scores: dict[str, dict[str, Any]] = Field(default_factory=dict, description="settings per score; all are computed")
    picture: PictureSettings = PictureSettings()  # pyright: ignore[reportCallIssue]
    show: ShowSettings = ShowSettings()  # pyright: ignore[reportCallIssue]
    workers: WorkersSettings = WorkersSettings()  # pyright: ignore[reportCallIssue]
    folder: str = Field("", description="where the job's own code and weights lie; filled when the file is read")

    def __init__(self, /, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise JobError("\n".join(explained(error, settings, Job))) from error

    @field_validator("scores")
    @classmethod
    def _known_scores(cls, scores: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, settings in scores.items():
            if name not in SCORES:
                raise ValueError(f"[scores.{name}] is not a score; known scores: {', '.join(sorted(SCORES))}")
            try:
                _check_kinds(SCORES[name], settings)
                SCORES[name](**settings)
            except (TypeError, ValueError) as error:
                raise ValueError(f"[scores.{name}] {error}") from error
        return scores

    @property
    def n_embedded(self) -> int:
        """Exemplars of a unit that are embedded."""
        return self.embed.n_exemplars or self.collect.k

    @property
    def n_scored(self) -> int:
        """Exemplars of a unit that are scored."""
        return self.score.n_exemplars or self.n_embedded

    def score_functions(self) -> dict[str, Score]:
        """Every score of the registry with this job's settings."""
        return {name: score(**self.scores.get(name, {})) for name, score in SCORES.items()}

    def to_toml(self) -> str:
        """The whole job, defaults filled in, as a TOML file that `load` reads again."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))
