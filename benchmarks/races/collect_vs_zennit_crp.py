"""Each unit's 40 strongest of 1,000 images, all blocks in one pass, against zennit-crp 0.6.0.

Equal images, layers and pooling (`collecting.py`). **Not equal work**: zennit-crp also computes a backward
pass and collects by relevance, which can't be switched off; both sides give activations' ids and places.
"""

from __future__ import annotations

from benchmarks.peers.rival import ZENNIT_CRP
from benchmarks.race import Outcome, Target
from benchmarks.races.collecting import race

NAME = "collect_vs_zennit_crp"
TARGETS = {NAME: Target(5.0, "zennit-crp's time to the strongest images of all units / polyscan's")}


def outcomes() -> dict[str, Outcome]:
    """The line of the race."""
    return {NAME: race(ZENNIT_CRP, TARGETS[NAME])}
