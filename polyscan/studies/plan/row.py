"""A row of a plan: the estimate of one stage."""

from __future__ import annotations

from dataclasses import dataclass, field

from polyscan.studies.plan.measuring import Peak


@dataclass(frozen=True)
class PlanRow:
    """The estimate of one stage.

    Args:
        stage: its name.
        shards: number of shards, at most.
        rows: rows of all its tables, at most.
        bytes: size on disk.
        seconds: time of one worker.
        held: bytes in a worker's memory that grow with the images, the units and k.
        gpu_held: the same on a GPU.
        peak: peak memory of this process while one batch or set was measured, with the network.
    """

    stage: str
    shards: int
    rows: int
    bytes: float
    seconds: float
    held: float
    gpu_held: float = 0.0
    peak: Peak = field(default_factory=Peak)

    @property
    def memory(self) -> float | None:
        """Peak memory of a worker, in bytes; None if the system does not report it."""
        return None if self.peak.process is None else self.peak.process + self.held

    @property
    def gpu_memory(self) -> float | None:
        """Peak memory on its GPU, in bytes; None without a GPU."""
        return None if self.peak.gpu is None else self.peak.gpu + self.gpu_held
