"""A job file: what is allowed, and the sentence for everything that is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyscan import job as jobs
from polyscan.errors import JobError

MINIMAL = '[network]\nname = "torchvision:resnet18"\n[images]\nsource = "sklearn:digits"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "job.toml"
    path.write_text(text)
    return path


def test_a_minimal_job_is_filled_with_defaults(tmp_path: Path) -> None:
    job = jobs.load(written(tmp_path, MINIMAL))
    assert job.collect.k is None
    assert job.network.layers == "all"
    assert job.folder == str(tmp_path)


def test_written_out_and_read_again_a_job_is_the_same(tmp_path: Path) -> None:
    text = MINIMAL + '[scores.semanticity]\nk_rule = "published"\n[visualize]\nlayers = ["a*", "b"]\n'
    job = jobs.load(written(tmp_path, text))
    again = jobs.load(written(tmp_path, job.to_toml()))
    assert again == job


def test_overrides_win_and_are_checked(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL)
    job = jobs.load(path, {"collect.k": 64, "network.layers": ["a", "b"], "visualize.enabled": False, "seed": 3})
    assert (job.collect.k, job.network.layers, job.visualize.enabled, job.seed) == (64, ("a", "b"), False, 3)
    with pytest.raises(JobError, match=r"`collect.k`: input should be a valid integer"):
        jobs.load(path, {"collect.k": "many"})
    with pytest.raises(JobError, match="`seed` is not a group of settings"):
        jobs.load(path, {"seed": 3, "seed.x": 4})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[collect]\nkk = 3\n", r'unknown key `collect.kk`; did you mean "k"\?'),
        ("[colect]\nk = 10\n", r'unknown key `colect`; did you mean "collect"\?'),
        ("[collect]\nk = 7\n", r"`collect.k`: input should be greater than or equal to 8, got 7"),
        ("[collect]\nk = 5000\n", r"`collect.k`: input should be less than or equal to 4096, got 5000"),
        ("[scores.silhouete]\n", r"\[scores.silhouete\] is not a score; known scores: alignment, clarity, cut"),
        ('[scores.semanticity]\nk_rule = "best"\n', r"\[scores.semanticity\] `k_rule` must be"),
        ("[scores.clarity]\nk = 3\n", r"\[scores.clarity\] .*unexpected keyword"),
        ("[visualize]\nmin_images = 9\nmax_images = 8\n", r"`max_images` must be at least `min_images` 9, got 8"),
        ('[visualize]\nobjective = "neuron"\n', r"`visualize.objective`: input should be 'centre' or 'channel'"),
        ("threads = 0\n", r"`threads`: input should be greater than or equal to 1, got 0"),
    ],
)
def test_what_is_wrong_is_named_with_the_value_and_the_file(tmp_path: Path, text: str, says: str) -> None:
    path = written(tmp_path, (text + MINIMAL) if text.startswith("threads") else MINIMAL + text)
    with pytest.raises(JobError, match=says) as caught:
        jobs.load(path)
    assert f"Fix {path}." in str(caught.value)


def test_several_faults_are_all_named(tmp_path: Path) -> None:
    with pytest.raises(JobError) as caught:
        jobs.load(written(tmp_path, '[network]\nnam = "x"\n[images]\n[collect]\nk = 1\n'))
    text = str(caught.value)
    for part in ("`network.name` is missing", "`images.source` is missing", "network.nam", "got 1"):
        assert part in text


def test_the_known_keys_are_listed_once(tmp_path: Path) -> None:
    text = '[network]\nname = "a:b"\n[images]\nsource = "c"\n[collect]\nzzz = 1\nqqq = 2\n[score]\nxxx = 3\n'
    with pytest.raises(JobError) as refused:
        jobs.load(written(tmp_path, text))
    lines = str(refused.value).splitlines()
    assert [line.partition(";")[0] for line in lines[:3]] == [
        f"unknown key `{key}`" for key in ("collect.zzz", "collect.qqq", "score.xxx")
    ]
    assert ["known keys" in line for line in lines[:3]] == [True, False, True]


def test_no_file_and_no_toml(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"no job file at .*nowhere.toml"):
        jobs.load(tmp_path / "nowhere.toml")
    with pytest.raises(JobError, match="is not TOML"):
        jobs.load(written(tmp_path, "[network\n"))


def test_paths_in_a_file_begin_at_the_file_and_on_the_command_line_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "photos").mkdir()
    (tmp_path / "photos").mkdir()
    path = written(
        tmp_path / "job", '[network]\nname = "m:f"\nweights = "w.safetensors"\n[images]\nsource = "photos"\n'
    )
    monkeypatch.chdir(tmp_path)
    job = jobs.load(path)
    assert job.network.weights == str(tmp_path / "job" / "w.safetensors")
    assert job.images.source == str(tmp_path / "job" / "photos")
    assert jobs.load(path, {"images.source": "photos"}).images.source == str(tmp_path / "photos")
    assert jobs.load(path, {"images.source": "s3://bucket/x.parquet"}).images.source == "s3://bucket/x.parquet"


def test_a_path_to_code_on_the_command_line_is_relative_to_the_working_folder(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "net.py").write_text("")
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "job", MINIMAL)
    assert jobs.load(path, {"network.name": "./net.py:build"}).network.name == f"{tmp_path}/net.py:build"
    assert jobs.load(path, {"network.name": "other.py:build"}).network.name == "other.py:build"  # in the job's folder
    monkeypatch.chdir(tmp_path / "job")
    (tmp_path / "job" / "net.py").write_text("")
    assert jobs.load(path, {"network.name": "./net.py:build"}).network.name == "./net.py:build"


def test_options_of_the_network_are_set_one_by_one(tmp_path: Path) -> None:
    job = jobs.load(written(tmp_path, MINIMAL), {"network.options.num_classes": 17, "network.options.width": 0.5})
    assert job.network.options == {"num_classes": 17, "width": 0.5}
    assert jobs.parse(job.to_toml(), "text").network.options == job.network.options
    with pytest.raises(JobError, match=r"`network\.options`.*dictionary"):
        jobs.load(written(tmp_path, MINIMAL), {"network.options": 3})


def test_a_job_without_a_file_is_filled_from_the_command() -> None:
    job = jobs.fill({"network.name": "torchvision:resnet18", "images.source": "sklearn:digits"})
    assert job.network.weights == ""  # the library's default ones
    with pytest.raises(JobError, match="`images` is missing"):
        jobs.fill({"network.name": "torchvision:resnet18"})


def test_a_job_is_frozen(tmp_path: Path) -> None:
    job = jobs.load(written(tmp_path, MINIMAL))
    with pytest.raises(ValueError, match="frozen"):
        job.seed = 4  # type: ignore[misc]


def test_every_setting_says_what_it_is() -> None:
    for name, group in jobs.Job.model_fields.items():
        kind = group.annotation
        fields = getattr(kind, "model_fields", None)
        if fields is None:
            assert group.description or name == "scores", name
            continue
        for field, info in fields.items():
            assert info.description, f"{name}.{field}"
