"""Each unit's 40 strongest of 1,000 images, all blocks in one pass, against SemanticLens 0.2.1.

Equal images, layers and pooling (`collecting.py`). SemanticLens compares activations in bfloat16 and starts
from 40 empty slots of activation 0, so its ids differ: `ids` in `build/bench.json` says how far. What it embeds and
clusters afterwards is not part of this race. Its network stays in the memory format in which torchvision loads it, as
nothing in it asks for another; a caller who sets channels-last, as polyscan does by itself, wins back a good part of
the ratio.
"""

from __future__ import annotations

from benchmarks.peers.rival import SEMANTICLENS
from benchmarks.race import Outcome, Target
from benchmarks.races.collecting import race

NAME = "collect_vs_semanticlens"
TARGETS = {NAME: Target(2.0, "SemanticLens' time to the strongest images of all units / polyscan's")}


def outcomes() -> dict[str, Outcome]:
    """The line of the race."""
    return {NAME: race(SEMANTICLENS, TARGETS[NAME])}
