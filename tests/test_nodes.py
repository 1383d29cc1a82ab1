"""Nodes that join and nodes that are lost: a Ray of three on this machine, one of them killed; the same bytes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import nodes
import pytest
import toy
from sabotage import hashes

from polyscan import pipeline
from polyscan.run import Run

pytest.importorskip("ray")


@pytest.mark.faults
@pytest.mark.ray
def test_a_node_that_joins_gets_work_and_one_that_is_lost_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline.report, "draw", lambda *_: None)
    reference = Run(str(tmp_path / "reference"))
    pipeline.scan(toy.job(tmp_path / "images", **nodes.CHANGES), reference, pipeline.in_process)
    tests = Path(__file__).parent
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as short:  # Ray's sockets have short names or none
        environment = {
            **os.environ,
            "RAY_TMPDIR": short,
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_timeout_ms": "1000",
            "RAY_health_check_failure_threshold": "3",
            "PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent), os.environ.get("PYTHONPATH", "")]),
        }
        environment.pop("RAY_ADDRESS", None)
        command = [sys.executable, nodes.__file__, str(tmp_path), str(tmp_path / "images")]
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as process:
            try:
                out, err = process.communicate(timeout=240)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
    assert process.returncode == 0, err
    told = json.loads(out.splitlines()[-1])
    assert told["was_killed"]
    assert hashes(str(tmp_path / "run")) == hashes(reference.address)
    begun = Counter(told["begun"])
    assert sorted(begun) == list(range(len(reference.ledger.done(nodes.STAGE))))
    assert len(told["there"]) >= 3
    repeated = [index for index, n in begun.items() if n > 1]
    assert set(repeated) <= set(told["there"]), "what was not on the lost node was done again"
    assert len(repeated) <= 2, "no more than what was in flight there"
    gone = re.search(rf"a machine is gone at shard (\d+) of `{nodes.STAGE}`", err)
    assert gone, f"it was charged with a death: {err}"
    assert int(gone[1]) in told["there"]
    run = Run(str(tmp_path / "run"))
    assert run.ledger.verify() == []
    assert not run.storage.files("failed")
