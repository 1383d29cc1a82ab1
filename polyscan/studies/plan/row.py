"""A row of a plan: what one stage takes."""

from __future__ import annotations

from dataclasses import dataclass, field

from polyscan.studies.plan.measuring import Peak


@dataclass(frozen=True)
class PlanRow:
    """One stage.

    Args:
        stage: its name.
        shards: how many, at most.
        rows: of all its tables, at most.
        bytes: on disk.
        seconds: of one worker.
        held: bytes that a worker holds because there is so much to do: what grows with images, units and k.
        gpu_held: the same on a GPU.
        peak: what this process held while one batch or set of it was measured, network and all.
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
        """Most bytes that a worker holds; None where the system does not tell."""
        return None if self.peak.process is None else self.peak.process + self.held

    @property
    def gpu_memory(self) -> float | None:
        """Most bytes on its GPU; None without one."""
        return None if self.peak.gpu is None else self.peak.gpu + self.gpu_held
