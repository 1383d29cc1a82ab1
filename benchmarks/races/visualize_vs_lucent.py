"""Feature visualization against torch-lucent 0.1.8: the same network, units, size and steps, one thread, in one run.

A run makes 16 images of each of three layers. Lucent makes them in its best batched call, and one of them in the call
that its README shows; beside that one, polyscan makes all of them with its own augmentation and canvas. Times are an
image's; ratios are geometric means over the layers. Speed by doing less would be seen: how strong the images make their
units is measured on both sides' by one judge that belongs to neither.
"""

from __future__ import annotations

from benchmarks import inputs
from benchmarks.peers.rival import LUCENT, ImageMaker
from benchmarks.race import RUNS, Outcome, Target
from benchmarks.races.reached import reached
from benchmarks.races.visualizing import Lane, units_of, visualized
from polyscan.vision.readouts import Reader

UNITS, STEPS, FROZEN_STEPS = 16, 64, 8
BATCHED, DOCUMENTED, FROZEN = (
    "visualize_vs_lucent_batched",
    "visualize_vs_lucent_documented",
    "visualize_vs_lucent_frozen",
)
TARGETS = {
    BATCHED: Target(5.0, "lucent's best batched call / polyscan"),
    DOCUMENTED: Target(30.0, "lucent's documented call, one unit each / polyscan"),
    FROZEN: Target(5.0, "the batched call, the weights frozen by its caller / polyscan"),
}


def outcomes() -> dict[str, Outcome]:
    """The lines of the race."""
    reader = Reader(inputs.trunk_network(), list(inputs.TRUNK_LAYERS.values()))
    lanes = {name: Lane("lucent", STEPS) for name in TARGETS}
    with ImageMaker(LUCENT) as lucent:
        _warmed(reader, lucent)
        for run in range(RUNS):
            for layer in inputs.TRUNK_LAYERS:
                _race(reader, lucent, lanes, layer, run)
    return {name: lane.outcome(TARGETS[name]) for name, lane in lanes.items()}


def _race(reader: Reader, lucent: ImageMaker, lanes: dict[str, Lane], layer: str, run: int) -> None:
    """Each side once on one layer: A B C D, and so on with the next."""
    units = units_of(reader, layer, run, UNITS)
    ours, images = visualized(reader, layer, units, steps=STEPS, seed=run)
    strength = reached(images, layer, units)
    ours /= UNITS * STEPS

    batched = lucent("batched", layer, units, steps=STEPS, seed=run)
    lanes[BATCHED].add(layer, batched.seconds / (UNITS * STEPS), ours)
    lanes[BATCHED].theirs += reached(batched.images, layer, units)
    lanes[BATCHED].ours += strength

    own_way, images = visualized(reader, layer, units, steps=STEPS, seed=run, own_way=True)
    documented = lucent("documented", layer, units[:1], steps=STEPS, seed=run)
    lanes[DOCUMENTED].add(layer, documented.seconds / STEPS, own_way / (UNITS * STEPS))
    lanes[DOCUMENTED].theirs += reached(documented.images, layer, units[:1])
    lanes[DOCUMENTED].ours += reached(images[:1], layer, units[:1])

    # Fewer steps, since each costs the same and only the time is asked for.
    frozen = lucent("batched", layer, units, steps=FROZEN_STEPS, seed=run, frozen=True)
    lanes[FROZEN].add(layer, frozen.seconds / (UNITS * FROZEN_STEPS), ours)


def _warmed(reader: Reader, lucent: ImageMaker) -> None:
    """First calls allocate and choose kernels."""
    units = list(range(UNITS))
    for layer in inputs.TRUNK_LAYERS:
        for own_way in (False, True):
            visualized(reader, layer, units, steps=2, seed=0, own_way=own_way)
        lucent("batched", layer, units, steps=2, seed=0)
        lucent("documented", layer, units[:1], steps=2, seed=0)
