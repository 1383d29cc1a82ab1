"""Runs and images on an object store: a real S3 server on loopback that is counted, stopped and started again."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import toy
from PIL import Image
from places import REPOSITORY
from sabotage import hashes

from polyscan import pipeline
from polyscan.errors import ImagesError, ShardError, StoreError, TableError
from polyscan.images import ImageOptions, ImageSource, changed_files, open_images
from polyscan.images.source import Picture, Reject
from polyscan.job import Job
from polyscan.results import Results
from polyscan.run import Run
from polyscan.run.reuse import reuse
from polyscan.shards import Shard
from polyscan.storage import Storage, masked, store_errors
from polyscan.studies import showing
from polyscan.studies.status import status_of

pytest.importorskip("s3fs")
pytest.importorskip("moto")
import s3fs
from object_store import BUCKET, KEY, SECRET, Store, environment, serving

FIRST = ("survey", "collect", "combine")


def forget() -> None:
    """What this process knows of object stores."""
    s3fs.S3FileSystem.clear_instance_cache()
    store_errors.check_bucket.cache_clear()


@pytest.fixture(scope="module")
def server() -> Iterator[Store]:
    with serving() as store, pytest.MonkeyPatch.context() as patch:
        for name, value in store.environment.items():
            patch.setenv(name, value)
        for name in ("AWS_MAX_ATTEMPTS", "AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
            patch.delenv(name, raising=False)
        forget()
        yield store
    forget()


@pytest.fixture
def store(server: Store) -> Iterator[Store]:
    """The server, its log empty; without faults afterwards."""
    forget()
    server.requests()
    yield server
    server.order(do="heal")


def small(folder: Path, **changes: Any) -> Job:
    """The toy with fewer of everything: a shard's bytes count here, not its numbers."""
    few: dict[str, Any] = {
        "network__layers": ["paint", "head"],
        "visualize__enabled": False,
        "survey__readouts": 8,
        "survey__controls": 4,
        "survey__planted": 4,
        "calibrate__sets_per_shard": 200,
        "score__units_per_shard": 64,
        "picture__units_per_shard": 64,
        "embed__crops_per_shard": 200,
    }
    return toy.job(folder / "images", **{**few, **changes})


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images and a whole run of them on the disk."""
    folder = tmp_path_factory.mktemp("reference")
    pipeline.scan(small(folder), Run(str(folder / "run")), pipeline.in_process)
    return folder


@pytest.fixture
def few_stages(monkeypatch: pytest.MonkeyPatch, reference: Path) -> dict[str, str]:
    """The line ends after its first three stages; gives the hashes to expect of them."""
    whole = Run(str(reference / "run"))
    files = {part.file for stage in FIRST for record in whole.ledger.done(stage).values() for part in record.parts}
    expected = {name: sha for name, sha in hashes(whole.address).items() if name in files}
    monkeypatch.setattr(pipeline, "STAGES", pipeline.STAGES[: len(FIRST)])
    monkeypatch.setattr(pipeline.report, "draw", lambda *_: None)
    return expected


def command(*words: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    paths = os.pathsep.join([str(REPOSITORY / "tests"), str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, **(environ or {})},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def polyscan(*words: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return command("-m", "polyscan", *words, environ=environ)


def is_free_of_secrets(run: Run, *texts: str) -> bool:
    contents = [run.storage.read(name) for name in run.storage.files()]
    return not any(word.encode() in b"".join([*contents, *(t.encode() for t in texts)]) for word in (SECRET, KEY))


# ---- the same bytes ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(server: Store, reference: Path) -> tuple[Run, list[Any]]:
    """The whole run again, into a bucket, and what was asked of the server meanwhile."""
    forget()
    server.requests()
    run = Run(f"s3://{BUCKET}/finished")
    pipeline.scan(small(reference), run, pipeline.in_process)
    return run, server.requests()


@pytest.mark.slow
def test_a_run_on_a_store_has_the_files_of_one_on_a_disk_byte_for_byte(
    finished: tuple[Run, list[Any]], reference: Path
) -> None:
    """Law 1, on another file system; the pages too, and nothing beside them."""
    here, there = Storage(str(reference / "run")), finished[0].storage
    assert hashes(there.address) == hashes(here.address)
    assert there.files() == here.files()
    assert "maps/index.html" in there.files("maps")
    for name in ("map.parquet", *here.files("maps")):
        assert there.read(name) == here.read(name), name


@pytest.mark.slow
def test_each_part_and_each_record_is_one_put_and_nothing_is_copied(finished: tuple[Run, list[Any]]) -> None:
    """Law: a file is whole or not there; a store has no rename, so it is one request."""
    run, requests = finished
    puts = Counter(request.key for request in requests if request.verb == "PUT")
    filed = [f"finished/{name}" for name in run.storage.files() if name.startswith("done/") or "/part-" in name]
    assert len(filed) > 20
    assert {name: puts[name] for name in filed} == dict.fromkeys(filed, 1)
    assert not [request for request in requests if "upload" in request.query or request.copy_of]
    order = [request.key for request in requests if request.verb == "PUT"]
    for _, record in sorted(run.ledger.done("collect").items()):
        done = f"finished/done/collect/{record.index:05d}-of-{record.count:05d}.json"
        assert all(order.index(f"finished/{part.file}") < order.index(done) for part in record.parts)


@pytest.mark.slow
def test_status_verify_reuse_and_show_work_at_an_address(
    finished: tuple[Run, list[Any]], reference: Path, store: Store
) -> None:
    run, _ = finished
    assert [(row.stage, row.done, row.failures) for row in status_of(run.address)] == [
        (row.stage, row.done, []) for row in status_of(str(reference / "run"))
    ]
    assert run.ledger.verify() == []
    here = Results(str(reference / "run")).map
    assert Results(run.address).map.equals(here)
    other = Run(f"s3://{BUCKET}/adopted")
    other.save_manifest(run.manifest())
    stages = [stage.name for stage in pipeline.STAGES]
    store.requests()
    assert reuse(run, other, stages) == stages
    copied = [request for request in store.requests() if request.verb == "PUT"]
    assert copied
    assert all(request.copy_of for request in copied), "a part went through this machine"
    assert hashes(other.address) == hashes(run.address)
    assert showing.redraw(run.address, {}) == run.address
    with showing.served(run.address, 0, {}) as page:  # nothing of it need lie here
        assert urlopen(page).read() == run.storage.read("maps/index.html")


@pytest.mark.faults
@pytest.mark.ray
def test_two_ray_workers_give_the_same_bytes_and_the_key_is_written_nowhere(
    ray_session: None, store: Store, reference: Path, tmp_path: Path
) -> None:
    """The command as on a cluster: its workers have the credentials in their environment, and images are there, too."""
    import json

    import ray  # noqa: TID251

    address = store.upload(reference / "images", "photos")
    (tmp_path / "job.toml").write_text(small(reference, images__source=address).to_toml())
    job_config = {"runtime_env": {"env_vars": store.environment}}
    environ = {
        "RAY_ADDRESS": ray.get_runtime_context().gcs_address,
        "RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps(job_config),
    }
    run = Run(f"s3://{BUCKET}/ray")
    done = polyscan("scan", str(tmp_path / "job.toml"), "--run", run.address, "--workers", "2", environ=environ)
    assert done.returncode == 0, done.stderr
    assert f"{run.address}/maps/index.html" in done.stdout
    assert hashes(run.address) == hashes(str(reference / "run"))
    assert run.manifest()["images"]["source"] == address
    assert is_free_of_secrets(run, done.stdout, done.stderr)


@pytest.mark.slow
def test_a_run_is_resumed_and_only_what_is_missing_is_done(
    store: Store, reference: Path, few_stages: dict[str, str]
) -> None:
    run = Run(f"s3://{BUCKET}/resumed")
    pipeline.scan(small(reference), run, pipeline.in_process)
    assert hashes(run.address) == few_stages
    lost = run.ledger.done("collect")[1].parts[0].file
    run.storage.remove(lost)
    (gone,) = run.ledger.verify()
    assert lost in str(gone)
    assert "is gone" in str(gone)
    other = run.ledger.done("combine")[0].parts[0].file
    store.put(f"resumed/{other}", os.urandom(run.storage.size(other)))  # seen only where it is looked for
    store.requests()
    pipeline.scan(small(reference), Run(run.address), pipeline.in_process)
    written = [request.key for request in store.requests() if request.verb == "PUT" and "/part-" in request.key]
    assert sorted(written) == sorted(f"resumed/{part.file}" for part in run.ledger.done("collect")[1].parts)
    (changed,) = run.ledger.verify()
    assert other in str(changed)
    run.clear("combine")
    pipeline.scan(small(reference), Run(run.address), pipeline.in_process)
    assert hashes(run.address) == few_stages


# ---- a store is not a disk -----------------------------------------------------------------------------------------


def test_what_another_process_files_is_seen_at_once(store: Store, tmp_path: Path) -> None:
    """s3fs remembers listings; a run must not."""
    shards = [Shard("combine", index, 2, index, index + 1) for index in range(2)]
    elsewhere = Run(str(tmp_path))
    here = Run(f"s3://{BUCKET}/seen")
    assert here.ledger.missing(shards, "f") == shards
    columns = {"exemplars": _empty("exemplars"), "units": _empty("units")}
    for n, shard in enumerate(shards, 1):
        elsewhere.write(shard, columns, fingerprint="f", seconds=0.0)
        store.upload(tmp_path, "seen")
        assert here.ledger.done_record(shard) == elsewhere.ledger.done_record(shard)
        assert here.ledger.missing(shards, "f") == shards[n:]
    store.put("seen/running/combine/00000-of-00001.json", b'{"index": 0, "host": "h", "pid": 1, "since": 0}')
    assert len(here.ledger.running("combine")) == 1
    here.ledger.clear_running("combine")
    assert here.ledger.running("combine") == []
    assert Storage(f"s3://{BUCKET}/seen").files("running") == []


def test_nothing_that_was_listed_is_remembered(store: Store) -> None:
    there = Storage(f"s3://{BUCKET}/listed")
    store.put("listed/t/old", b"old")
    assert there.files() == ["t/old"]
    assert there.is_dir("t")
    assert not there.exists("t/new")
    store.put("listed/t/new", b"new")
    store.put("listed/t/old", b"longer")
    assert there.exists("t/new")
    assert there.is_file("t/new")
    assert there.size("t/old") == 6
    with there.open("t/old") as file:
        assert file.read() == b"longer"


def _empty(table: str) -> dict[str, Any]:
    from polyscan.tables import TABLES

    return {column.name: [] for column in TABLES[table].columns}


def test_removing_a_folder_takes_what_is_below_it_and_nothing_beside_it(store: Store) -> None:
    there = Storage(f"s3://{BUCKET}/removing")
    for name in ("units/part-0.parquet", "units/deep/x", "units2/part-0.parquet", "units.json"):
        there.put(name, b"x")
    there.remove("units")
    assert there.files() == ["units.json", "units2/part-0.parquet"]
    there.remove("units")
    there.remove("units.json")
    there.remove("units.json")
    assert there.files() == ["units2/part-0.parquet"]


def test_more_than_a_thousand_objects_are_listed_and_removed(store: Store) -> None:
    """A listing and a deletion of S3 end at a thousand."""
    there = Storage(f"s3://{BUCKET}/many")
    store.order(do="fill", prefix="many/done", n=1003)
    assert len(there.files("done")) == 1003
    there.remove("done")
    assert there.files() == []


def test_objects_that_may_not_be_deleted_are_told(store: Store) -> None:
    """S3 answers 200 where it has deleted none of many."""
    there = Storage(f"s3://{BUCKET}/kept")
    there.put("done/x", b"x")
    said = "<DeleteResult><Error><Key>kept/done/x</Key><Code>AccessDenied</Code></Error></DeleteResult>"
    store.order(do="fail", match="POST /scans", kind="status", status=200, body=said)
    with pytest.raises(StoreError, match="does not delete scans/kept/done/x; check"):
        there.remove("done")


def test_a_file_of_any_size_is_one_request(store: Store) -> None:
    """s3fs cuts what is above 100 MB into parts unless it is told not to."""
    there = Storage(f"s3://{BUCKET}/large")
    content = bytes(101 * 2**20)
    store.requests()
    there.put("part", content)
    assert [(r.verb, r.query) for r in store.requests() if r.verb != "GET"] == [("PUT", "")]
    assert there.size("part") == len(content)


def test_a_write_that_fails_leaves_the_old_file(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    there = Storage(f"s3://{BUCKET}/old")
    there.put("a", b"old")
    store.order(do="fail", match="PUT", kind="status", status=500, code="InternalError", times=9)
    with pytest.raises(
        StoreError, match=r"s3://scans/old doesn't answer \(OSError: .*as told by the test\); check the"
    ):
        there.put("a", b"new")
    store.order(do="heal")
    assert there.read("a") == b"old"


def test_reading_a_column_fetches_that_column_alone(store: Store) -> None:
    from polyscan import tables
    from polyscan.tables import TABLES

    items, width = 2000, 64
    vectors = np.random.default_rng(0).standard_normal((items, width)).astype(np.float32)
    columns = {**_filled("embeddings", items), "embedding": vectors}
    content, _ = tables.encode(TABLES["embeddings"], columns, metadata={})
    there = Storage(f"s3://{BUCKET}/columns")
    there.put("part.parquet", content)
    store.requests()
    read = tables.read(there, ["part.parquet"], TABLES["embeddings"], columns=["item"])
    assert len(read) == items
    assert len(tables.read_keys(there, "part.parquet", "item")) == items
    gets = [request for request in store.requests() if request.key == "columns/part.parquet" and request.verb == "GET"]
    assert gets
    assert all(request.range for request in gets), "a whole file was read"
    assert sum(_length(request.range) for request in gets) < len(content) / 2


def _filled(table: str, n: int) -> dict[str, Any]:
    """Zeros and empty words for all columns."""
    from polyscan.tables import TABLES

    return {column.name: [""] * n if column.type == "string" else [0] * n for column in TABLES[table].columns}


def _length(asked: str) -> int:
    first, last = asked.removeprefix("bytes=").split("-")
    return int(last) - int(first) + 1


@pytest.mark.parametrize("name", ["../other/run.json", "a/../../b", "/etc/passwd", ".."])
@pytest.mark.parametrize("verb", ["read", "remove", "exists", "size", "files"])
def test_no_name_leads_out_of_a_run(tmp_path: Path, name: str, verb: str) -> None:
    """A done record is written by others; what it names must lie in the run."""
    for address in (str(tmp_path / "run"), f"s3://{BUCKET}/run"):
        with pytest.raises(StoreError, match="leads out of"):
            getattr(Storage(address), verb)(name)
        with pytest.raises(StoreError, match="leads out of"):
            Storage(address).put(name, b"x")


# ---- a store that is away ------------------------------------------------------------------------------------------


@pytest.mark.faults
def test_a_server_that_is_started_again_in_the_middle_of_a_run_changes_no_byte(
    store: Store, reference: Path, few_stages: dict[str, str]
) -> None:
    """It hangs up at a part, at a record and at a read, and is away for a while."""
    for verb, where in (("PUT", "candidates/part"), ("PUT", "done/collect"), ("GET", "candidates/part")):
        store.order(do="fail", match=f"{verb} .*{where}", kind="gone", seconds=1.5)
    run = Run(f"s3://{BUCKET}/restarted")
    pipeline.scan(small(reference), run, pipeline.in_process)
    assert store.order(do="heal") == 0, "a fault that never came"
    assert hashes(run.address) == few_stages
    assert not run.storage.files("failed")


def test_answers_that_break_off_busy_stores_and_throttling_are_asked_again(store: Store) -> None:
    there = Storage(f"s3://{BUCKET}/busy")
    content = os.urandom(50_000)
    there.put("x", content)
    for kind, status, code, verb in (
        ("half", 200, "", "GET"),
        ("status", 503, "SlowDown", "GET"),
        ("status", 500, "InternalError", "PUT"),
        ("status", 503, "ServiceUnavailable", "HEAD"),
        ("status", 503, "ServiceUnavailable", "DELETE"),
    ):
        store.order(do="fail", match=f"{verb} .*/busy/", kind=kind, status=status, code=code)
    assert there.read("x") == content
    there.put("x", content)
    assert there.size("x") == len(content)
    there.remove("x.json")
    store.order(do="fail", match="GET .*/busy/", kind="half")
    with there.open("x") as file:
        assert file.read() == content
    assert store.order(do="heal") == 0, "a fault that never came"


@pytest.mark.faults
def test_a_shard_that_could_not_be_filed_fails_is_tried_again_and_comes_out_the_same(
    store: Store,
    reference: Path,
    few_stages: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    store.order(do="fail", match="PUT .*candidates/part-00001", kind="status", status=500, code="InternalError")
    run = Run(f"s3://{BUCKET}/failing")
    pipeline.scan(small(reference), run, pipeline.in_process)
    assert "collect 1/3 failed: StoreError: s3://scans/failing doesn't answer" in caplog.text
    assert hashes(run.address) == few_stages
    assert not run.storage.files("failed")


@pytest.mark.faults
def test_a_part_that_can_never_be_filed_is_a_failed_shard_and_its_siblings_are_done(
    store: Store, reference: Path, few_stages: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    store.order(
        do="fail", match="PUT .*candidates/part-00001", kind="status", status=403, code="AccessDenied", times=99
    )
    run = Run(f"s3://{BUCKET}/refusing")
    with pytest.raises(
        ShardError, match=r"shard 1 of `collect` failed: StoreError: .* refuses access \(AccessDenied: as told"
    ):
        pipeline.scan(small(reference), run, pipeline.in_process)
    assert sorted(run.ledger.done("collect")) == [0, 2]
    assert is_free_of_secrets(run)


# ---- a store that can't be used ------------------------------------------------------------------------------------


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.faults
def test_nobody_at_the_endpoint_is_one_clear_error_of_each_command(reference: Path, tmp_path: Path) -> None:
    """A first request is in haste: the run's own patience is for a store that has answered before."""
    away = environment(f"http://127.0.0.1:{closed_port()}")
    nonsense = environment(f"http://me:{SECRET}@127.0.0.1:{closed_port()}")
    (tmp_path / "job.toml").write_text(small(reference).to_toml())
    address = f"s3://{BUCKET}/run"
    scan = ("scan", str(tmp_path / "job.toml"), "--run", address, "--quiet")
    for words, where, what in (
        (("status", address), away, "EndpointConnectionError: Could not connect"),
        (scan, away, "EndpointConnectionError: Could not connect"),
        (scan, nonsense, "http://***@127.0.0.1"),
    ):
        done = polyscan(*words, environ=where)
        assert done.returncode == 2, done.stderr
        assert f"{address} doesn't answer (" in done.stderr
        assert what in done.stderr
        assert "check the network and AWS_ENDPOINT_URL" in done.stderr
        assert "Traceback" not in done.stderr
        assert SECRET not in done.stderr + done.stdout
        assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.faults
def test_a_host_that_says_nothing_is_not_waited_for_long(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(9)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{mute.getsockname()[1]}")
        forget()
        with pytest.raises(StoreError, match=r"doesn't answer \(ReadTimeoutError: .*; check the network"):
            Storage(f"s3://{BUCKET}/run").read("run.json")
    forget()


def test_a_missing_bucket_is_told_and_not_taken_for_an_empty_run(store: Store, reference: Path) -> None:
    for asks in (
        lambda: pipeline.scan(small(reference), Run("s3://no-such-bucket/run"), pipeline.in_process),
        lambda: status_of("s3://no-such-bucket/run"),
        Run("s3://no-such-bucket/run").ledger.verify,
        lambda: opened("s3://no-such-bucket/photos"),
    ):
        with pytest.raises(
            StoreError, match=r"is in a bucket that does not exist \(.*\); create it, or correct the addr"
        ):
            asks()
    with pytest.raises(TableError, match=r"holds no run \(there is no run.json\)"):
        status_of(f"s3://{BUCKET}/nothing")
    with pytest.raises(ImagesError, match="there is nothing at s3://scans/nothing"):
        opened(f"s3://{BUCKET}/nothing")
    with pytest.raises(StoreError, match="names no bucket; write s3://BUCKET/FOLDER"):
        Run("s3://")


def test_refused_credentials_are_told_before_anything_runs_and_in_the_middle(store: Store, reference: Path) -> None:
    known = Storage(f"s3://{BUCKET}/refused")
    known.put("run.json", b"{}")
    store.order(do="authorize", only_known=True)
    try:
        for asks in (
            lambda: known.put("x", b"x"),  # a key that was withdrawn
            lambda: known.read("run.json"),
            known.files,
            lambda: known.size("run.json"),
        ):
            with pytest.raises(StoreError, match=r"refuses access \(.*check the credentials") as caught:
                asks()
            assert SECRET not in str(caught.value)
        forget()
        for asks in (
            lambda: pipeline.scan(small(reference), Run(f"s3://{BUCKET}/refused"), pipeline.in_process),
            lambda: status_of(f"s3://{BUCKET}/refused"),
            lambda: opened(f"s3://{BUCKET}/refused"),
        ):
            with pytest.raises(StoreError, match=r"refuses access \(InvalidAccessKeyId: .*; check the credentials"):
                asks()
    finally:
        store.order(do="authorize", only_known=False)


def test_no_credentials_at_all_and_a_missing_package_say_what_to_set_and_to_install(store: Store) -> None:
    nobody = {**store.environment, "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    told = "import sys\nfrom polyscan.errors import PolyscanError\nfrom polyscan.storage import Storage\n"
    asks = "try: Storage(sys.argv[1]).read('run.json')\nexcept PolyscanError as e: print(type(e).__name__, e)"
    done = command("-c", told + asks, "s3://scans/run", environ=nobody)
    assert "StoreError s3://scans/run needs credentials (Unable to locate credentials)" in done.stdout
    assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in done.stdout
    hidden = "sys.modules['s3fs'] = None\n"
    done = command("-c", told + hidden + asks, "s3://scans/run")
    assert done.stdout.startswith("InstallError s3://scans/run can't be opened: ")
    assert "`pip install s3fs` on every machine that works on the run" in done.stdout


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (f"s3://{KEY}:{SECRET}@scans/run", "s3://***@scans/run"),
        ("https://me:pass@host:8080/x.parquet", "https://***@host:8080/x.parquet"),
        ("zip://a::ftp://me:p:w@host/x.zip", "zip://a::ftp://***@host/x.zip"),
        ("https://host/x.parquet?n=1&X-Amz-Signature=abc", "https://host/x.parquet?n=1&X-Amz-Signature=***"),
        ("https://host/x.parquet?sig=abc", "https://host/x.parquet?sig=***"),
    ],
)
def test_an_address_with_a_secret_is_refused_and_the_secret_is_not_repeated(address: str, shown: str) -> None:
    """It would stand in job.toml, run.json and on every page."""
    assert masked(address) == shown
    for asks, kind in ((Run, StoreError), (opened, ImagesError)):
        with pytest.raises(kind) as caught:
            asks(address)
        assert shown in str(caught.value)
        assert "holds a secret" in str(caught.value)
        assert "abc" not in str(caught.value)
        assert SECRET not in str(caught.value)
        assert "pass@" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["s3://bucket/run", "sftp://me@host/run", "https://host:8080/a@b/x", "abfs://box@account.dfs.core.windows.net/x",
     "zip://a::s3://bucket/x@y.zip", "runs/a:b@c", "https://host/x?versionId=3"],
)  # fmt: skip
def test_addresses_without_a_secret_are_left_alone(address: str) -> None:
    assert masked(address) == address


# ---- images --------------------------------------------------------------------------------------------------------


def opened(source: Path | str, **options: Any) -> ImageSource:
    return open_images(str(source), options=ImageOptions(**options))


def png(n: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(n).integers(0, 255, (12, 16, 3), dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def write_files(root: Path) -> Path:
    """Two classes of photos, one at the top, two broken and one empty."""
    contents = {"cat/0.png": png(0), "cat/1.png": png(1)[:200], "dog/deep/0.png": png(2), "dog/1": b"no image",
                "dog/2.png": b"", "top.png": png(3), "a-b/x y+z%20.png": png(4)}  # fmt: skip
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def write_parquet(root: Path) -> Path:
    """Two files of three row groups each, with names of classes, a broken image and an empty row."""
    root.mkdir()
    for file in range(2):
        images = [{"bytes": png(9 * file + n), "path": f"{n}.png"} for n in range(9)]
        images[4]["bytes"], images[7]["bytes"] = b"no image", None  # pyright: ignore
        notes = [os.urandom(20_000) for _ in range(9)]
        table = pa.table({"image": images, "label": ["cat", "dog", "eel"] * 3, "notes": notes})
        pq.write_table(table, root / f"{file}.parquet", row_group_size=3)
    return root


def same(there: ImageSource, here: ImageSource) -> list[Picture | Reject]:
    """All entries of both, which are equal; those at an address are given back."""
    assert there.digest == here.digest
    found = list(there.read(range(len(there))))
    for a, b in zip(found, here.read(range(len(here))), strict=True):
        if isinstance(a, Picture) and isinstance(b, Picture):
            np.testing.assert_array_equal(a.pixels, b.pixels)
            assert (a.image, a.path, a.label, a.label_name) == (b.image, b.path, b.label, b.label_name)
        else:
            assert isinstance(a, Reject)
            assert isinstance(b, Reject)
            assert asdict(a) == asdict(b)
    return found


def test_a_folder_of_images_reads_as_from_a_disk_broken_ones_too(store: Store, tmp_path: Path) -> None:
    files = write_files(tmp_path / "files")
    address = store.upload(files, "files")
    store.put("files/dog/", b"")  # what the web console writes for a folder
    store.put("files/.hidden/1.png", png(9))
    found = same(opened(address), opened(files))
    assert [entry.path for entry in found if isinstance(entry, Reject)] == ["cat/1.png", "dog/1", "dog/2.png"]
    assert same(opened(address + "/", limit=3), opened(files, limit=3))


@pytest.mark.parametrize("name", ["", "/0.parquet"])
def test_other_bytes_of_the_same_size_have_another_stamp(store: Store, tmp_path: Path, name: str) -> None:
    if name:
        (tmp_path / "set").mkdir()
        pq.write_table(pa.table({"image": [png(1)]}), tmp_path / "set" / "0.parquet")
        changed = "0.parquet"
    else:
        write_files(tmp_path / "set")
        changed = "dog/1"
    address = store.upload(tmp_path / "set", f"stamps{len(name)}")
    before = opened(address + name)
    assert all(len(stamp.split()) == 2 for stamp in before.stamps.values())
    content = (tmp_path / "set" / changed).read_bytes()
    store.put(f"stamps{len(name)}/{changed}", content)
    assert changed_files(opened(address + name), before.stamps) == []  # an ETag is of the bytes
    store.put(f"stamps{len(name)}/{changed}", content.replace(b"im", b"mi", 1))
    assert changed_files(opened(address + name), before.stamps) == [changed]


@pytest.mark.parametrize("name", ["", "/0.parquet"])
def test_parquet_reads_as_from_a_disk_and_only_the_columns_in_use_are_fetched(
    store: Store, tmp_path: Path, name: str
) -> None:
    files = write_parquet(tmp_path / "set")
    address = store.upload(files, "set")
    store.requests()
    found = same(opened(address + name), opened(f"{files}{name}"))
    assert sum(isinstance(entry, Reject) for entry in found) == (2 if name else 4)
    gets = [request for request in store.requests() if request.key.endswith(".parquet") and request.verb == "GET"]
    assert all(request.range for request in gets)
    whole = sum(file.stat().st_size for file in files.glob(f"*{name or '.parquet'}".replace("*/", "")))
    assert sum(_length(request.range) for request in gets) < whole / 2, "the notes were fetched"


def test_a_damaged_parquet_is_an_error_and_a_lost_store_is_no_reject(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    address = store.upload(write_parquet(tmp_path / "set"), "lost")
    source = opened(address)
    store.order(do="fail", match="GET .*lost/0.parquet", kind="status", status=503, times=99)
    with pytest.raises(StoreError, match="doesn't answer"):
        list(source.read([0]))
    store.order(do="heal")
    photos = opened(store.upload(write_files(tmp_path / "files"), "lostfiles"))
    store.order(do="fail", match="GET .*lostfiles/cat", kind="status", status=403, code="AccessDenied", times=99)
    with pytest.raises(StoreError, match="refuses"):
        list(photos.read(range(len(photos))))
    store.put("lost/1.parquet", b"PAR1 and no more")
    with pytest.raises(ImagesError, match=r"1\.parquet in s3://scans/lost can't be read as Parquet"):
        opened(address)


@pytest.mark.faults
def test_plan_and_units_take_images_at_an_address(store: Store, reference: Path, tmp_path: Path) -> None:
    address = store.upload(reference / "images", "planned")
    (tmp_path / "job.toml").write_text(small(reference, images__source=address).to_toml())
    done = polyscan("plan", str(tmp_path / "job.toml"))
    assert done.returncode == 0, done.stderr
    assert f"{toy.N_IMAGES} images" in done.stdout
