"""How long polyscan takes until its images are as strong as those of 256 steps of torch-lucent 0.1.8, in its own time.

`layer3`, 8 units, 128 px, no augmentation, the mean of the channel; lucent's best batched call. Strength is the median
over the images of what the neutral judge reads on them. polyscan's steps are as large as rises fastest where nothing
jitters; it is tried with so many of them as `STEPS_TRIED` names, from the middle up or down, and the time is that of
the whole call with the fewest that reaches lucent's median. lucent's own call with as many steps of that size stands
beside it (`lucent_same_steps`): what of the ratio is the size of the steps alone. Where the most do not, the line says
so and has no ratio.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks import inputs
from benchmarks.peers.rival import LUCENT, ImageMaker
from benchmarks.race import Outcome, Skipped, Target
from benchmarks.races.reached import reached
from benchmarks.races.visualizing import units_of, visualized
from polyscan.vision.readouts import Reader

LAYER, UNITS, LUCENT_STEPS = "layer3", 8, 256
STEP_SIZE = 0.2
RUNS = 2  # each takes more than a minute
STEPS_TRIED = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
NAME = "activation_time_vs_lucent"
TARGETS = {
    NAME: Target(1 / 6, "polyscan's time to the median activation of lucent's 256 steps / lucent's", at_most=True)
}

Tried = dict[int, tuple[float, float]]
"""By number of steps: seconds, and median activation."""


def outcomes() -> dict[str, Outcome]:
    """The line of the race."""
    reader = Reader(inputs.trunk_network(), list(inputs.TRUNK_LAYERS.values()))
    found: dict[str, list[float]] = {name: [] for name in ("lucent_s", "polyscan_s", "steps", "lucent", "polyscan")}
    same_steps: list[dict[str, float]] = []
    place = len(STEPS_TRIED) // 2
    with ImageMaker(LUCENT) as lucent:
        visualized(reader, LAYER, range(UNITS), steps=2, seed=0)  # first calls allocate and choose kernels
        lucent("batched", LAYER, list(range(UNITS)), steps=2, seed=0)
        for run in range(RUNS):
            units = units_of(reader, LAYER, run, UNITS)
            theirs = lucent("batched", LAYER, units, steps=LUCENT_STEPS, seed=run)
            wanted = statistics.median(reached(theirs.images, LAYER, units))
            place, (took, strength) = _fewest(reader, units, run, wanted, place)
            row = (theirs.seconds, took, STEPS_TRIED[place], wanted, strength)
            same = lucent("batched", LAYER, units, steps=STEPS_TRIED[place], seed=run, step_size=STEP_SIZE)
            strength = statistics.median(reached(same.images, LAYER, units))
            same_steps.append({"seconds": same.seconds, "activation": strength})
            for values, value in zip(found.values(), row, strict=True):
                values.append(value)
    notes = {
        "seconds": {"lucent": found["lucent_s"], "polyscan": found["polyscan_s"]},
        "polyscan_steps": found["steps"],
        "lucent_same_steps": same_steps,
        "activation": {
            "polyscan": statistics.median(found["polyscan"]),
            "lucent": statistics.median(found["lucent"]),
            "runs": {"polyscan": found["polyscan"], "lucent": found["lucent"]},
        },
    }
    times = [ours / theirs for ours, theirs in zip(found["polyscan_s"], found["lucent_s"], strict=True)]
    return {NAME: Outcome(TARGETS[NAME], times, notes)}


def _fewest(
    reader: Reader, units: Sequence[int], seed: int, wanted: float, place: int
) -> tuple[int, tuple[float, float]]:
    """The lowest place in `STEPS_TRIED` at which the activation is reached, sought from where it was last found."""
    tried: Tried = {}

    def reaches(at: int) -> bool:
        took, images = visualized(reader, LAYER, units, steps=STEPS_TRIED[at], seed=seed, step_size=STEP_SIZE)
        tried[at] = took, statistics.median(reached(images, LAYER, units))
        return tried[at][1] >= wanted

    if reaches(place):
        while place and reaches(place - 1):
            place -= 1
        return place, tried[place]
    while place + 1 < len(STEPS_TRIED):
        place += 1
        if reaches(place):
            return place, tried[place]
    most = STEPS_TRIED[-1]
    raise Skipped(f"{most} steps of polyscan reach {tried[place][1]:.3f}, {LUCENT_STEPS} of lucent {wanted:.3f}")
