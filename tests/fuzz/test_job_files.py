"""Job files made to hurt: a job, or a JobError that names the file and the setting; and no code is run by reading."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from polyscan import job as jobs
from polyscan.errors import JobError
from polyscan.job import Job
from polyscan.scores import SCORES

EXAMPLES = int(os.environ.get("FUZZ_N", "300")) // 2
ORIGIN = "jobs/strange.toml"
many = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="FUZZ_SEED" not in os.environ,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def keys() -> Iterator[tuple[str, ...]]:
    """Every setting that there is."""
    for name, field in Job.model_fields.items():
        group = next((kind for kind in (field.annotation, *get_args(field.annotation)) if is_group(kind)), None)
        if group is None:
            yield (name,)
        else:
            yield from ((name, inner) for inner in group.model_fields)
    yield from (("scores", score) for score in SCORES)
    yield from (("scores", "cut", "neighbors"), ("scores", "semanticity", "k_rule"))


def is_group(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


KEYS = tuple(keys())
STRANGE = (
    *(
        "",
        " ",
        "\n",
        "~",
        "~nobody/x",
        "../../..",
        "\0",
        "a\0b.txt",
        "x" * 300,
        "/" * 5000,
        "ü/第一层",
        "\u202egnp.exe",
    ),
    *("auto", "all", "layer", "evil:network", "__import__('os')", "{}", "%s", "file:///etc/passwd", "s3://", "://"),
    *(0, -1, 1, 7, 10**6, 2**31, 2**63 - 1, -(2**63), 2**63, 10**30, 16**3000, True, False),
    *(0.0, -0.0, 0.5, 1e-320, 1e308, math.inf, -math.inf, math.nan),
    *([], {}, [[]], [{}], {"": ""}, ["a", 1], [math.nan], {"k": {"k": {"k": 1}}}),
)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
plain = st.sampled_from(STRANGE) | text | st.integers() | st.floats() | st.booleans() | st.dates() | st.times()
values = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3))
names = st.sampled_from(KEYS) | st.lists(text, min_size=1, max_size=3).map(tuple)


@st.composite
def contents(draw: Callable[..., Any]) -> dict[str, Any]:
    """A sound job with some settings that may be wrong."""
    content: dict[str, Any] = {"network": {"name": "evil:network"}, "images": {"source": "sklearn:digits"}}
    for *groups, name in draw(st.lists(names, max_size=4)):
        place: Any = content
        for group in groups:
            place = place.setdefault(group, {}) if isinstance(place, dict) else {}
        if isinstance(place, dict):
            place[name] = draw(values)
    return content


def tried(call: Callable[[], Job]) -> Job | str:
    """The job, or the words with which it is refused; any other exception goes through."""
    try:
        return call()
    except JobError as error:
        return str(error)


def read(text: str | bytes) -> Job | None:
    """The job, or None where it is refused in words that name the file."""
    found = tried(lambda: jobs.parse(text, ORIGIN, folder=Path(__file__).parent))
    if isinstance(found, Job):
        return found
    assert ORIGIN in found
    assert len(found) < 20_000, "an error of pages helps nobody"
    return None


def check_round_trip(job: Job) -> None:
    assert jobs.parse(job.to_toml(), ORIGIN) == job
    assert jobs.parse(job.to_toml(), ORIGIN).to_toml() == job.to_toml()


@many
@given(contents())
def test_settings_of_any_kind_are_a_job_or_a_job_error(content: dict[str, Any]) -> None:
    """Nothing but JobError is raised; what is accepted is the same after it was written and read."""
    try:
        written = tomli_w.dumps(content)
    except ValueError:  # tomli_w does not write thousands of digits
        written = ""
    if written and (job := read(written)) is not None:
        check_round_trip(job)


@many
@given(st.binary(max_size=200) | text.map(str.encode) | st.text(st.sampled_from('[]{}=.,"\n#a1 '), max_size=60))
def test_bytes_of_any_kind_are_a_job_or_a_job_error(content: bytes | str) -> None:
    """Whatever lies in the file."""
    read(content)


@many
@given(st.sampled_from(KEYS), st.sampled_from(STRANGE))
def test_a_wrong_value_is_named_by_its_setting(key: tuple[str, ...], value: Any) -> None:
    """The words hold the setting's name."""
    content: dict[str, Any] = {"network": {"name": "a:b"}, "images": {"source": "sklearn:digits"}}
    place = content
    for group in key[:-1]:
        place = place.setdefault(group, {})
    place[key[-1]] = value
    found = tried(lambda: jobs.parse(tomli_w.dumps(content), ORIGIN))
    if isinstance(found, Job):
        found.score_functions()
        check_round_trip(found)
    else:
        assert key[-1] in found
        assert ORIGIN in found


@many
@given(names, values)
def test_a_setting_of_the_command_is_a_job_or_a_job_error(name: tuple[str, ...], value: Any) -> None:
    """`--set` may say anything as well, with and without a file."""
    sound = '[network]\nname = "a:b"\n[images]\nsource = "sklearn:digits"\n'
    over = {"network.name": "torchvision:x", "images.source": "y", ".".join(name): value}
    assert tried(lambda: jobs.parse(sound, ORIGIN, over))
    assert tried(lambda: jobs.fill(over))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[network]\nname = '\xff\xfe'", "is not TOML: byte 18 is not UTF-8"),
        ("a = " + "[" * 100_000, "nested deeper"),
        ("a = " + "9" * 5_000, "is not TOML: .*digits"),
        ("a = 0x" + "f" * 9_000, "unknown key `a`"),
        ("seed = 0x" + "f" * 9_000, "`seed`: input should be a number of 64 bits, got a number of thousands of digits"),
        ("seed = nan", "`seed`: "),
        ("folder = 3", "`folder`: input should be a valid string, got 3"),
        ("network = 3", "`network` is a group of settings, got 3; set one of them, as in network.name"),
        ('"a\\nb\\u001b[31m" = 3', r"unknown key `'a\\nb\\x1b\[31m'`"),
        ("[visualize]\nthreshold = inf", "`visualize.threshold`: input should be a finite number, got inf"),
        ("[scores.cut]\nneighbors = 'x'", r"\[scores.cut\] `neighbors` must be a whole number, got 'x'"),
        ("[scores]\ncut = 3", "`scores.cut`: input should be a valid dictionary, got 3"),
        ("[network]\nmean" + ".a" * 400 + " = 1", "`network.mean`: "),
        ("", "`network` is missing"),
    ],
)
def test_what_is_wrong_is_said_in_words(content: str | bytes, says: str) -> None:
    """Each of these ended in a traceback, or in a message of pages, or in a job that no stage could take."""
    with pytest.raises(JobError, match=says) as caught:
        jobs.parse(content, ORIGIN)
    assert ORIGIN in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_mark_before_the_text_is_no_fault(tmp_path: Path) -> None:
    """As editors on Windows put it; and umlauts are UTF-8 whatever the machine's own code is."""
    path = tmp_path / "job.toml"
    path.write_bytes(b'\xef\xbb\xbf[network]\nname = "\xc3\xbc:f"\n[images]\nsource = "sklearn:digits"\r\n')
    assert jobs.load(path).network.name == "ü:f"


def test_reading_a_job_runs_no_code(tmp_path: Path) -> None:
    """A stranger's job can be read before it is run: neither its module nor its folder is touched."""
    (tmp_path / "evil.py").write_text("raise SystemExit('code was run')\n")
    (tmp_path / "job.toml").write_text(
        f"folder = '{tmp_path}'\n[network]\nname = 'evil:network'\nweights = 'evil.pth'\n[images]\nsource = 'evil'\n"
    )
    code = (
        "import sys, pathlib; from polyscan import job as jobs; before = set(sys.modules), list(sys.path);"
        "job = jobs.load(pathlib.Path(sys.argv[1])); job.to_toml(); job.score_functions();"
        "new = set(sys.modules) - before[0];"
        "assert not [name for name in new if name == 'evil' or name.split('.')[0] in ('torch', 'pickle')], new;"
        "assert sys.path == before[1]; print('read')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "job.toml")],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.stdout == "read\n", done.stderr
