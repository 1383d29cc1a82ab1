"""What ResNet-50 would take on 1.28 million images, on GPUs never rented: `python -m benchmarks.scaling.costed_plan`.

Arithmetic from rates: all 26,560 channels after the convolutions, k = 100, the virtual units of the defaults. Each
rate below names the command that measured it; what was measured on another network, or without virtual units, is
scaled by multiply-adds and called an estimate. `--measure` measures the CPU's rates again, on this machine.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.race import Skipped

N_IMAGES, K = 1_281_167, 100
IMAGES_PER_SHARD, BATCH = 8192, 256
READ_OUTS, CONTROLS, PLANTED, RANDOM, SURVEYED = 1600, 40, 40, 40, 4096
VIRTUAL = READ_OUTS + CONTROLS + PLANTED + RANDOM
FULL_SETS = 800
MAIN_EXEMPLARS, REACH, HALF = 48, 5, K // 2
"""Of the second test: exemplars of a main readout, images searched as a multiple of k, and half a unit's evidence."""
ITEMS = K + HALF
"""Images of a unit's evidence: its exemplars, and the least explained ones."""
STEPS, IMAGES_A_UNIT, UNITS_PER_SHARD = 128, 8, 16
ROLES = 5
"""Layers to merge for each one: its channels, and virtual layers of four roles."""
CROPS_PER_SHARD, NULL_SETS_PER_SHARD, POOL_SETS, SCORED_PER_SHARD, PICTURED_PER_SHARD = 4096, 100, 1600, 256, 128
EMBEDDING_WIDTH = 512
OPENING_S = 20
HOUR = 3600
POOL_HELD = N_IMAGES * (8 * EMBEDDING_WIDTH + 8 * 256)
"""Bytes of the pool's vectors: as stored, of length one, and along 256 principal components."""

GPU = "H200, `python -m benchmarks.scaling.on_gpu`"
CPU = "one core of an EPYC, `python -m benchmarks.scaling.costed_plan --measure`"


@dataclass(frozen=True)
class Rate:
    """What was measured: so many of something a second, or seconds of one."""

    value: float
    meaning: str
    source: str


RATES = {
    "forward": Rate(3210, "images a second of ResNet-50's bare forward pass, 224 px, batch 256", GPU),
    "collect": Rate(2176, "the same with every convolution read (26,560 units), without virtual units", GPU),
    "ascent": Rate(0.000382, "seconds of a step of MobileNetV2's features.16 at 224 px, batch 256, for an image", GPU),
    "embed": Rate(11_705, "crops a second at 224 px through MobileNetV2, batch 512", GPU),
    "decode": Rate(434, "images a second decoded and brought to 224 px (short side 256 before)", CPU),
    "cut": Rate(1676, "crops a second cut out, fitted to 224 px, and their thumbnails packed", CPU),
    "algebra": Rate(77, "seconds of covariances, whitening and readouts for all 53 layers", CPU),
    "null set": Rate(0.0069, "seconds to score a null set of 100 vectors of 512 numbers", CPU),
    "test set": Rate(0.0024, "seconds to score one by clarity, gap and cut alone, as deflated evidence is", CPU),
    "unit": Rate(0.0082, "seconds to score a unit's 100 exemplars", CPU),
    "pictures": Rate(0.0013, "seconds to score a unit's 8 visualizations", CPU),
    "curve": Rate(0.00055, "seconds to fit the curve of a unit given its main readout, on 4,096 images", CPU),
    "explain": Rate(2.0e7, "activations a second, less what the main readout explains, ranked", CPU),
    "rank": Rate(2.9e6, "rows a second made distinct by sorting (the crops of all exemplars)", CPU),
    "merge": Rate(
        1 / 1.5e-6, "candidates a second merged", "one core, `combine` in `python -m benchmarks.scaling.plan_vs_scan`"
    ),
    "name": Rate(1 / 3e-3, "units a second named", "one core, `name` in `python -m benchmarks.scaling.plan_vs_scan`"),
    "picture": Rate(
        2813 / 8.1, "units a second pictured", "one core, `picture` in `python -m benchmarks.scaling.plan_vs_scan`"
    ),
}
"""The one table that all hours below come from."""


MOBILENET_ADDS, MOBILENET_FEATURES_16_ADDS = 0.300e9, 0.256e9
"""Multiply-adds of MobileNetV2 at 224 px, and up to the layer whose ascent was measured."""


def rate(name: str) -> float:
    """The number itself."""
    return RATES[name].value


def passes_a_step() -> float:
    """A step of ascent in bare forward passes through the same trunk, as it was on MobileNetV2."""
    return rate("ascent") * rate("embed") * MOBILENET_ADDS / MOBILENET_FEATURES_16_ADDS


# ---- the network ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LayerFacts:
    """One convolution: channels, places of its map, multiply-adds up to it at 224 px, side of an ascent's canvas, its
    field's parts of an image, and the width of the vectors it is compared by."""

    channels: int
    places: int
    trunk: float
    canvas_px: int
    parts: tuple[np.ndarray, float]
    space: str
    width: int


@cache
def resnet50() -> tuple[LayerFacts, ...]:
    """Its 53 convolutions, from the network itself (random weights)."""
    import torch

    from polyscan.stages.survey.geometry import compared
    from polyscan.studies.plan.evidence import box_shares
    from polyscan.vision.feature_visualization import AscentSettings, canvas_size
    from polyscan.vision.networks import NetworkRequest, load_network
    from polyscan.vision.readouts import Reader

    network = load_network(NetworkRequest("torchvision:resnet50", "random"), torch.device("cpu"))
    named = network.module.named_modules()
    convolutions = {name: module for name, module in named if isinstance(module, torch.nn.Conv2d)}
    points = Reader(network, list(convolutions)).points
    widths = {point.layer: point.n_channels for point in points}
    trunk, facts = 0.0, []
    for point in points:
        module = convolutions[point.layer]
        trunk += point.n_channels * math.prod(point.map_size) * module.in_channels * math.prod(module.kernel_size)
        found = compared(point, points, wanted="auto", input_size=network.preprocessing.size)
        space = str(found["space"])
        width = {"image": EMBEDDING_WIDTH, "next": widths.get(str(found["next"]), 0)}.get(space, point.n_channels)
        side = max(canvas_size(point, network.preprocessing, AscentSettings()))
        parts = box_shares(point, network.preprocessing.size)
        facts.append(LayerFacts(point.n_channels, math.prod(point.map_size), trunk, side, parts, space, width))
    return tuple(facts)


@dataclass(frozen=True)
class Counts:
    """How many there are of what takes time or room."""

    layers: int
    units: int
    scanned: int
    read_out_adds: float
    main_adds: float
    adds: float
    crops: float
    opened: float
    features: float
    feature_numbers: float
    of_a_layer: float
    ascent_steps: float
    ascent_adds: float
    image_layers: int


@cache
def counts() -> Counts:
    """Of the whole scan; where peaks fall alike everywhere, and as many images a unit as `plan` takes."""
    from polyscan.studies.plan.evidence import SALIENT, distinct

    layers = resnet50()
    directions = VIRTUAL + PLANTED  # a planted pair is two of them
    everywhere = np.ones(1)
    crops = opened = whole = features = numbers = most = 0.0
    for layer in layers:
        of_part, of_whole = layer.parts
        scanned = layer.channels + VIRTUAL
        draws = ITEMS * (scanned if layer.space == "image" else layer.channels)
        crops += distinct(draws, of_part, N_IMAGES)
        opened += distinct(draws * (1 - of_whole), everywhere, N_IMAGES)
        whole += draws * of_whole
        if layer.space != "image":
            places = SALIENT * distinct(ITEMS * scanned, np.full(layer.places, 1 / layer.places), N_IMAGES)
            features, numbers = features + places, numbers + places * layer.width
            most = max(most, places * layer.width)
    image_layers = sum(layer.space == "image" for layer in layers)
    of_whole_images = N_IMAGES if image_layers else distinct(whole, everywhere, N_IMAGES)
    steps = [layer.channels * IMAGES_A_UNIT * STEPS for layer in layers]
    return Counts(
        layers=len(layers),
        units=sum(layer.channels for layer in layers),
        scanned=sum(layer.channels + VIRTUAL for layer in layers),
        read_out_adds=sum(directions * layer.channels * layer.places for layer in layers),
        main_adds=sum((layer.channels + VIRTUAL) * layer.channels * layer.places for layer in layers),
        adds=layers[-1].trunk,
        crops=crops + of_whole_images,
        opened=opened + of_whole_images,
        features=features,
        feature_numbers=numbers,
        of_a_layer=most,
        ascent_steps=sum(steps),
        ascent_adds=sum(n * passes_a_step() * layer.trunk * (layer.canvas_px / 224) ** 2
                        for n, layer in zip(steps, layers, strict=True)),
        image_layers=image_layers,
    )  # fmt: skip


# ---- the stages ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """One stage.

    Args:
        name: its verb.
        work: seconds of one worker for all of it.
        shards: into how many parts it divides, so at most as many workers share it.
        on_gpu: whether a worker holds a GPU; else it is a core.
        alone: seconds that every worker spends before its first shard, however many there are.
        is_estimate: whether a rate was scaled rather than measured.
        made_of: what the seconds are made of.
    """

    name: str
    work: float
    shards: int
    on_gpu: bool
    alone: float
    is_estimate: bool
    made_of: str

    def seconds(self, workers: int) -> float:
        """With so many workers: whole shards, so the last round may leave some idle."""
        rounds = math.ceil(self.shards / min(workers, self.shards))
        return self.alone + rounds * self.work / self.shards


def stages() -> list[Stage]:
    """All of them."""
    from polyscan.studies.plan.costs.combine import FILE_S
    from polyscan.studies.plan.evidence import READING_S

    n = counts()
    decode = 1 / rate("decode")
    sample_pass = SURVEYED * (decode + 1 / rate("forward"))
    reading = 1 / rate("collect") - 1 / rate("forward")  # of 26,560 units' peaks
    collecting = 1 / rate("forward") * (1 + n.read_out_adds / n.adds) + reading * n.scanned / n.units
    # Units and their main readouts, one for each.
    pairing = 1 / rate("forward") * (1 + (n.read_out_adds + n.main_adds) / n.adds) + 2 * reading * n.scanned / n.units
    shards = math.ceil(N_IMAGES / IMAGES_PER_SHARD)
    merged, merged_second = n.scanned * K * shards, n.scanned * second_per_shard() * shards
    layers = resnet50()
    deflations = _deflate_shards(layers)
    deflating = deflations * (deflation_sample() * (decode + 1 / rate("forward")) + SURVEYED * (decode + pairing))
    deflating += rate("algebra") + n.scanned * rate("curve")
    ascent = n.ascent_adds / (n.adds * rate("forward"))
    crop = 1 / rate("cut") + 1 / rate("embed")
    gathering = N_IMAGES * (decode + 1 / rate("forward"))
    embedding = n.opened * decode + n.crops * crop + n.units * IMAGES_A_UNIT * crop
    null_sets = n.layers * READ_OUTS + POOL_SETS * (n.image_layers > 0)
    full_sets = FULL_SETS * (n.layers + (n.image_layers > 0))
    test_sets = null_sets - full_sets + n.layers * READ_OUTS
    judged = n.units + n.layers * (CONTROLS + PLANTED + RANDOM)
    scored = n.units + judged
    null_shards = math.ceil(null_sets / NULL_SETS_PER_SHARD)
    score_shards = sum(math.ceil(layer.channels / SCORED_PER_SHARD) + 3 for layer in layers)
    surveys = _survey_shards(layers)
    return [
        Stage("survey", surveys * 2 * sample_pass + rate("algebra"), surveys, True, OPENING_S, False,
              f"{surveys} shards, two passes over {SURVEYED:,} images each, and algebra on a core"),
        Stage("collect", N_IMAGES * (decode + collecting), shards, True, OPENING_S, True,
              f"{decode * 1e3:.1f} ms an image to decode, {collecting * 1e3:.2f} ms on the GPU"),
        Stage("combine", merged / rate("merge") + n.layers * ROLES * shards * FILE_S, n.layers * ROLES, False,
              OPENING_S, False, f"{merged:,.0f} candidates: units x k x shards of `collect`"),
        Stage("deflate", deflating, deflations, True, OPENING_S, True,
              f"{deflations} shards, {deflation_sample():,} images each for main readouts, {SURVEYED:,} for curves"),
        Stage("recollect", N_IMAGES * (decode + pairing + n.scanned / rate("explain")), shards, True, OPENING_S, True,
              f"{decode * 1e3:.1f} ms an image to decode, {pairing * 1e3:.2f} ms on the GPU, "
              f"{n.scanned / rate('explain') * 1e3:.1f} ms to subtract and rank"),
        Stage("recombine", merged_second / rate("merge") + n.layers * ROLES * shards * FILE_S, n.layers * ROLES, False,
              OPENING_S, True, f"{merged_second:,.0f} candidates"),
        Stage("visualize", ascent, sum(math.ceil(layer.channels / UNITS_PER_SHARD) for layer in layers), True,
              OPENING_S, True, f"{n.units:,} units, {IMAGES_A_UNIT} images each, {STEPS} steps"),
        Stage("embed", embedding + gathering, math.ceil(n.crops / CROPS_PER_SHARD) + shards, True,
              OPENING_S + n.units * ITEMS / rate("rank"), False,
              f"{n.crops / 1e6:.1f} M crops of {n.opened / 1e6:.1f} M images opened, "
              f"{n.units * IMAGES_A_UNIT / 1e3:.0f} k visualizations, "
              f"one pass for {n.features / 1e6:.1f} M features"),
        Stage("calibrate", full_sets * rate("null set") + test_sets * rate("test set") + null_shards * READING_S,
              null_shards, False, OPENING_S, False,
              f"{full_sets:,} null sets with every score, {test_sets:,} with the test's (deflated ones among them)"),
        Stage("score", scored * rate("unit") + judged * rate("test set") + n.units * rate("pictures")
              + score_shards * READING_S, score_shards, False, OPENING_S, False,
              f"{scored:,} sets of exemplars (crops among them), {judged:,} deflated ones, "
              f"{n.units:,} of visualizations"),
        Stage("name", n.units / rate("name"), sum(math.ceil(layer.channels / SCORED_PER_SHARD) for layer in layers),
              False, OPENING_S, False, f"{n.units:,} units"),
        Stage("swap", 0, 1, True, 0, False, "off by default"),
        Stage("picture", n.units / rate("picture"),
              sum(math.ceil(layer.channels / PICTURED_PER_SHARD) for layer in layers), False, OPENING_S, False,
              f"{n.units:,} units"),
    ]  # fmt: skip


def deflation_sample() -> int:
    """Images on which main readouts are estimated: so many that about 48 of a unit's exemplars are among them."""
    return min(N_IMAGES, max(SURVEYED, math.ceil(MAIN_EXEMPLARS * N_IMAGES / K)))


def second_per_shard() -> int:
    """Candidates of a unit that one shard of `recollect` gives, about."""
    return min(HALF, math.ceil(REACH * K / N_IMAGES * IMAGES_PER_SHARD))


def _deflate_shards(layers: Sequence[LayerFacts]) -> int:
    from polyscan.shards import split_by_weight
    from polyscan.stages.deflate import UNITS_PER_SHARD as DEFLATED_PER_SHARD

    return len(split_by_weight("deflate", [layer.channels + VIRTUAL for layer in layers], DEFLATED_PER_SHARD))


def _survey_shards(layers: Sequence[LayerFacts]) -> int:
    from polyscan.shards import split_by_weight
    from polyscan.stages.survey import CHANNELS_PER_SHARD

    return len(split_by_weight("survey", [layer.channels for layer in layers], CHANNELS_PER_SHARD))


# ---- told ----------------------------------------------------------------------------------------------------------


def assumptions(cores: int, price: float) -> list[str]:
    """What the hours hang on, one a line."""
    n = counts()
    return [
        f"{N_IMAGES:,} images, k = {K}; {n.units:,} channels of {n.layers} convolutions and "
        f"{n.scanned - n.units:,} virtual ones: {READ_OUTS:,} readouts, {CONTROLS} controls, {PLANTED} planted, "
        f"{RANDOM} random directions a layer.",
        f"{cores} cores beside each GPU; {price:g} an hour for a GPU with them, paid from the first stage to the last.",
        "A worker of a GPU stage holds one GPU and one core; it decodes, then computes, one after the other.",
        f"`collect.images_per_shard = {IMAGES_PER_SHARD:,}`: `combine` reads units x k x shards rows, so the default "
        f"of 512 would give it {IMAGES_PER_SHARD // 512} times as many.",
        f"Collect's GPU time: the bare pass x (1 + {n.read_out_adds / 1e9:.1f} / {n.adds / 1e9:.1f}), the readouts' "
        "multiply-adds over the network's; what reading peaks takes, by the number of units. An estimate: virtual "
        "units were not measured on a GPU.",
        f"The second test was not measured on a GPU. Each shard of `deflate` reads {deflation_sample():,} images, "
        f"{MAIN_EXEMPLARS} / k of all; `recollect` reads units and as many main readouts, {n.main_adds / 1e9:.1f} G "
        "multiply-adds more, and subtracts on the core what these explain. Estimates.",
        f"Ascent: a step takes {passes_a_step():.1f} bare passes up to the layer at its canvas' size, as it did on "
        "MobileNetV2 (its bare pass is the embedder's), at the speed of ResNet-50's own bare pass by multiply-adds; "
        f"{IMAGES_A_UNIT} images a unit, {STEPS} steps, float32. An estimate: ascent of ResNet-50 was not measured.",
        "Crops and features: as many distinct ones as if peaks fell on every place alike, features .6 of that; an "
        "image is decoded anew for each layer whose crops it holds.",
        f"Embedding: MobileNetV2's rate at 224 px stands for the default ResNet-18's, with {EMBEDDING_WIDTH} numbers.",
        "CPU stages run on every core; `show`, the driver's own sorting and weights' download are left out; "
        f"{OPENING_S} s a stage until a worker has opened its inputs.",
        _pool_words(n.image_layers),
        "Images come as fast as they are decoded: no waiting for a disk or the network.",
    ]


def _pool_words(image_layers: int) -> str:
    if image_layers:
        return f"{image_layers} layers are compared by whole images, so all images are embedded: the pool of a null."
    return (
        "No convolution is compared by whole images, so there is no pool of all images; with the logits scanned, too, "
        f"every image is embedded, and a worker of `calibrate` holds the pool, {POOL_HELD / 1e9:.1f} GB."
    )


def rooms() -> list[tuple[str, str, float]]:
    """What is held and filed: name, how it comes about, bytes."""
    from polyscan.nulls.deflation import BINS
    from polyscan.stages.deflate import UNITS_PER_SHARD as DEFLATED_PER_SHARD
    from polyscan.studies.plan.costs.collect import CANDIDATE_BYTES, CANDIDATE_HELD, TALLIED_HELD
    from polyscan.studies.plan.costs.combine import EXEMPLAR_BYTES, RANKED_HELD
    from polyscan.studies.plan.costs.embed import EXEMPLAR_HELD
    from polyscan.studies.plan.costs.recollect import CANDIDATE_BYTES as SECOND_BYTES

    n = counts()
    shards = math.ceil(N_IMAGES / IMAGES_PER_SHARD)
    rows, widest = n.scanned * K, max(layer.channels for layer in resnet50())
    second = n.scanned * second_per_shard() * shards
    main_numbers = sum((layer.channels + VIRTUAL) * (layer.channels + 2 * BINS) for layer in resnet50())
    return [
        ("disk: `candidates`", f"{rows * shards:,.0f} rows", rows * shards * CANDIDATE_BYTES),
        ("disk: `exemplars`", f"{rows:,} rows", rows * EXEMPLAR_BYTES),
        ("disk: `main_readouts`", f"{n.scanned:,} vectors and curves", 4 * main_numbers),
        ("disk: `second_candidates`", f"{second:,.0f} rows, about", second * SECOND_BYTES),
        ("disk: `embeddings`", f"{n.crops:,.0f} vectors", 4 * EMBEDDING_WIDTH * n.crops),
        ("disk: `features`", f"{n.features:,.0f} vectors", 4 * n.feature_numbers),
        ("a worker of `collect`", f"{rows:,} candidates of a shard", rows * CANDIDATE_HELD),
        ("its GPU", "the tallies of these", rows * TALLIED_HELD),
        (
            "a worker of `combine`",
            f"{widest * K * shards:,.0f} candidates of a layer",
            widest * K * shards * RANKED_HELD,
        ),
        ("a worker of `deflate`", "peaks of a shard's units on the sample", 8 * DEFLATED_PER_SHARD * SURVEYED),
        ("a worker of `recollect`", "a byte per unit and image of a shard", n.scanned * IMAGES_PER_SHARD),
        (
            "a worker of `embed`",
            "the images of a layer's units, made distinct",
            (widest + VIRTUAL) * ITEMS * EXEMPLAR_HELD,
        ),
        ("a worker of `calibrate`, `score`, `name`", "a layer's features, as read and in order", 8 * n.of_a_layer),
        *([("a worker of `calibrate`", "the pool of all images", POOL_HELD)] if n.image_layers else []),
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def markdown(gpus: Sequence[int], cores: int, price: float) -> str:
    """The whole of it."""
    found = stages()
    hours = {n: [stage.seconds(n if stage.on_gpu else n * cores) / HOUR for stage in found] for n in gpus}
    lines = ["Assumptions:", "", *(f"- {line}" for line in assumptions(cores, price)), ""]
    lines += ["| rate | | from |", "| --- | --- | --- |"]
    lines += [f"| {_number(each.value)} | {each.meaning} | {each.source} |" for each in RATES.values()]
    heads = [f"{n} GPU{'s' * (n > 1)}, h" for n in gpus]
    lines += ["", "| stage | made of | shards | work of one worker, h | " + " | ".join(heads) + " | |"]
    lines += ["| --- | --- | ---: | ---: |" + " ---: |" * len(gpus) + " --- |"]
    for place, stage in enumerate(found):
        cells = [f"{hours[n][place]:.2f}" for n in gpus]
        kind = "estimate" if stage.is_estimate else "from measured rates"
        worker = "" if stage.on_gpu else " (a core)"
        lines.append(
            f"| {stage.name} | {stage.made_of} | {stage.shards:,} | {stage.work / HOUR:.2f}{worker} | "
            + " | ".join(cells)
            + f" | {kind} |"
        )
    lines.append("| all | | | | " + " | ".join(f"{sum(hours[n]):.2f}" for n in gpus) + " | |")
    lines.append("| GPU hours | | | | " + " | ".join(f"{n * sum(hours[n]):,.0f}" for n in gpus) + " | |")
    costs = [f"{price * n * sum(hours[n]):,.0f}" for n in gpus]
    lines.append(f"| cost at {price:g} a GPU hour | | | | " + " | ".join(costs) + " | |")
    lines += ["", "| room | for | GB |", "| --- | --- | ---: |"]
    lines += [f"| {name} | {why} | {bytes_ / 1e9:,.1f} |" for name, why, bytes_ in rooms()]
    return "\n".join(lines) + "\n"


# ---- measured ------------------------------------------------------------------------------------------------------


def measured() -> Iterator[tuple[str, float]]:
    """The CPU's rates, one core."""
    import pandas as pd
    import torch

    from benchmarks.inputs import held
    from polyscan.images import ImageOptions, open_images
    from polyscan.inputs.batches import batches
    from polyscan.job import build
    from polyscan.nulls.deflation import Curves
    from polyscan.scores.sample import prepare, prepare_halves
    from polyscan.stages.calibrate import TEST_SCORES
    from polyscan.studies.plan import measuring
    from polyscan.studies.plan.costs.survey import algebra
    from polyscan.studies.plan.measuring import once
    from polyscan.studies.plan.outlook import SetCost, scored_sets
    from polyscan.vision.channels import jpeg
    from polyscan.vision.networks import NetworkRequest, load_network

    measuring.clock = time.process_time
    torch.set_num_threads(1)
    network = load_network(NetworkRequest("torchvision:resnet50", "random"), torch.device("cpu"))
    images = open_images(str(held("images/imagenet_sample_1000.parquet")), options=ImageOptions())
    some = range(0, 512)
    yield "decode", len(some) / once(lambda: [None for _ in batches(network, images, some, 64)])
    generator = np.random.default_rng(0)
    views = generator.integers(0, 255, (64, 224, 224, 3), dtype=np.uint8)

    def cut() -> None:
        for view in views:
            for side in (43, 107, 171):
                network.preprocessing.fitted(view[:side, :side])
                jpeg(view[:side, :side], 64)

    yield "cut", 3 * len(views) / once(cut)
    network_group = {"name": "torchvision:resnet50", "weights": "random"}
    content = {"network": network_group, "images": {"source": "unused"}, "collect": {"k": K}}
    job = build(content, "benchmarks")
    outlook: Any = SimpleNamespace(job=job, n_sample=SURVEYED)
    widths = sorted({layer.channels for layer in resnet50()})
    algebra(outlook, widths[0])
    seconds = {width: once(lambda width=width: algebra(outlook, width)) for width in widths}
    yield "algebra", sum(seconds[layer.channels] for layer in resnet50())
    scores = job.score_functions()
    with_tail = {name: score for name, score in scores.items() if score.tail != "none"}
    of_test = {name: score for name, score in with_tail.items() if name in TEST_SCORES}
    for name, size, of, prepared in (
        ("null set", K, with_tail, prepare),
        ("test set", K, of_test, prepare_halves),
        ("unit", K, scores, prepare),
        ("pictures", IMAGES_A_UNIT, scores, prepare),
    ):
        cost = SetCost.measured(job, size, [EMBEDDING_WIDTH], partial(scored_sets, of, prepared))
        yield name, cost.of(EMBEDDING_WIDTH)
    few = 1024
    mains, values = generator.standard_normal((2, SURVEYED, few), dtype=np.float32)
    yield "curve", once(lambda: Curves.fit(mains, values)) / few
    curves = Curves.fit(mains, values)
    batch = mains[:BATCH], values[:BATCH]
    yield "explain", BATCH * few / once(lambda: np.argsort(batch[1] - curves.expected(batch[0]), axis=0))
    n = 1_000_000
    rows = pd.DataFrame({name: generator.integers(0, most, n) for name, most in
                         (("depth", 53), ("image", N_IMAGES), ("top", 56), ("left", 56), ("crop", 2**62))})  # fmt: skip
    order = ["depth", "image", "top", "left"]
    yield "rank", n / once(lambda: rows.sort_values(order, kind="stable").drop_duplicates("crop"))


def main() -> None:
    """Prints the plan, or what `--measure` finds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling.costed_plan", description=__doc__)
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64], help="how many")
    parser.add_argument("--cores", type=int, default=8, help="CPU cores beside each GPU")
    parser.add_argument("--price", type=float, default=3.0, help="of a GPU with its cores, an hour, in any currency")
    parser.add_argument("--measure", action="store_true", help="measure the CPU's rates on this machine instead")
    arguments = parser.parse_args()
    if arguments.measure:
        with threadpool_limits(1):
            for name, value in measured():
                print(f"{name}: {value:.4g} ({RATES[name].meaning})", flush=True)
        return
    sys.stdout.write(markdown(arguments.gpus, arguments.cores, arguments.price))


if __name__ == "__main__":
    try:
        main()
    except Skipped as reason:
        sys.exit(str(reason))
