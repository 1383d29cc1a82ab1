"""How the inputs and settings of runs differ, and whether their channels correspond, from `run.json` and `layers`."""

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
"""Settings that change only how long a scan takes, not its numbers."""
IDENTITY = frozenset(("network.name", "network.weights", "network.weights_key"))
"""Settings that name what is compared, and so are not listed as differences."""
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
"""First part of a setting -> what differs if the setting does, so that numbers are on different scales."""
STEP = re.compile(r"(?<![a-z])(global[-_]?step|epoch|step|iteration|iter|checkpoint|ckpt)([-_=.]?)\d+", re.IGNORECASE)


class Correspondence(NamedTuple):
    """Whether units of two runs correspond, and a sentence that says how this is known."""

    holds: bool
    why: str


def correspondence(first: ComparedRun, other: ComparedRun, same_training: bool | None) -> Correspondence:
    """Whether channel i of a layer is the same unit in both runs, at two points of one training.

    `run.json` has the network's name and the name and digest of its weights, but nothing about their training. So it is
    known only if the weights are the same, or if the user or the names of the weights say so.

    Raises:
        JobError: if the user says that units correspond, but the layers differ.
    """
    names = f"{first.name} and {other.name}"
    unlike = _layer_difference(first, other)
    if same_training is not None:
        return _by_option(names, unlike, same_training)
    if unlike:
        return Correspondence(False, f"Units of {names} are not compared: {unlike}, so channels can't correspond.")
    return _by_weights(first, other)


def _by_option(names: str, unlike: str, same_training: bool) -> Correspondence:
    """What the user says; refused if units are said to correspond although layers differ."""
    if not same_training:
        return Correspondence(
            False, f"Units of {names} are not compared: --different-trainings says that they don't correspond."
        )
    if unlike:
        raise JobError(
            f"--same-training says that {names} are checkpoints of one training, but {unlike}; leave it out, or "
            "compare runs whose layers are the same"
        )
    return Correspondence(
        True, f"Units of {names} are compared one by one, because --same-training says that they correspond."
    )


def _by_weights(first: ComparedRun, other: ComparedRun) -> Correspondence:
    """What the digests and the names of the weights show."""
    names = f"{first.name} and {other.name}"
    if first.digest and first.digest == other.digest:
        return Correspondence(True, f"Units of {names} are compared one by one: both runs have the same weights.")
    networks = [str(run.manifest.get("network", {}).get("name", ABSENT)) for run in (first, other)]
    weights = [str(run.manifest.get("network", {}).get("weights", "")) for run in (first, other)]
    if networks[0] == networks[1] and _is_series(*weights):
        return Correspondence(
            True,
            f"Units of {names} are compared one by one: the names of their weights differ only in the training step. "
            "If they come from different trainings, --different-trainings leaves this out.",
        )
    return Correspondence(
        False,
        f"Units of {names} are not compared: their layers are the same, but run.json does not record whether both "
        "networks come from one training, and channel 3 of one training has nothing to do with channel 3 of another. "
        "If they do, --same-training compares their units.",
    )


def _layer_difference(first: ComparedRun, other: ComparedRun) -> str:
    """The first layer that differs between the runs, in words; empty if all layers are the same."""
    for layer in [*first.widths, *other.widths]:
        if layer not in other.widths or layer not in first.widths:
            return f"only {first.name if layer in first.widths else other.name} has a layer {layer}"
        n_first, n_other = first.widths[layer], other.widths[layer]
        if n_first != n_other:
            return f"layer {layer} has {n_first} units in {first.name} and {n_other} in {other.name}"
    return ""


def _is_series(first: str, other: str) -> bool:
    """Whether two names of weights differ only in the number of a training step.

    >>> _is_series("w/epoch_1.pt", "w/epoch_20.pt"), _is_series("seed_1.pt", "seed_2.pt")
    (True, False)
    """
    return first != other and STEP.sub(r"\1\2#", first) == STEP.sub(r"\1\2#", other)


def differing(runs: Sequence[ComparedRun]) -> list[Differing]:
    """Every input and setting that is not the same in all runs; first those that put numbers on different scales."""
    facts = [dict(_facts(run.manifest)) for run in runs]
    rows: list[Differing] = []
    for name in dict.fromkeys(name for of_run in facts for name in of_run):
        values = [of_run.get(name, ABSENT) for of_run in facts]
        if len(set(values)) > 1:
            rows.append(Differing(name, values, SPOILS.get(name.partition(".")[0], "")))
    return sorted(rows, key=lambda row: not row.spoils)


def _facts(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The inputs, the settings that change numbers, and the version of polyscan."""
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
    """The values of nested settings, by dotted keys in sorted order."""
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
