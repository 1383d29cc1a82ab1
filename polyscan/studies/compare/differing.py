"""What the runs were made of, and whether their channels correspond: only as far as `run.json` and `layers` tell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from polyscan.errors import JobError
from polyscan.maps.comparison import Differing
from polyscan.studies.compare.runs import ComparedRun

ABSENT = "not recorded"
COST = frozenset(
    ("batch", "images_per_shard", "units_per_shard", "sets_per_shard", "crops_per_shard", "thumbnail_px", "compile")
)
"""Settings that change how long a scan takes and no number."""
IDENTITY = frozenset(("network.name", "network.weights"))
"""What is compared rather than in the way of comparing."""
SPOILS = {
    "images": "images",
    "embedder": "embedders",
    "embed": "embedders",
    "calibrate": "nulls",
    "survey": "nulls",
    "collect": "exemplars",
    "score": "scores",
    "scores": "scores",
    "network": "networks' inputs or layers",
}
"""First word of a setting, and what differs by it such that numbers are not of the same scale."""
STEP = re.compile(r"(?<![a-z])(global[-_]?step|epoch|step|iteration|iter|checkpoint|ckpt)([-_=.]?)\d+", re.IGNORECASE)


class Correspondence(NamedTuple):
    """Whether units of two runs correspond, and how that is known, as a sentence."""

    holds: bool
    why: str


def correspondence(first: ComparedRun, other: ComparedRun, same_training: bool | None) -> Correspondence:
    """Whether channel i of a layer of the one is what became of channel i of the other.

    `run.json` has the network's name and its weights' name and digest, and nothing of how they were trained. So it is
    known only where weights are one and the same, or where the user or the weights' names say so.

    Raises:
        JobError: if the user says that they correspond, and layers differ.
    """
    names = f"{first.name} and {other.name}"
    unlike = _unlike(first, other)
    if same_training is False:
        return Correspondence(
            False, f"Units of {names} are not compared: --different-trainings says that they don't correspond."
        )
    if unlike and same_training:
        raise JobError(
            f"--same-training says that {names} are checkpoints of one training, but {unlike}; leave it out, or "
            "compare runs of one network's same layers"
        )
    if unlike:
        return Correspondence(False, f"Units of {names} are not compared: {unlike}, so channels can't correspond.")
    if same_training:
        return Correspondence(
            True, f"Units of {names} are compared one by one, because --same-training says that they may be."
        )
    if first.digest and first.digest == other.digest:
        return Correspondence(True, f"Units of {names} are compared one by one: both runs have the same weights.")
    networks = [str(side.manifest.get("network", {}).get("name", ABSENT)) for side in (first, other)]
    weights = [str(side.manifest.get("network", {}).get("weights", "")) for side in (first, other)]
    if networks[0] == networks[1] and _is_series(*weights):
        return Correspondence(
            True,
            f"Units of {names} are compared one by one: their weights' names differ in nothing but the step of a "
            "training. If they are of two trainings all the same, --different-trainings leaves this out.",
        )
    return Correspondence(
        False,
        f"Units of {names} are not compared: layers and widths are the same, but run.json does not record whether one "
        "network is a checkpoint of the other's training, and channel 3 of one training has nothing to do with channel "
        "3 of another. If they are of one training, --same-training compares them.",
    )


def _unlike(first: ComparedRun, other: ComparedRun) -> str:
    """The first layer that is not the same in both; empty where all are."""
    here, there = first.widths, other.widths
    for layer in [*here, *there]:
        if layer not in there or layer not in here:
            return f"only {first.name if layer in here else other.name} has a layer {layer}"
        if here[layer] != there[layer]:
            return f"layer {layer} has {here[layer]} units in {first.name} and {there[layer]} in {other.name}"
    return ""


def _is_series(first: str, other: str) -> bool:
    """Whether two names of weights differ in the number of a step alone.

    >>> _is_series("w/epoch_1.pt", "w/epoch_20.pt"), _is_series("seed_1.pt", "seed_2.pt")
    (True, False)
    """
    return first != other and STEP.sub(r"\1\2#", first) == STEP.sub(r"\1\2#", other)


def differing(sides: Sequence[ComparedRun]) -> list[Differing]:
    """Every input and setting that is not the same in all runs, what spoils the comparison first."""
    facts = [dict(_facts(side.manifest)) for side in sides]
    rows: list[Differing] = []
    for name in dict.fromkeys(name for each in facts for name in each):
        values = [each.get(name, ABSENT) for each in facts]
        if len(set(values)) > 1:
            rows.append(Differing(name, values, SPOILS.get(name.partition(".")[0], "")))
    return sorted(rows, key=lambda row: not row.spoils)


def _facts(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Inputs, settings that change numbers, and the version."""
    network = manifest.get("network", {}).get("digest")
    images, embedder = manifest.get("images", {}), manifest.get("embedder", {})
    for name in ("source", "n", "digest"):
        yield f"images.{name}", _short(images.get(name, ABSENT))
    yield "embedder.name", _short(embedder.get("name", ABSENT))
    digest = embedder.get("digest", ABSENT)
    yield "embedder.digest", _short(digest) + (" (the scanned network itself)" if network == digest else "")
    settings: dict[str, Any] = {}
    for entry in manifest.get("stages", {}).values():
        settings |= entry.get("settings", {})
    for key, value in _flat(settings):
        if key not in IDENTITY and key.rpartition(".")[2] not in COST and key not in ("device", "threads"):
            yield key, _short(value)
    yield "polyscan", _short(manifest.get("versions", {}).get("polyscan", ABSENT))


def _flat(settings: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves by dotted keys, sorted."""
    for key in sorted(settings):
        value = settings[key]
        if isinstance(value, Mapping) and value:
            yield from _flat(cast("Mapping[str, Any]", value), f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    if re.fullmatch(r"[0-9a-f]{64}", text):
        return text[:12]
    return text if len(text) <= 80 else f"{text[:77]}..."
