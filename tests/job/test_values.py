"""Settings that may be written in two forms: a side or height and width, one number or one for each channel."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest

from polyscan import job as jobs
from polyscan.errors import JobError
from polyscan.job import Job


def built(key: str, value: Any) -> Job:
    group, name = key.split(".")
    content: dict[str, Any] = {"network": {"name": "torchvision:resnet18"}, "images": {"source": "sklearn:digits"}}
    content[group][name] = value
    return jobs.build(content, "job.toml")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("network.input_px", 64),
        ("network.input_px", [64, 96]),
        ("network.resize_px", [64, 96]),
        ("network.mean", 0.5),
        ("network.mean", [0.1, 0.2]),
        ("network.mean", [-1, 0, 2]),
        ("network.std", 0.5),
        ("network.std", [0.00392, 1, 2]),
        ("network.std", [0.5] * 32),
        ("images.value_range", "image"),
        ("images.value_range", [-3, 4.5]),
    ],
)
def test_both_forms_are_kept_and_written_out_and_read_again(key: str, value: Any) -> None:
    job = built(key, value)
    group, name = key.split(".")
    found = getattr(getattr(job, group), name)
    assert found == (tuple(value) if isinstance(value, list) else value)
    assert jobs.build(tomllib.loads(job.to_toml()), "job.toml") == job


SIZE = "input should be a whole number from 4 on, or [height, width]"
MEAN = "input should be a number or a list of up to 32, one for each channel"
STD = "input should be a number above 0 or a list of up to 32, one for each channel"
OF_BYTES = "because it is of values in 0..1 (divide by 255 what is of values in 0..255)"
RANGE = 'input should be "format", "image" or two rising numbers, [black, white]'


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        *(("network.input_px", value, SIZE) for value in (3, [64, 2], [64], [64, 64, 3], 64.5, "64", True, [])),
        ("network.resize_px", [8.5, 9], SIZE),
        *(("network.mean", value, MEAN) for value in ([], True, float("nan"), "half", [0.5] * 33)),
        *(("network.std", value, STD) for value in (0, -1, [0.2, 0], [])),
        *(
            ("network.mean", value, f"input should be from -2 to 2, {OF_BYTES}")
            for value in (127.5, [123.675, 116.28, 103.53], [0.5, 0.5, -3])
        ),
        *(
            ("network.std", value, f"input should be above 0 to 2, {OF_BYTES}")
            for value in (255, [58.395, 57.12, 57.375], [0.5, 0.5, 2.01])
        ),
        *(("images.value_range", value, RANGE) for value in ([9, 9], [9, 1], [1], 4, "own", [0, float("inf")])),
        ("network.channels", 33, "input should be less than or equal to 32"),
        ("network.channels", 0, "input should be greater than or equal to 1"),
        ("network.crop_mode", "fit", "input should be 'center', 'squash' or 'border'"),
        ("images.alpha", "pink", "input should be 'white', 'black', 'drop' or 'keep'"),
        ("images.exif", "tilt", "input should be 'turn' or 'ignore'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_the_value(key: str, value: Any, says: str) -> None:
    with pytest.raises(JobError, match=re.escape(f"`{key}`: {says}, got ")) as caught:
        built(key, value)
    assert len(str(caught.value).splitlines()) == 2  # and the line that names the file
