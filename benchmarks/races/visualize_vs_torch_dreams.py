"""Feature visualization against torch-dreams 4.0.0: the race of `visualize_vs_lucent` with another peer.

The same network, layers, units, size, steps and objective, no augmentation, one thread a side, in one run, and the same
judge of what the images reach. A run makes 16 images of each of three layers in the peer's batched call. Its spectrum
is scaled by 1 / (1.41 f)^1.5, 3 to 17 times ours, so that a step of the same size moves its image as much further: ours
is 4 times as large here, .2 to its .05.
"""

from __future__ import annotations

from benchmarks import inputs
from benchmarks.peers.rival import TORCH_DREAMS, ImageMaker
from benchmarks.race import RUNS, Outcome, Target
from benchmarks.races.reached import reached
from benchmarks.races.visualizing import Lane, units_of, visualized
from polyscan.vision.readouts import Reader

UNITS, STEPS, STEP_SIZE = 16, 64, 0.2
NAME = "visualize_vs_torch_dreams"
TARGETS = {NAME: Target(5.0, "torch-dreams' batched call / polyscan")}


def outcomes() -> dict[str, Outcome]:
    """The line of the race."""
    reader = Reader(inputs.trunk_network(), list(inputs.TRUNK_LAYERS.values()))
    lane = Lane("torch_dreams", STEPS)
    with ImageMaker(TORCH_DREAMS) as dreams:
        _warmed(reader, dreams)
        for run in range(RUNS):
            for layer in inputs.TRUNK_LAYERS:
                units = units_of(reader, layer, run, UNITS)
                ours, images = visualized(reader, layer, units, steps=STEPS, seed=run, step_size=STEP_SIZE)
                theirs = dreams("batched", layer, units, steps=STEPS, seed=run)
                lane.add(layer, theirs.seconds / (UNITS * STEPS), ours / (UNITS * STEPS))
                lane.ours += reached(images, layer, units)
                lane.theirs += reached(theirs.images, layer, units)
    return {NAME: lane.outcome(TARGETS[NAME])}


def _warmed(reader: Reader, dreams: ImageMaker) -> None:
    """First calls allocate and choose kernels."""
    units = list(range(UNITS))
    for layer in inputs.TRUNK_LAYERS:
        visualized(reader, layer, units, steps=2, seed=0)
        dreams("batched", layer, units, steps=2, seed=0)
