"""One stage of a scan in a process that does nothing else, and the most memory that it ever held."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.peers.orders import carry_out
from benchmarks.stages import do
from polyscan.job import Job
from polyscan.run import Run


def answer(order: dict[str, Any]) -> dict[str, Any]:
    """Does the stage; `peak_mib` is the process's largest resident set so far."""
    do(Job.model_validate(order["job"]), Run(order["run"]), order["stage"])
    return {"peak_mib": peak_mib()}


def peak_mib() -> float:
    """As Linux counts it. What `resource` tells is at least what the parent held when it started this process."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


if __name__ == "__main__":
    carry_out(answer)
