"""The settings of a job: frozen, without unknown keys, every number with its bounds."""

from __future__ import annotations

from typing import Any, Literal, cast

import tomli_w
from pydantic import Field, ValidationError, field_validator, model_validator

from polyscan.errors import JobError
from polyscan.job.explaining import explained
from polyscan.job.input_settings import ImagesSettings, NetworkSettings, Settings
from polyscan.job.naming_settings import CLASSES, NameSettings
from polyscan.job.values import check_kinds
from polyscan.nulls.null_sets import LAYER_NULL, POOLED
from polyscan.scores import SCORES
from polyscan.scores.score import Score
from polyscan.storage import printable


class SurveySettings(Settings):
    """What is sampled of each layer, and the virtual units for its null and for its error rate and power."""

    images: int = Field(4096, ge=16, description="size of the seeded sample of images; all images if there are fewer")
    positions: int = Field(16_384, ge=64, description="activation vectors per layer, for its mean and covariance")
    readouts: int = Field(1600, ge=0, description="single-concept readouts for each layer's null; 0: no layer null")
    controls: int = Field(
        40, ge=0, description="further single-concept readouts per layer, which measure its error rate"
    )
    planted: int = Field(40, ge=0, description="planted units per layer and kind, which measure its power")
    plants: tuple[str, ...] = Field(
        ("planted", "random"),
        description="kinds of planted units; `planted`: pairs of controls; `random`: random directions of the layer, "
        "which stand beside every number of units; `validate` uses all kinds",
    )
    space: Literal["auto", "image", "next", "own"] = Field(
        "auto",
        description="how exemplars are compared: `image`: by the embedder; `own`, `next`: by the scanned network's "
        "features at the peak, in the layer itself or in the next layer of another shape; `auto`: `next` if there is "
        "one, else `image` if the receptive field covers the image, else `own`",
    )
    vectors: Literal["auto", "own", "inputs"] = Field(
        "auto",
        description="where readouts are made: `own`: in the layer's activation vectors; `inputs`: in what the layer "
        "reads, if it is linear or a 1 x 1 convolution; `auto`: for linear layers without positions, main readouts in "
        "the inputs, and those of the null if the layer has fewer than 64 channels; else `own`",
    )
    sign: Literal["up", "both"] = Field("up", description="`both`: scan each unit with its sign reversed, too")


class CollectSettings(Settings):
    """How exemplars are found."""

    k: int | None = Field(
        None, ge=8, le=4096, description="exemplars per unit; default: 1 % of the images, at least 20 and at most 1,000"
    )
    batch: int = Field(32, ge=1, description="images per forward pass")
    images_per_shard: int = Field(512, ge=1, description="images per shard")


class SecondSettings(Settings):
    """The second test: what a unit's main meaning leaves unexplained (deflation)."""

    enabled: bool = Field(True, description="whether units are tested for a second, weaker meaning; needs a null")
    exemplars: int = Field(48, ge=8, description="about how many of a unit's exemplars the main readout is made of")
    reach: float = Field(
        5.0,
        ge=1,
        description="unexplained images are searched among a unit's strongest reach x k images, at most a quarter of "
        "all, its first k / 2 left out",
    )
    least_strength: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="and only among images with at least this share of the exemplars' mean activation, both above the "
        "unit's mean",
    )


class VisualizeSettings(Settings):
    """How visualizations are made, and when a unit has enough of them."""

    enabled: bool = Field(True, description="whether units are visualized")
    layers: str | tuple[str, ...] = Field("all", description="which of the scanned layers are visualized")
    units_per_layer: int = Field(0, ge=0, description="size of the seeded sample of units per layer; 0: all")
    virtual_units: int = Field(
        0,
        ge=0,
        description="null readouts, controls and planted units per layer that are visualized, too: their null",
    )
    distance: str = Field("lpips:squeeze", description="`lpips:alex|vgg|squeeze`, or `features` of the scanned network")
    threshold: float = Field(
        0.02, gt=0, description="the elbow: a unit has enough images when |m_I - m_(I-1)| is below this"
    )
    patience: int = Field(2, ge=1, description="consecutive times that the elbow must be met (published: 1)")
    min_images: int = Field(6, ge=3, description="minimum number of images per unit (published: 3)")
    max_images: int = Field(32, ge=3, description="maximum number of images per unit")
    data_starts: int = Field(
        0,
        ge=0,
        description="further images per unit, each started from the mean of a cluster of its exemplars, to find small "
        "modes; kept in a separate table and used by no score",
    )
    steps: int = Field(128, ge=1, description="steps of gradient ascent per image")
    step_size: float = Field(0.05, gt=0, description="Adam's step size")
    objective: Literal["centre", "channel"] = Field(
        "centre", description="`centre`: the unit at the middle; `channel`: the mean of its channel"
    )
    canvas_px: int | None = Field(
        None, ge=16, description="side of the image; default: the receptive field and a margin"
    )
    jitter_px: int = Field(
        4, ge=0, description="random shift of the image at each step, at most this many px of the input"
    )
    rotate_degrees: float = Field(
        0.0, ge=0, le=180, description="random rotation of the image at each step, at most this many degrees either way"
    )
    scale: float = Field(
        0.0, ge=0, le=1, description="random scaling of the image at each step, by 1 / (1 + scale) to 1 + scale"
    )
    batch: int = Field(32, ge=1, description="images optimised at once")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="number format of the gradient passes through the network; `auto`: bfloat16 if the worker's device "
        "multiplies it faster. Activations of finished images are always float32",
    )
    compile: bool = Field(
        False,
        description="whether the ascent uses `torch.compile`: takes half a minute per layer and needs a C++ compiler; "
        "slower on CPUs, not measured on a GPU",
    )
    units_per_shard: int = Field(16, ge=1, description="units per shard")

    @model_validator(mode="after")
    def _ordered(self) -> VisualizeSettings:
        if self.max_images < self.min_images:
            raise ValueError(f"`max_images` must be at least `min_images` {self.min_images}, got {self.max_images}")
        return self


class EmbedSettings(Settings):
    """How images, crops and visualizations are embedded."""

    model: str = Field(
        "torchvision:resnet18/IMAGENET1K_V1",
        description="`torchvision:NAME/WEIGHTS`, `timm:NAME/WEIGHTS`, `open_clip:MODEL/WEIGHTS`, `conse:NETWORK` (a "
        "classifier with `classes`), `penultimate` (the last layer but one of the scanned network), or "
        "`module:callable` (your own code)",
    )
    input_px: int | None = Field(None, ge=16, description="side of the embedder's input; default: that of the model")
    crops: bool = Field(
        True,
        description="whether crops of real units are embedded and scored even if exemplars are compared by features",
    )
    pool: bool = Field(True, description="whether all whole images are embedded, as the pool of the embedding null")
    classes: str = Field("", description=CLASSES)
    vocabulary: str = Field(
        "",
        description="a text file of concepts, one per line, if the model has a text tower; or a table of text vectors, "
        "`FILE.safetensors#KEY`; empty: the class names",
    )
    n_exemplars: int | None = Field(None, ge=8, description="embed only this many of the k exemplars; default: all")
    batch: int = Field(64, ge=1, description="crops per forward pass")
    crops_per_shard: int = Field(4096, ge=1, description="crops or visualizations per shard")
    thumbnail_px: int = Field(64, ge=0, le=512, description="side of the stored thumbnails; 0: none")


class CalibrateSettings(Settings):
    """What scores are compared with."""

    nulls: tuple[str, ...] = Field(
        ("layer", "embedding"),
        description="`layer`: the layer's single-concept readouts; `embedding`: the same of embeddings, if evidence is "
        "the whole image; `random`, `neighbourhoods`: these do not keep their level",
    )
    match: Literal["regression", "nearest"] = Field(
        "regression",
        description="`regression`: null scores regressed on clarity; `nearest`: the 200 null sets nearest in clarity",
    )
    full_sets: int = Field(
        800,
        ge=20,
        description="sets of each null on which every score is computed; on further sets only those of the test "
        '"one concept or several": clarity, gap and cut',
    )
    embedding_sets: int = Field(1600, ge=20, description="number of sets of the embedding null")
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

    max_clusters: int = Field(10, ge=2, le=64, description="maximum number of clusters")
    restarts: int = Field(10, ge=1, description="k-means runs per number of clusters")
    n_exemplars: int | None = Field(
        None, ge=8, description="score only this many of the embedded exemplars; default: all"
    )
    seed: int = Field(
        0, ge=0, description="seed of clusterings and of null sets drawn from the pool, in addition to the job's"
    )
    units_per_shard: int = Field(256, ge=1, description="units per shard")


class SwapSettings(Settings):
    """Patch swaps: whether what a unit's clusters show drives the unit in other images."""

    enabled: bool = Field(False, description="whether patches are swapped")
    units: Literal["called", "all"] = Field(
        "called",
        description="`called`: units that a test calls at `level`, by that test's clusters; `all`: those and "
        "the clusters of every live unit's exemplars",
    )
    level: float = Field(0.05, gt=0, le=1, description="largest p of a unit that counts as called")
    virtual_units: int = Field(
        10, ge=0, description="controls and planted units per layer and kind that are swapped as well, as proof"
    )
    donors: int = Field(24, ge=1, description="images that give patches, per cluster; fewer if fewer are held out")
    recipients: int = Field(48, ge=2, description="images that patches are pasted into, per unit")
    draws: int = Field(9999, ge=99, description="sign flips drawn for p; with fewer assignments, all are taken")
    units_per_shard: int = Field(16, ge=1, description="units per shard")


class PictureSettings(Settings):
    """The picture of a unit: one JPEG with the thumbnails of its strongest exemplars and its visualizations."""

    crops: int = Field(16, ge=0, le=256, description="strongest exemplars shown per unit; 0: none")
    per_cluster: int = Field(
        6, ge=0, le=256, description="strongest exemplars of each cluster that are shown in any case"
    )
    second: int = Field(
        8, ge=0, le=256, description="images shown of those that a unit's main meaning leaves unexplained; 0: none"
    )
    visualizations: int = Field(6, ge=0, le=256, description="visualizations shown; 0: none")
    visualization_px: int = Field(128, ge=16, le=512, description="side of a visualization in the picture")
    units_per_shard: int = Field(128, ge=1, description="units per shard")


class ShowSettings(Settings):
    """How the maps are drawn; not part of any fingerprint."""

    fdr: float = Field(0.05, gt=0, lt=1, description="false discovery rate at which a unit is called several")
    probable_fdr: float = Field(
        0.1, gt=0, lt=1, description="false discovery rate at which a unit is called probably several"
    )
    probable_by: Literal["group", "storey"] = Field(
        "group",
        description="which q decides `probably several`: `q_group` or `q_storey`; both estimate how many units of each "
        "layer answer to one thing",
    )
    pictures_per_layer: int | None = Field(
        None,
        ge=0,
        description="units per layer whose pictures are copied to the maps, highest first score first; default: all",
    )
    title: str = Field("", description="title of the pages; default: the network and its weights")


class WorkersSettings(Settings):
    """Ray workers; not part of any fingerprint, since they change no result."""

    n: int | None = Field(
        None, ge=1, description="number of workers; default: as many as fit, also when the cluster grows"
    )
    gpus: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of a GPU per worker, in stages with a network, if there are GPUs",
    )
    deadline_s: float | None = Field(
        None,
        gt=0,
        description="a shard that takes longer is taken back; default: 20 times the slowest so far, at least 1800",
    )
    patience_s: float = Field(
        25.0,
        ge=0,
        description="how long to wait for a cluster without room for a worker; more if the cluster has yet to grow",
    )


def _in_valid_text(value: Any) -> Any:
    """The value with all text in it as TOML can hold it."""
    if isinstance(value, dict):
        return {key: _in_valid_text(inner) for key, inner in cast("dict[str, Any]", value).items()}
    return printable(value) if isinstance(value, str) else value


class Job(Settings):
    """One scan.

    Raises:
        JobError: with every wrong key, its value and what is allowed.

    >>> job = Job(network={"name": "torchvision:resnet18"}, images={"source": "photos"}, collect={"k": 64})
    >>> job.k, job.score.restarts
    (64, 10)
    """

    seed: int = Field(0, ge=0, description="seed of everything random")
    threads: int = Field(1, ge=1, description="CPU threads per worker, the same on every runner")
    device: str = Field("auto", description="`auto`, `cpu`, `cuda`, `cuda:1` ...")
    network: NetworkSettings = Field(description="give the network (`--network`, or a group [network] in a job file)")
    images: ImagesSettings = Field(description="give the images (`--images`, or a group [images] in a job file)")
    directions: dict[str, str] = Field(
        default_factory=dict,
        description="directions of your own as units: for each layer a `.safetensors` file with one direction a row, "
        "and behind `#` the array in it, if it is not `weights` or the only one",
    )
    survey: SurveySettings = SurveySettings()  # pyright: ignore[reportCallIssue]
    collect: CollectSettings = CollectSettings()  # pyright: ignore[reportCallIssue]
    second: SecondSettings = SecondSettings()  # pyright: ignore[reportCallIssue]
    visualize: VisualizeSettings = VisualizeSettings()  # pyright: ignore[reportCallIssue]
    embed: EmbedSettings = EmbedSettings()  # pyright: ignore[reportCallIssue]
    calibrate: CalibrateSettings = CalibrateSettings()  # pyright: ignore[reportCallIssue]
    score: ScoreSettings = ScoreSettings()  # pyright: ignore[reportCallIssue]
    scores: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="settings per score; all scores are computed"
    )
    name: NameSettings = NameSettings()  # pyright: ignore[reportCallIssue]
    swap: SwapSettings = SwapSettings()  # pyright: ignore[reportCallIssue]
    picture: PictureSettings = PictureSettings()  # pyright: ignore[reportCallIssue]
    show: ShowSettings = ShowSettings()  # pyright: ignore[reportCallIssue]
    workers: WorkersSettings = WorkersSettings()  # pyright: ignore[reportCallIssue]
    folder: str = Field("", description="where the job's own code and weights are; set when the file is read")

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
                check_kinds(SCORES[name], settings)
                SCORES[name](**settings)
            except (TypeError, ValueError) as error:
                raise ValueError(f"[scores.{name}] {error}") from error
        return scores

    @property
    def k(self) -> int:
        """Number of exemplars of a unit.

        Raises:
            ValueError: if the job leaves it to the number of images, and `settled` has not filled it in.
        """
        if self.collect.k is None:
            raise ValueError("`collect.k` depends on the number of images; fill it in by `settled(job, n_images)`")
        return self.collect.k

    @property
    def n_embedded(self) -> int:
        """Number of exemplars of a unit that are embedded."""
        return self.embed.n_exemplars or self.k

    @property
    def n_scored(self) -> int:
        """Number of exemplars of a unit that are scored."""
        return self.score.n_exemplars or self.n_embedded

    @property
    def n_half(self) -> int:
        """Number of items in each half of a unit's deflated evidence: its strongest, and the least explained ones."""
        return self.n_scored // 2

    def score_functions(self) -> dict[str, Score]:
        """Every score of the registry, with this job's settings."""
        return {name: score(**self.scores.get(name, {})) for name, score in SCORES.items()}

    def to_toml(self) -> str:
        r"""The whole job, defaults filled in, as TOML that `load` can read; bytes that are not UTF-8 as `\xff`."""
        return tomli_w.dumps(_in_valid_text(self.model_dump(mode="json", exclude_none=True)))
