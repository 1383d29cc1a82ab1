"""The machines' two files: valid by Ray's own validator, and closed to everyone without the key and the token."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from places import REPOSITORY

CLUSTER = REPOSITORY / "cluster.yaml"
RAYJOB = REPOSITORY / "jobs" / "rayjob.yaml"
EVERYWHERE = "0.0.0.0"  # what must not be found


def _pinned_ray() -> str:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    return next(line.removeprefix("ray==") for line in lines if line.startswith("ray=="))


# ---- cluster.yaml --------------------------------------------------------------------------------------------------


@pytest.fixture
def cluster() -> dict[str, Any]:
    return yaml.safe_load(CLUSTER.read_text())


@pytest.fixture
def prepared(cluster: dict[str, Any]) -> dict[str, Any]:
    """What Ray makes of the file, with its own defaults for AWS filled in: what really runs."""
    util = pytest.importorskip("ray.autoscaler._private.util")
    return util.prepare_config(copy.deepcopy(cluster))


def _check(cluster: dict[str, Any]) -> None:
    util = pytest.importorskip("ray.autoscaler._private.util")
    util.validate_config(util.prepare_config(copy.deepcopy(cluster)))


def test_ray_takes_the_cluster_file(cluster: dict[str, Any]) -> None:
    ray = pytest.importorskip("ray")
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(cluster, schema)
    _check(cluster)


def _misspelt(cluster: dict[str, Any]) -> None:
    cluster["file_mount"] = {}


def _without_resources(cluster: dict[str, Any]) -> None:
    del cluster["available_node_types"]["gpu"]["resources"]


def _half_a_gpu(cluster: dict[str, Any]) -> None:
    cluster["available_node_types"]["gpu"]["resources"]["GPU"] = 0.5


def _headless(cluster: dict[str, Any]) -> None:
    cluster["head_node_type"] = "nobody"


def _too_many(cluster: dict[str, Any]) -> None:
    cluster["available_node_types"]["gpu"]["min_workers"] = cluster["max_workers"] + 1


@pytest.mark.parametrize("spoil", [_misspelt, _without_resources, _half_a_gpu, _headless, _too_many])
def test_the_validator_would_have_said_so(cluster: dict[str, Any], spoil: Callable[[dict[str, Any]], None]) -> None:
    spoil(cluster)
    with pytest.raises(Exception):  # noqa: B017, PT011  # jsonschema's and Ray's own, of several kinds
        _check(cluster)


def test_the_dashboard_is_for_the_head_alone(prepared: dict[str, Any]) -> None:
    starts = [command for command in prepared["head_start_ray_commands"] if "ray start" in command]
    assert len(starts) == 1
    assert "--dashboard-host=127.0.0.1" in starts[0].split()
    assert EVERYWHERE not in json.dumps(prepared)
    assert EVERYWHERE not in CLUSTER.read_text()


def test_rays_own_default_would_have_opened_it(cluster: dict[str, Any]) -> None:
    """The reason for the commands of our own; when this fails, Ray has mended its default."""
    util = pytest.importorskip("ray.autoscaler._private.util")
    del cluster["head_start_ray_commands"]
    assert EVERYWHERE in json.dumps(util.prepare_config(cluster)["head_start_ray_commands"])


@pytest.mark.parametrize("commands", ["head_start_ray_commands", "worker_start_ray_commands"])
def test_every_node_asks_for_the_token_and_has_it(prepared: dict[str, Any], commands: str) -> None:
    starts = [command for command in prepared[commands] if "ray start" in command]
    assert starts
    assert all(command.startswith("RAY_AUTH_MODE=token ray start ") for command in starts)
    assert "--env RAY_AUTH_MODE=token" in prepared["docker"]["run_options"]
    assert prepared["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert any("chmod 600 ~/.ray/auth_token" in command for command in prepared["setup_commands"])


def test_no_port_is_opened_and_no_secret_written(cluster: dict[str, Any]) -> None:
    group = cluster["provider"]["security_group"]
    assert group["GroupName"]
    assert group["IpPermissions"] == []
    text = CLUSTER.read_text()
    for word in ("RAY_AUTH_TOKEN", "AWS_SECRET", "aws_access_key", "--publish", "--network=host", "--privileged"):
        assert word not in text
    assert not any(option.startswith(("-p", "--publish")) for option in cluster["docker"]["run_options"])


def test_work_and_cost_are_bounded(cluster: dict[str, Any]) -> None:
    types = cluster["available_node_types"]
    head = types[cluster["head_node_type"]]
    assert head["resources"]["CPU"] == 0
    assert "InstanceMarketOptions" not in head["node_config"]  # the cluster ends with its head
    workers = [kind for name, kind in types.items() if name != cluster["head_node_type"]]
    assert workers
    for kind in workers:
        assert kind["min_workers"] == 0
        assert kind["resources"]["CPU"] > 0
        assert kind["resources"]["GPU"] > 0
        assert kind["labels"]
        assert kind["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert cluster["max_workers"] == sum(kind["max_workers"] for kind in workers)
    assert cluster["provider"]["cache_stopped_nodes"] is False


def test_the_image_is_the_tested_ray(cluster: dict[str, Any]) -> None:
    assert cluster["docker"]["image"] == f"rayproject/ray:{_pinned_ray()}-py311-gpu"


def test_the_project_travels_without_what_is_large(cluster: dict[str, Any]) -> None:
    assert cluster["file_mounts"]["~/polyscan"] == "."
    assert {".git", ".venv", "runs", "data"} <= set(cluster["rsync_exclude"])


# ---- jobs/rayjob.yaml ----------------------------------------------------------------------------------------------


@pytest.fixture
def manifests() -> dict[str, dict[str, Any]]:
    return {manifest["kind"]: manifest for manifest in yaml.safe_load_all(RAYJOB.read_text())}


def _pods(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Pod templates: submitter, head, and each group of workers."""
    yield spec["submitterPodTemplate"]
    yield spec["rayClusterSpec"]["headGroupSpec"]["template"]
    for group in spec["rayClusterSpec"]["workerGroupSpecs"]:
        yield group["template"]


def test_the_ray_job_is_one_and_its_entrypoint_is_a_scan(manifests: dict[str, dict[str, Any]]) -> None:
    from polyscan.studies.scanning import job_file

    assert set(manifests) == {"RayJob", "NetworkPolicy"}
    job = manifests["RayJob"]
    assert job["apiVersion"] == "ray.io/v1"
    command, verb, name, *options = job["spec"]["entrypoint"].split()
    assert (command, verb) == ("polyscan", "scan")
    assert job_file(name).exists()
    asked = dict(zip(options[::2], options[1::2], strict=True))
    assert asked["--on"] == "ray"
    mounts = [
        c["volumeMounts"]
        for c in manifests["RayJob"]["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"]
    ]
    assert any(asked["--run"].startswith(mount["mountPath"]) for mount in mounts[0])
    assert job["spec"]["shutdownAfterJobFinishes"] is True


def test_no_scan_work_on_the_head_and_a_gpu_for_each_worker(manifests: dict[str, dict[str, Any]]) -> None:
    ray = manifests["RayJob"]["spec"]["rayClusterSpec"]
    assert ray["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for group in ray["workerGroupSpecs"]:
        for container in group["template"]["spec"]["containers"]:
            assert int(container["resources"]["limits"]["nvidia.com/gpu"]) >= 1
        assert group["minReplicas"] == group["replicas"] == group["maxReplicas"]


def test_every_pod_is_bounded_and_not_root(manifests: dict[str, dict[str, Any]]) -> None:
    for pod in _pods(manifests["RayJob"]["spec"]):
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["securityContext"]["runAsUser"] > 0
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert "hostNetwork" not in pod["spec"]
        for container in pod["spec"]["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert {"cpu", "memory"} <= set(container["resources"]["limits"])
            assert _pinned_ray() in container["image"].rpartition(":")[2]


def test_the_nodes_that_compute_see_the_run(manifests: dict[str, dict[str, Any]]) -> None:
    _, *nodes = _pods(manifests["RayJob"]["spec"])
    for pod in nodes:
        claims = {volume["name"] for volume in pod["spec"]["volumes"] if "persistentVolumeClaim" in volume}
        mounted = {mount["name"]: mount["mountPath"] for mount in pod["spec"]["containers"][0]["volumeMounts"]}
        assert [mounted[name] for name in claims] == ["/runs"]


def test_the_token_comes_from_a_secret_and_is_nowhere_written(manifests: dict[str, dict[str, Any]]) -> None:
    ray = manifests["RayJob"]["spec"]["rayClusterSpec"]
    assert ray["authOptions"]["mode"] == "token"
    assert ray["authOptions"]["secretName"]
    assert ray["rayVersion"] == _pinned_ray()
    content = json.dumps(list(manifests.values()))
    assert "auth_token" not in content
    assert "RAY_AUTH_TOKEN" not in content


def test_nothing_outside_sees_the_dashboard(manifests: dict[str, dict[str, Any]]) -> None:
    head = manifests["RayJob"]["spec"]["rayClusterSpec"]["headGroupSpec"]
    assert head["serviceType"] == "ClusterIP"
    assert head["enableIngress"] is False
    assert EVERYWHERE not in RAYJOB.read_text()
    policy = manifests["NetworkPolicy"]["spec"]
    assert policy["policyTypes"] == ["Ingress"]
    label = policy["podSelector"]["matchLabels"]
    for pod in _pods(manifests["RayJob"]["spec"]):
        assert label.items() <= pod["metadata"]["labels"].items()
    for rule in policy["ingress"]:
        assert rule["from"]  # a rule without `from` lets everyone in
        for source in rule["from"]:
            assert source["podSelector"]["matchLabels"]


def test_the_list_of_jobs_is_whole() -> None:
    """One line for each file in jobs/."""
    files = {path.name for path in (REPOSITORY / "jobs").iterdir() if path.is_file()} - {"README.md"}
    lines = (REPOSITORY / "jobs" / "README.md").read_text().splitlines()
    listed = [line.split("`")[1] for line in lines if line.startswith("| `")]
    assert sorted(listed) == sorted(files)
