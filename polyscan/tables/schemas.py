"""The tables of a run and their schemas."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import pyarrow as pa

ColumnType = Literal["string", "int32", "int64", "float32", "float64", "bool", "binary", "vector"]
TYPES: dict[ColumnType, Any] = {
    "string": pa.string(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "binary": pa.binary(),
    "vector": pa.list_(pa.float32()),
}


@dataclass(frozen=True)
class Column:
    """One column: its type, its physical unit ("px", "images", "" if it has none) and what it means."""

    name: str
    type: ColumnType
    unit: str
    meaning: str
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """One table of a run. A change of its columns needs a new `version`, and so a new run."""

    name: str
    stage: str
    version: int
    one_row_per: str
    columns: tuple[Column, ...]

    @property
    def schema(self) -> pa.Schema:
        """Its Arrow schema, without metadata."""
        return pa.schema([pa.field(c.name, TYPES[c.type], nullable=c.nullable) for c in self.columns])


LAYER = Column(
    "layer", "string", "", "dotted module name; `#2` marks the second call of a shared module, `@` a virtual layer"
)
PARENT = Column("parent", "string", "", "the layer that the units are read from; the layer itself for real units")
ROLE = Column(
    "role",
    "string",
    "",
    "`unit` for channels; for virtual units, their use: `direction`, `null`, `control`, `planted`, `down` ...",
)
CHANNEL = Column("channel", "int32", "", "the unit's index in the layer, from 0")
UNIT = Column("unit", "int32", "", "the unit's number in the run's order: layers by depth, then channels")
IMAGE = Column("image", "int64", "", "id of the image: its position in the source's stable order")
CHECKSUM = Column("checksum", "string", "", "of the image as stored (BLAKE2b, 64 bits); empty if there are no bytes")
EVIDENCE = Column(
    "evidence", "string", "", "`exemplars`, `deflated` (those, and the least explained ones) or `visualizations`"
)
SPACE = Column(
    "space", "string", "", "where evidence is compared: an embedder, or the network's features `own`, `next`"
)
NULL = Column("null", "string", "", "which null: `layer`, `embedding` or another of `calibrate.nulls`")
CLUSTER = Column("cluster", "int32", "", "as in `clusters`: the best K >= 2 of this evidence, ungated")
IS_MAIN = Column("is_main", "bool", "", "exemplars, in the space where the layer is compared, against the first null")
SCORE = Column("score", "string", "", "name of the score, or of one of its parts as `semanticity_c`")
BOX = (
    Column("top", "int32", "px", "first row of the receptive-field box, in the network's input"),
    Column("left", "int32", "px", "first column of the box"),
    Column("bottom", "int32", "px", "row after the last one of the box"),
    Column("right", "int32", "px", "column after the last one of the box"),
)

UNEXPLAINED = Column("unexplained", "float32", "", "the unit's peak less what its main readout explains")

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table("layers", "survey", 3, "layer", (
            LAYER, PARENT, ROLE,
            Column("depth", "int32", "", "position in the forward order, from 0"),
            Column("n_units", "int32", "units", "number of units in the layer"),
            Column("map_y", "int32", "positions", "height of the activation map; 1 if it has no spatial extent"),
            Column("map_x", "int32", "positions", "width of the activation map"),
            Column("stride_y", "float64", "px", "vertical distance in the input between neighbouring positions"),
            Column("stride_x", "float64", "px", "horizontal distance"),
            Column("field_y", "float64", "px", "height of the theoretical receptive field; inf: the whole image"),
            Column("field_x", "float64", "px", "width of the theoretical receptive field; inf: the whole image"),
            Column("first_y", "float64", "px", "input row where the first position's field begins; may be negative"),
            Column("first_x", "float64", "px", "input column where it begins; may be negative"),
            Column("effective_field", "float64", "px", "side of the square with 90 % of the gradient; inf: the image"),
            Column("next", "string", "", "the next stage: the first deeper layer with another map size, or empty"),
            Column("space", "string", "", "where its evidence is compared: `image` (an embedder), `own` or `next`"),
            Column("random_clarity", "float64", "", "95th percentile of the clarity of random sets of features"),
            Column("readout", "string", "", "where the units are read"),
            Column("relu_follows", "bool", "", "whether the next operation is a ReLU or ReLU6"),
        )),
        Table("readouts", "survey", 4, "part of a virtual unit, and mean of a layer", (
            LAYER, PARENT, ROLE, CHANNEL,
            Column("part", "int32", "", "0 for a direction; a `max` has as many parts as directions"),
            Column("kind", "string", "", "`linear`, `max`; `mean` and `axis`: how its features are seen"),
            Column("of", "string", "", "what it is a readout of: `own`: the layer's vectors; `inputs`: what it reads"),
            Column("weights", "vector", "", "the direction, one number per channel of the layer, or of its inputs"),
            Column("bias", "float64", "", "added to it"),
            Column("reach", "int32", "", "the unit is read on a seeded share 1/reach of the images"),
            Column("image", "int64", "", "image of the exemplar that the direction is tuned to; -1: none"),
            Column("position", "int32", "positions", "position of the exemplar in the map, row by row; -1: none"),
            Column("ridge", "float64", "", "added to the covariance, as a multiple of its mean eigenvalue; nan: none"),
            Column("is_salient", "bool", "", "whether the exemplar was the most salient of several"),
            Column("source", "int32", "", "for a part of a planted unit: the channel it comes from; else -1"),
            Column("source_layer", "string", "", "layer of that channel, real or virtual; else empty"),
            Column("name", "string", "", "of a direction of one's own, if its file names it; else empty"),
        )),
        Table("sample", "survey", 1, "image that the survey has read, and shard", (
            IMAGE, CHECKSUM,
        )),
        Table("images", "collect", 3, "readable image", (
            IMAGE,
            Column("path", "string", "", "where the image came from, relative to the source"),
            Column("label", "int64", "", "class index", nullable=True),
            Column("label_name", "string", "", "class name, or empty"),
            Column("height", "int32", "px", "height of the original"),
            Column("width", "int32", "px", "width of the original"),
            CHECKSUM,
            Column("hash", "int64", "", "64 bits that copies of an image share (dHash); 0 for a plain image"),
            Column("frame", "float64", "", "share taken up by bands of one colour along the edges"),
        )),
        Table("rejects", "collect", 2, "image that could not be used", (
            IMAGE,
            Column("path", "string", "", "where the image came from"),
            Column("reason", "string", "", "why it was refused"),
            CHECKSUM,
        )),
        Table("candidates", "collect", 1, "unit and image among the unit's top k of one shard", (
            UNIT, LAYER, CHANNEL, IMAGE,
            Column("activation", "float32", "", "peak of the unit over space on this image"),
            Column("y", "int32", "positions", "row of the peak in the activation map"),
            Column("x", "int32", "positions", "column of the peak"),
        )),
        Table("moments", "collect", 1, "unit and shard", (
            UNIT, LAYER, CHANNEL,
            Column("n", "int64", "images", "images read"),
            Column("s1", "float64", "", "sum of the peaks"),
            Column("s2", "float64", "", "sum of their squares"),
            Column("s3", "float64", "", "sum of their third powers"),
            Column("s4", "float64", "", "sum of their fourth powers"),
            Column("min", "float64", "", "smallest peak"),
            Column("max", "float64", "", "largest peak"),
            Column("n_at_max", "int64", "images", "images whose peak equals the largest"),
            Column("n_nonpositive", "int64", "images", "images whose peak is not above zero"),
        )),
        Table("exemplars", "combine", 2, "unit and rank", (
            LAYER, PARENT, ROLE, CHANNEL,
            Column("rank", "int32", "", "0 for the strongest image; ties in favour of the smaller image id"),
            IMAGE,
            Column("activation", "float32", "", "peak of the unit over space on this image"),
            Column("y", "int32", "positions", "row of the peak in the activation map"),
            Column("x", "int32", "positions", "column of the peak"),
            *BOX,
            Column("crop", "int64", "", "key of the crop: a hash of image and box"),
        )),
        Table("units", "combine", 2, "unit", (
            LAYER, PARENT, ROLE, CHANNEL,
            Column("depth", "int32", "", "the layer's position in the forward order"),
            Column("n_images", "int64", "images", "number of images in the moments"),
            Column("mean", "float64", "", "mean peak over all images"),
            Column("sd", "float64", "", "standard deviation of the peaks"),
            Column("min", "float64", "", "smallest peak"),
            Column("max", "float64", "", "largest peak"),
            Column("kurtosis", "float64", "", "excess kurtosis of the peaks; null if sd is 0", nullable=True),
            Column("sparsity", "float64", "", "share of images whose peak is not above zero"),
            Column("is_dead", "bool", "", "sd below 1e-6 of the layer's median, or no peak above 0 before a ReLU"),
            Column("saturated", "bool", "", "more than k images tie at the largest peak, so the top k is arbitrary"),
        )),
        Table("main_readouts", "deflate", 1, "unit", (
            LAYER, PARENT, ROLE, CHANNEL,
            Column("of", "string", "", "what it reads: `own`: the layer's vectors; `inputs`: what the layer reads"),
            Column("n", "int32", "images", "exemplars that it was estimated from"),
            Column("weights", "vector", "", "the direction that answers to what the exemplars have in common"),
            Column("bias", "float64", "", "added to it"),
            Column("slope", "float64", "", "of the curve beyond its last point"),
            Column("curve_x", "vector", "", "median of the main readout in bins of the images by its rank"),
            Column("curve_y", "vector", "", "median of the unit in these bins: what the main readout explains"),
            Column("floor", "float64", "", "activation of the weakest image that is searched; inf: none is"),
        )),
        Table("second_candidates", "recollect", 1, "unit and image among the least explained of one shard", (
            UNIT, LAYER, CHANNEL, IMAGE,
            UNEXPLAINED,
            Column("activation", "float32", "", "peak of the unit over space on this image"),
            Column("y", "int32", "positions", "row of the peak in the activation map"),
            Column("x", "int32", "positions", "column of the peak"),
        )),
        Table("second_exemplars", "recombine", 1, "unit and rank", (
            LAYER, PARENT, ROLE, CHANNEL,
            Column("rank", "int32", "", "0 for the least explained image; ties in favour of the smaller image id"),
            IMAGE,
            UNEXPLAINED,
            Column("activation", "float32", "", "peak of the unit over space on this image"),
            Column("y", "int32", "positions", "row of the peak in the activation map"),
            Column("x", "int32", "positions", "column of the peak"),
            *BOX,
            Column("crop", "int64", "", "key of the crop: a hash of image and box"),
        )),
        Table("seconds", "recombine", 1, "unit", (
            LAYER, PARENT, ROLE, CHANNEL,
            Column("n", "int32", "images", "images in the second half of its deflated evidence"),
            Column(
                "strength", "float64", "",
                "mean activation of the second half over that of the first, both above the unit's mean", nullable=True,
            ),
        )),
        Table("visualizations", "visualize", 1, "unit and visualization", (
            LAYER, CHANNEL,
            Column("index", "int32", "", "0 for the unit's first visualization"),
            Column("activation", "float32", "", "peak of the unit over space on the finished image"),
            Column("mean_distance", "float64", "", "mean pairwise distance of images 0..index", nullable=True),
            Column("n_counted", "int32", "", "I: number of visualizations of the unit; none is kept after the stop"),
            Column("stop", "string", "", "why it has no more: `elbow`, `max_images`; `stalled`, `dead`: starts failed"),
            Column("image", "binary", "", "PNG"),
        )),
        Table("data_visualizations", "visualize", 1, "unit and cluster of its exemplars", (
            LAYER, CHANNEL,
            Column("index", "int32", "", "0 for the largest cluster"),
            Column("n_exemplars", "int32", "", "exemplars in the cluster whose mean was the start"),
            Column("activation", "float32", "", "peak of the unit over space on the finished image"),
            Column("image", "binary", "", "PNG"),
        )),
        Table("embeddings", "embed", 1, "item and space", (
            SPACE,
            Column("item", "int64", "", "key of the crop or of the visualization"),
            Column("embedding", "vector", "", "raw vector"),
        )),
        Table("features", "embed", 1, "position of a layer and space", (
            LAYER, SPACE,
            Column("item", "int64", "", "key of the position: a hash of image, row and column"),
            Column("embedding", "vector", "", "raw activation vector of the space's layer at the position"),
        )),
        Table("concepts", "embed", 1, "concept", (
            SPACE,
            Column("concept", "string", "", "its name"),
            Column("kind", "string", "", "`text`, `label` (mean of its images), `mean` (of all), `axis` (of cosines)"),
            Column("label", "int64", "", "class index; -1 for a concept that is not a class"),
            Column("n", "int32", "images", "number of images of which it is the mean"),
            Column("embedding", "vector", "", "raw vector"),
        )),
        Table("thumbnails", "embed", 1, "crop", (
            Column("item", "int64", "", "key of the crop"),
            Column("image", "binary", "", "JPEG"),
        )),
        Table("nulls", "calibrate", 1, "null set and score", (
            LAYER, NULL, EVIDENCE, SPACE,
            Column("set", "int32", "", "the set; for the layer null the channel of the null readout"),
            Column("reach", "int32", "", "the set is drawn from the top reach x n images of its readout"),
            SCORE,
            Column("value", "float64", "", "its value", nullable=True),
        )),
        Table("scores", "score", 4, "unit, evidence, space, null and score", (
            LAYER, PARENT, ROLE, CHANNEL, EVIDENCE, SPACE, NULL, IS_MAIN, SCORE,
            Column("value", "float64", "", "its value", nullable=True),
            Column("null_mean", "float64", "", "mean under the null at this clarity; null: no null", nullable=True),
            Column("null_sd", "float64", "", "standard deviation under the null at this clarity", nullable=True),
            Column("p", "float64", "", "chance of a value as extreme under the null", nullable=True),
            Column("p_exact", "float64", "", "of `separation`: p with curves fitted on other null sets", nullable=True),
            Column("is_extrapolated", "bool", "", "p is too small to be counted and comes from a fitted tail"),
            Column("n_exact", "int32", "", "number of null sets that `p_exact` was counted among; 0: it has none"),
        )),
        Table("matches", "score", 2, "unit, evidence, space and null", (
            LAYER, PARENT, ROLE, CHANNEL, EVIDENCE, SPACE, NULL,
            Column("n_sets", "int32", "", "number of null sets that the unit is compared with"),
            Column("match_radius", "float64", "", "distance in clarity to the 20th nearest null set", nullable=True),
            Column("off_range", "bool", "", "radius above .05, or clarity outside the null's range"),
            Column("incoherent", "bool", "", "clarity not above that of sets of random items"),
        )),
        Table("artefacts", "score", 2, "unit and evidence", (
            LAYER, PARENT, ROLE, CHANNEL, EVIDENCE,
            Column(
                "artefact", "string", "",
                "what tells its clusters apart though it is no concept: `border`, `one place`, `repeated image`, "
                "`letterbox`, or empty",
            ),
            Column("mark", "string", "", "the place, or the rank of the repeated exemplar; else empty"),
            Column("share", "float64", "", "of the cluster's exemplars that have the mark", nullable=True),
            Column("elsewhere", "float64", "", "of the other exemplars that have it", nullable=True),
        )),
        Table("centres", "score", 1, "unit", (
            LAYER, CHANNEL, SPACE,
            Column("embedding", "vector", "", "mean of the exemplars, whitened as for cosines; of length 1 or 0"),
        )),
        Table("clusters", "score", 4, "unit, evidence, space and item", (
            LAYER, PARENT, ROLE, CHANNEL, EVIDENCE, SPACE,
            replace(IS_MAIN, meaning="exemplars, in the space where the layer is compared"),
            Column("item", "int32", "", "rank of the exemplar, index of the visualization"),
            Column("cluster", "int32", "", "best K >= 2 by silhouette, ungated; 0 for the strongest item's cluster"),
            Column("cluster_bic", "int32", "", "k-means with K by BIC, 1 included, as published; -1 for an outlier"),
            Column("x", "float32", "", "for real units in their layer's space: along the main axis", nullable=True),
            Column("y", "float32", "", "along the second axis of classical scaling of the cosines", nullable=True),
        )),
        Table("swaps", "swap", 1, "unit, evidence, cluster and condition", (
            LAYER, PARENT, ROLE, CHANNEL, EVIDENCE, CLUSTER,
            Column(
                "condition", "string", "",
                "what was pasted: `aligned`: patches of the cluster; `other_unit`: of other units' exemplars; "
                "`random`: of random images; `elsewhere`: those of the cluster, apart from where the unit is read; "
                "`ablated_elsewhere`: the recipient's mean colour, apart from it",
            ),
            Column("n", "int32", "images", "images that patches were pasted into"),
            Column("effect", "float64", "", "mean change of the unit at the place that is read, in its `sd`"),
            Column(
                "low", "float64", "",
                "lower end of its 95 % t interval: over donors, or over recipients if these share none", nullable=True,
            ),
            Column("high", "float64", "", "upper end", nullable=True),
            Column("p", "float64", "", "of `aligned` not above this condition; null for itself", nullable=True),
        )),
        Table("causes", "swap", 1, "unit, evidence and cluster", (
            LAYER, PARENT, ROLE, CHANNEL, EVIDENCE, CLUSTER,
            Column("n_donors", "int32", "images", "images that gave patches, none of them in the evidence"),
            Column("n_recipients", "int32", "images", "images that they were pasted into"),
            Column("patch_y", "int32", "px", "height of a patch in the network's input"),
            Column("patch_x", "int32", "px", "width of a patch"),
            Column("margin", "float64", "", "mean of `aligned` less the strongest control, in sd", nullable=True),
            Column("margin_low", "float64", "", "lower end of its 95 % t interval over donors", nullable=True),
            Column("margin_high", "float64", "", "upper end", nullable=True),
            Column("p", "float64", "", "of `aligned` not above every control: the largest p of four", nullable=True),
            Column("absent", "string", "", "why there was no swap: `no donors`, `no recipients`; else empty"),
            Column("before", "binary", "", "JPEG of an image as it was: the one whose change is the median"),
            Column("after", "binary", "", "JPEG of it with its patch"),
        )),
        Table("sprites", "picture", 1, "real unit with pictures", (
            LAYER, CHANNEL,
            Column("width", "int32", "px", "width of the sprite"),
            Column("height", "int32", "px", "height of the sprite"),
            Column("image", "binary", "", "JPEG"),
        )),
        Table("tiles", "picture", 1, "picture in a unit's sprite", (
            LAYER, CHANNEL,
            Column(
                "evidence", "string", "", "`exemplars`, `deflated`, `swaps`, `visualizations` or `data_visualizations`"
            ),
            Column(
                "item", "int32", "",
                "rank of the exemplar, index of the visualization; of the unit's i-th row of `causes`, from 0: 2 i "
                "before and 2 i + 1 after the swap",
            ),
            Column("left", "int32", "px", "left edge of the picture in the sprite"),
            Column("top", "int32", "px", "top edge of the picture in the sprite"),
            Column("width", "int32", "px", "width of the picture"),
            Column("height", "int32", "px", "height of the picture"),
        )),
        Table("names", "name", 3, "unit, evidence, cluster and name", (
            LAYER, CHANNEL,
            Column("evidence", "string", "", "`exemplars`; `deflated` for the halves of the second test"),
            SPACE,
            Column(
                "cluster", "int32", "",
                "as in `clusters`: the best K >= 2, ungated; -1: all exemplars; for `deflated`: 0 for the strongest "
                "exemplars, 1 for the least explained images",
            ),
            Column("n", "int32", "", "items that the name was made from"),
            Column("rank", "int32", "", "0 for the name that fits best"),
            Column("name", "string", "", "a class name, or a word of the vocabulary"),
            Column("kind", "string", "", "`label`: counted; `text`: a word; `prototype`: the mean of a class's images"),
            Column("similarity", "float64", "", "share of items with the label; or cosine of their mean and the word"),
            Column("margin", "float64", "", "similarity less that of the next name", nullable=True),
            Column("p", "float64", "", "chance of a name as good for as many random images; for words: random crops"),
            Column("contrast", "float64", "", "mean likeness of the items less that of the others", nullable=True),
            Column("contrast_p", "float64", "", "chance of it if the items were drawn from the unit's", nullable=True),
            Column("wpmi", "float64", "", "soft-WPMI (CLIP-Dissect) against random sets; not of labels", nullable=True),
            Column("wpmi_rank", "int32", "", "0 for the name with the largest; -1 for labels"),
        )),
        Table("cluster_vectors", "name", 1, "unit, evidence and cluster that a model has named", (
            LAYER, PARENT, ROLE, CHANNEL,
            Column("evidence", "string", "", "as in `names`"),
            Column("cluster", "int32", "", "as in `names`, without -1"),
            Column("space", "string", "", "the model that names"),
            Column("n", "int32", "", "items that the vector was made from: the strongest of the cluster"),
            Column("share", "float64", "", "of the evidence's items that are in the cluster"),
            Column("vector", "vector", "", "mean of the items, seen from the layer's random crops; of length 1 or 0"),
        )),
        Table("namers", "name", 2, "model that names; no row if labels are counted", (
            Column("model", "string", "", "its name"),
            Column("n_words", "int32", "words", "size of the vocabulary"),
            Column("n_images", "int32", "images", "labelled images whose class name the model knows, in a sample"),
            Column("n_classes", "int32", "", "classes of these images"),
            Column("accuracy", "float64", "", "share of them that are nearest to their own class name", nullable=True),
            Column("chance", "float64", "", "the same if the answers were shuffled", nullable=True),
            Column("p", "float64", "", "chance of such an accuracy", nullable=True),
            Column("image_centre", "vector", "", "mean of whole images in a sample: what an image is seen from"),
            Column("word_centre", "vector", "", "mean of the vocabulary: what a word is seen from; empty: none"),
        )),
    )
}  # fmt: skip
