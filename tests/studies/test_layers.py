"""The list of layers: without weights, and what is said where a prefix fits none."""

from __future__ import annotations

from pathlib import Path

import pytest
import toy

from polyscan import job as jobs
from polyscan.errors import ModelError
from polyscan.studies.layers import starting_with, untrained, untrained_reader
from polyscan.vision.readouts import ReadPoint


def point(layer: str) -> ReadPoint:
    return ReadPoint(layer, 0, 4, (8, 8), None, "own output", False, layer, False)


POINTS = [point(name) for name in ("conv1", "layer1.0.conv1", "layer1.0.conv2", "layer10.0.conv1", "head.fc")]


@pytest.mark.parametrize(
    ("prefixes", "numbers"),
    [
        ([], [0, 1, 2, 3, 4]),
        (["layer1."], [1, 2]),
        (["layer1"], [1, 2, 3]),
        (["head", "conv1"], [0, 4]),
        (["layer1.0.conv2"], [2]),
    ],
)
def test_prefixes(prefixes: list[str], numbers: list[int]) -> None:
    assert starting_with(POINTS, prefixes) == [POINTS[number] for number in numbers]


@pytest.mark.parametrize(
    ("prefix", "says"),
    [
        ("layr1", 'no layer begins with "layr1"; nearest: layer1, layer10'),
        ("layer1.0.cnov2", "nearest: layer1.0.conv2, layer1.0.conv1"),
        ("xyz", "there are: conv1, layer1, layer10, head, "),
    ],
)
def test_a_prefix_that_fits_nothing_names_the_nearest(prefix: str, says: str) -> None:
    with pytest.raises(ModelError) as error:
        starting_with(POINTS, ["conv1", prefix])
    assert says in str(error.value)


def network_settings(**settings: object) -> jobs.Job:
    return jobs.fill({"images.source": "nowhere", **{f"network.{key}": value for key, value in settings.items()}})


def test_the_weights_a_job_names_are_neither_fetched_nor_read(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"not weights")
    for weights in ("IMAGENET1K_V1", "no such weights", str(damaged), str(tmp_path / "missing.pth")):
        job = network_settings(name="torchvision:squeezenet1_1", weights=weights, input_px=64)
        assert len(untrained_reader(job).points) == 26


def test_weights_without_their_numbers_still_set_input_and_head() -> None:
    tags = [network_settings(name="timm:tiny_vit_5m_224", weights=tag) for tag in ("dist_in22k_ft_in1k", "dist_in22k")]
    assert [untrained_reader(job).points[-1].n_channels for job in tags] == [1000, 21841]
    tagged = untrained(network_settings(name="timm:convnext_base", weights="fb_in22k_ft_in1k_384"))
    assert tagged.network.name == "timm:convnext_base.fb_in22k_ft_in1k_384"
    large = untrained(network_settings(name="torchvision:regnet_y_16gf", weights="IMAGENET1K_SWAG_E2E_V1"))
    assert large.network.input_px == 384
    own = untrained(network_settings(name="torchvision:regnet_y_16gf", weights="IMAGENET1K_SWAG_E2E_V1", input_px=64))
    assert own.network.input_px == 64


def test_a_job_for_a_machine_with_a_gpu_is_listed_on_one_without(tmp_path: Path) -> None:
    job = toy.job(tmp_path / "images").model_copy(update={"device": "cuda:7"})
    assert [point.n_channels for point in untrained_reader(job).points] == [5, 4, 3]


def test_every_layer_and_block_whatever_the_job_scans() -> None:
    job = network_settings(name="torchvision:resnet18", layers="conv1", input_px=64)
    assert [point.layer for point in untrained_reader(job).points] == ["conv1"]
    names = [point.layer for point in untrained_reader(job, every=True).points]
    assert len(names) == 29
    assert {"conv1", "layer1.0.conv2", "layer1.0", "fc"} <= set(names)
