"""The command line as a user meets it: exit codes, and a sentence for everything that is wrong."""

from __future__ import annotations

import json
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import toy

from polyscan import cli
from polyscan.cli.console import overrides
from polyscan.errors import JobError
from polyscan.nulls.kinds import KINDS


class Ended:
    """How a command ended."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def polyscan(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs a command in this process: the console script's own function, with real arguments and a real exit."""

    def run(*words: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["polyscan", *map(str, words)])
        status = 0
        try:
            cli.main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        captured = capsys.readouterr()
        return Ended(status, captured.out, captured.err)

    return run


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    path = tmp_path / "toy.toml"
    path.write_text(toy.job(tmp_path / "images", visualize__enabled=False).to_toml())
    return path


def test_scan_status_show_and_units(polyscan, job_file: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ended = polyscan("scan", job_file, "--run", run)
    assert ended.status == 0, ended.err
    assert ended.out.splitlines()[-1] == f"{run}/maps/index.html"
    assert "12 units in 3 layers" in ended.out
    assert "collect: 3 of 3" in ended.err
    quiet = polyscan("scan", job_file, "--run", run, "--quiet")
    assert quiet.status == 0
    assert quiet.err == ""
    status = polyscan("status", run, "--verify")
    assert status.status == 0
    assert "collect" in status.out
    (run / "maps" / "index.html").unlink()
    shown = polyscan("show", run, "--set", "show.pictures_per_layer=1")
    assert shown.status == 0, shown.err
    assert (run / "maps" / "index.html").exists()
    units = polyscan("units", job_file)
    assert units.err == "3 layers, 12 units\n"
    assert "after batch norm norm" in units.out


def test_scan_and_status_count_the_rejects(polyscan, job_file: Path, tmp_path: Path, no_pages: None) -> None:
    next((tmp_path / "images").glob("*/*.png")).write_bytes(b"")
    run = tmp_path / "run"
    for ended in (polyscan("scan", job_file, "--run", run, "--quiet"), polyscan("status", run)):
        assert ended.status == 0, ended.err
        (line,) = (line for line in ended.out.splitlines() if "rejected" in line)
        assert line.startswith("1 of 60 images rejected, because: empty")


def test_what_can_not_be_written_or_served_is_said(polyscan, job_file: Path, tmp_path: Path, no_pages: None) -> None:
    run = tmp_path / "run[red][/x] :smile:"
    ended = polyscan("scan", job_file, "--run", run, "--quiet")
    assert ended.status == 0, ended.err
    assert ended.out.splitlines()[-1] == f"{run}/maps/index.html"  # its name is no markup
    for out in (f"{job_file}/map.png", "/proc/map.png", "/proc/none/map.png"):
        ended = polyscan("figure", run, "map", "--out", out)
        assert (ended.status, ended.err.count("\n")) == (2, 1), ended.err
        assert f"{out} can't be written" in ended.err
    for out in (job_file, "/proc"):
        ended = polyscan("compare", run, run, "--out", out)
        assert (ended.status, ended.err.count("\n")) == (2, 1), ended.err
        assert f"{out} can't be written" in ended.err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = polyscan("show", run, "--serve", "--port", taken.getsockname()[1])
    assert (ended.status, ended.err.count("\n")) == (2, 1), ended.err
    assert "can't be used" in ended.err


def test_a_set_of_two_keys_is_refused_and_a_list_of_two_lines_is_not() -> None:
    with pytest.raises(JobError, match="sets more than one key; write a --set for each"):
        overrides(["collect.k=8\ncollect.x=9"])
    assert overrides(["network.layers=[\n'a',\n'b']", "collect.k = 8"]) == {
        "network.layers": ["a", "b"],
        "collect.k": 8,
    }


def test_a_quick_look_needs_no_job_file(polyscan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.paint(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    small = ["collect.k=8", "visualize.enabled=false", "embed.model=penultimate", "network.input_px=16"]
    small += ["survey.readouts=24", "survey.controls=4", "survey.planted=2", "calibrate.embedding_sets=24"]
    words = [word for setting in small for word in ("--set", setting)]
    ended = polyscan("scan", "--network", "toy:network", "--images", "photos", "--run", "run", "--quiet", *words)
    assert ended.status == 0, ended.err
    assert "12 units in 3 layers" in ended.out
    resolved = (tmp_path / "run" / "job.toml").read_text()
    assert f'source = "{tmp_path}/photos"' in resolved
    assert polyscan("scan", "--network", "toy:network", "--run", "run2").status == 2


def test_plan_names_every_stage_and_an_estimate(polyscan, tmp_path: Path) -> None:
    path = tmp_path / "toy.toml"
    path.write_text(toy.job(tmp_path / "images").to_toml())
    ended = polyscan("plan", path)
    assert ended.status == 0, ended.err
    assert "3 layers, 12 units, 60 images" in ended.out
    for stage in ("survey", "collect", "combine", "visualize", "embed", "calibrate", "score", "name"):
        assert stage in ended.out


def test_damage_is_found_by_verify_and_a_failed_shard_by_status(
    polyscan, job_file: Path, tmp_path: Path, no_pages: None
) -> None:
    run = tmp_path / "run"
    assert polyscan("scan", job_file, "--run", run, "--quiet").status == 0
    part = next((run / "exemplars").glob("*.parquet"))
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    ended = polyscan("status", run, "--verify")
    assert ended.status == 3
    assert f"exemplars/{part.name} is not what was written" in ended.out
    part.unlink()
    assert "is gone" in polyscan("status", run, "--verify").out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--set", "collect.kk=3"], 'unknown key `collect.kk`; did you mean "k"?'),
        (["--set", "collect.k=4"], "`collect.k`: input should be greater than or equal to 8, got 4"),
        (["--set", "collect.k=61"], "has 60 images, `collect.k` is 61"),
        (["--set", "collect.k=11"], "a null for sets of 11 needs a pool of 66 items, got 60"),
        (["--set", "calibrate.nulls=['layer', 'noise']"], 'unknown null "noise"; allowed: layer, embedding'),
        (["--set", "network.layers=pain"], 'toy:network has no layer "pain"; nearest: paint'),
        (["--set", "network.layers=blocks"], "toy:network has no blocks"),
        (["--set", "network.weights=none.safetensors"], "no weights file at"),
        (["--set", "network.name=torchvision:resnet19"], 'torchvision has no model "resnet19"; nearest: resnet18'),
        (["--set", "network.name=toy:nothing"], "toy.py has no function `nothing`"),
        (["--set", "network.name=resnet18"], "write torchvision:NAME, timm:NAME or module:callable"),
        (["--set", "images.source=nowhere"], "nowhere"),
        (["--set", "visualize={distance='lpips:resnet'}"], "allowed: lpips:alex|vgg|squeeze"),
        (["--set", "embed.model=clip"], 'unknown embedder "clip"'),
        (["--set", "device=cuda:7"], "cuda"),
        (["--set", "collect"], '--set "collect" is not key=value'),
        (["--redo", "collecting"], 'unknown stage "collecting" after --redo'),
        (["--on", "slurm"], '`on` must be "local" or "ray", got "slurm"'),
        (["--workers", "0"], "`workers` must be at least 1, got 0"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_status_2(
    polyscan, job_file: Path, tmp_path: Path, words: list[str], says: str
) -> None:
    ended = polyscan("scan", job_file, "--run", tmp_path / "run", *words)
    assert ended.status == 2, ended.out + ended.err
    assert says in ended.err
    assert "Traceback" not in ended.err


def test_a_run_made_with_other_settings_is_refused(polyscan, job_file: Path, tmp_path: Path, no_pages: None) -> None:
    run = tmp_path / "run"
    assert polyscan("scan", job_file, "--run", run, "--quiet").status == 0
    ended = polyscan("scan", job_file, "--run", run, "--set", "collect.k=10")
    assert ended.status == 2
    assert "[collect] k: 8 in the run, 10 here" in ended.err


def test_weights_of_another_architecture(polyscan, job_file: Path, tmp_path: Path) -> None:
    torch.save({"paint.weight": torch.zeros(7, 3, 1, 1), "other": torch.zeros(1)}, tmp_path / "foreign.pth")
    ended = polyscan("scan", job_file, "--run", tmp_path / "run", "--set", f"network.weights={tmp_path}/foreign.pth")
    assert ended.status == 2
    assert "holds the weights of another architecture than toy:network" in ended.err
    assert "['other']" in ended.err


class Harmful:
    """Pickled, it would create a file when it is read."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def test_a_pickle_that_is_no_state_dict_runs_no_code(polyscan, job_file: Path, tmp_path: Path) -> None:
    harmful, harmless = tmp_path / "harmful.pth", tmp_path / "list.pth"
    harmful.write_bytes(pickle.dumps(Harmful(str(tmp_path / "harm"))))
    torch.save([1, 2, 3], harmless)
    for path, says in ((harmful, "can't be read as weights"), (harmless, "holds a list that is not a state dict")):
        ended = polyscan("scan", job_file, "--run", tmp_path / "run", "--set", f"network.weights={path}")
        assert ended.status == 2
        assert says in ended.err
    assert not (tmp_path / "harm").exists()


def test_no_images(polyscan, job_file: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ended = polyscan("scan", job_file, "--run", tmp_path / "run", "--set", f"images.source={tmp_path}/empty")
    assert ended.status == 2
    assert "no images" in ended.err


def test_a_parquet_without_an_image_column(polyscan, job_file: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"label": [1, 2], "text": ["a", "b"]}), tmp_path / "text.parquet")
    ended = polyscan("scan", job_file, "--run", tmp_path / "run", "--set", f"images.source={tmp_path}/text.parquet")
    assert ended.status == 2
    assert "label" in ended.err
    assert "text" in ended.err


def test_an_unwritable_run_folder(polyscan, job_file: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")  # even root can't write below a file
    ended = polyscan("scan", job_file, "--run", tmp_path / "file" / "run")
    assert ended.status == 2
    assert "can't be written" in ended.err
    assert "choose another --run" in ended.err


def test_a_folder_without_a_run(polyscan, tmp_path: Path) -> None:
    for command in ("status", "show"):
        ended = polyscan(command, tmp_path)
        assert ended.status == 2
        assert "holds no run" in ended.err


def test_validate_measures_prints_and_needs_a_run_of_its_own(
    polyscan, job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_pages: None
) -> None:
    monkeypatch.setattr("polyscan.studies.validate.CONTROLS", 10)
    monkeypatch.setattr("polyscan.studies.validate.PLANTED", 4)
    monkeypatch.setattr("polyscan.studies.validate.KINDS", {name: KINDS[name] for name in list(KINDS)[:2]})
    ended = polyscan("validate", job_file)
    assert ended.status == 2
    assert "`--run` is missing" in ended.err
    run = tmp_path / "run"
    ended = polyscan("validate", job_file, "--run", run, "--on", "local", "--quiet")
    assert ended.status == 0, ended.err
    measured = json.loads((run / "validation.json").read_text())["separation"]["n"]
    layers = [layer for layer, counts in measured.items() if "control" in counts]
    assert layers
    assert all(layer in ended.out for layer in layers)
    assert (run / "maps" / "validation.html").exists()


def test_validate_prints_what_trained_outputs_show(
    polyscan, job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}
    rate = {
        "score": "separation",
        "evidence": "exemplars",
        "kind": "1:1",
        "n": 14,
        "auroc": [0.9, 0.8, 1],
        "found": None,
    }
    outputs = {"1:1": {"n": 14, "strength": [0.5, 0.75, 0.9], "second_share": 0.25}}
    numbers = {"networks": 14, "own_auroc": 0.99, "outputs": outputs, "rates": [rate]}

    def measured(job: object, run: str, **settings: object) -> dict[str, dict[str, dict[str, object]]]:
        asked.update(settings)
        Path(run).mkdir()
        Path(run, "validation.json").write_text(json.dumps({"trained": {"head-instead": numbers}}))
        return {"separation": {"n": {}}}

    monkeypatch.setattr("polyscan.studies.validate.validate", measured)
    run = tmp_path / "run"
    ended = polyscan("validate", job_file, "--run", run, "--quiet", "--heads", "--layout", "instead", "--outputs", 5)
    assert ended.status == 0, ended.err
    assert (asked["trained"], asked["layout"], asked["outputs"]) == (["head"], "instead", 5)
    assert "outputs trained on the network's features: 14; AUROC of the outputs' own images 0.990" in ended.out
    (line,) = [line for line in ended.out.splitlines() if line.startswith("1:1")]
    assert line.split("\t") == ["1:1", "exemplars", "14", ".75", ".25", ".90 [.80, 1.00]", "–"]
    ended = polyscan("validate", job_file, "--run", run, "--trained", "--outputs", 0)
    assert ended.status == 2
    assert "`--outputs` must be at least 1, got 0" in ended.err


def test_an_unfinished_run_is_not_shown(polyscan, job_file: Path, tmp_path: Path, no_pages: None) -> None:
    run = tmp_path / "run"
    assert polyscan("scan", job_file, "--run", run, "--quiet").status == 0
    next((run / "done" / "score").glob("*.json")).unlink()
    ended = polyscan("show", run)
    assert ended.status == 2
    assert "`score` has 1 of " in ended.err
    ended = polyscan("show", run, "--set", "collect.k=9")
    assert ended.status == 2
    assert "`show` only draws" in ended.err


def test_usage_errors_have_status_2(polyscan) -> None:
    assert polyscan("scan", "--bogus").status == 2
    assert polyscan("scan").status == 2
    assert polyscan("bogus").status == 2


def test_a_scan_that_fails_in_a_worker_has_status_3_and_resumes(
    polyscan, job_file: Path, tmp_path: Path, no_pages: None
) -> None:
    """An image source that breaks under the run: the folder is gone between `collect` and `embed`."""
    run, images = tmp_path / "run", tmp_path / "images"
    command = ["scan", job_file, "--run", run, "--quiet"]
    assert polyscan(*command).status == 0
    next((run / "done" / "embed").glob("*.json")).unlink()
    victim = next((images / "red").glob("*.png"))
    content = victim.read_bytes()
    victim.write_bytes(b"x" * len(content))  # of the same size, so that the image list is the same
    toy.forge_stamps(run, images)  # else the scan would not begin
    ended = polyscan(*command)
    assert ended.status == 3
    assert "shard" in ended.err
    assert "can no longer be read, but `collect` read it" in ended.err
    assert polyscan("status", run).status == 3
    victim.write_bytes(content)
    assert polyscan(*command).status == 0
    victim.write_bytes(b"x" * len(content))
    ended = polyscan(*command)
    assert ended.status == 2
    assert f"red/{victim.name} has the same name and size as when" in ended.err


def test_an_interrupted_scan_has_status_130_and_resumes(
    polyscan, job_file: Path, tmp_path: Path, no_pages: None
) -> None:
    import signal
    import time

    command = [sys.executable, "-m", "polyscan", "scan", str(job_file), "--run", str(tmp_path / "run"), "--quiet"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as driver:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "run" / "done" / "collect").glob("*.json")):
            assert driver.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
        driver.send_signal(signal.SIGINT)
        _, err = driver.communicate(timeout=60)
    assert driver.returncode == 130, err
    assert "run the same command again to resume" in err
    assert polyscan(*command[3:]).status == 0
