"""The ways of taking a unit apart: one file each.

Each is a function from a whole and the moments of its layer's vectors to parts, and says which vectors it takes.
Another way is a file here and a line in `HOWS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from polyscan.inputs.virtual import OF_INPUTS, OWN
from polyscan.nulls.readouts import Activations
from polyscan.studies.disentangle.gathering import Whole
from polyscan.studies.disentangle.hows.circuit import circuit
from polyscan.studies.disentangle.hows.second import second
from polyscan.studies.disentangle.hows.split import split
from polyscan.studies.disentangle.hows.vectors import vectors
from polyscan.studies.disentangle.parts import UnitPart, Wishes


@dataclass(frozen=True)
class How:
    """One way of taking units apart.

    Args:
        take_apart: gives a unit's parts.
        of: which vectors it takes, and its parts read: the layer's own, or its inputs.
    """

    take_apart: Callable[[Whole, Activations, Wishes], Sequence[UnitPart]]
    of: str = OWN


HOWS: dict[str, How] = {
    "vectors": How(vectors),
    "second": How(second),
    "split": How(split, OF_INPUTS),
    "circuit": How(circuit, OF_INPUTS),
}
"""Registry of the ways; its keys are what `--how` takes."""
