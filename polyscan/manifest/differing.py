"""What differs between a run and the job that would go on with it, in words; such a job is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from polyscan.errors import JobError
from polyscan.inputs import different_layers
from polyscan.run import Run

INPUTS = {
    "network": "the network's weights",
    "code": "the sources of the network's code",
    "images": "the image files, by name and size,",
    "directions": "the directions of [directions]",
    "distance": "the weights of the perceptual distance",
    "embedder": "the weights or the code of the embedder",
    "words": "the words of `embed.vocabulary`",
    "namer": "the weights or the code of the model that names",
    "names": "the words that clusters are named by",
}


def refuse_other_settings(
    run: Run, manifest: Mapping[str, Any], entries: Mapping[str, Any], redone: set[str], images: Sequence[str]
) -> None:
    """Refuses stages whose fingerprints are not those of the run.

    Args:
        run: the results folder.
        manifest: its `run.json`.
        entries: settings, inputs and fingerprint of each stage now.
        redone: stages whose results are about to be deleted.
        images: settings of [images] that differ, in words.

    Raises:
        JobError: with what differs.
    """
    for stage, entry in entries.items():
        before = manifest.get("stages", {}).get(stage)
        if before is None or stage in redone or before["fingerprint"] == entry["fingerprint"]:
            continue
        inputs = _changed(before["inputs"], entry["inputs"], images)
        changed = [*differences(before["settings"], entry["settings"]), *inputs]
        what = "; ".join(changed) or "another version of its tables"
        made_by = manifest.get("versions", {}).get("polyscan")
        by = "" if made_by in (None, version("polyscan")) else f" by polyscan {made_by}"
        raise JobError(
            f"{run.address} was made{by} with other settings or inputs (`{stage}` {before['fingerprint'][:4]}, here "
            f"{entry['fingerprint'][:4]}: {what}). Use a new --run, restore what differs, or redo the stage with "
            f"--redo {stage}."
        )


def refuse_other_values(run: Run, manifest: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Refuses a network whose weights and code look the same but that gives other values, as of another library."""
    before, now = manifest.get("network", {}), about["network"]
    kinds = ("values_on_noise", "values_on_images")
    if layers := [layer for kind in kinds for layer in different_layers(before.get(kind, {}), now[kind])]:
        raise JobError(
            f"{about['network']['name']} gives other values than when {run.address} was made (first at layer "
            f"{layers[0]}): its code, or a library that it uses, has changed. Use a new --run, restore the code, or "
            "redo the stages with --redo survey."
        )


def differences(before: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Each key whose value differs, as `[collect] k: 100 in the run, 64 here`."""
    for key in sorted(set(before) | set(now)):
        old, new = before.get(key), now.get(key)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differences(old, new, f"{path}[{key}] " if not path else f"{path}{key}.")
        else:
            yield f"{path}{key}: {_short(old)} in the run, {_short(new)} here"


def of_images(manifest: Mapping[str, Any], about: Mapping[str, Any]) -> Iterator[str]:
    """The settings of [images] that differ; none if the run does not record them."""
    before = manifest.get("images", {}).get("settings")
    if before is not None:
        yield from differences({"images": before}, {"images": about["images"]["settings"]})


def _changed(before: Mapping[str, str], now: Mapping[str, str], of_images: Sequence[str]) -> Iterator[str]:
    """Each input whose digest differs, in words; of the images the settings, if some differ."""
    for name in now:
        if before.get(name) == now[name]:
            continue
        if name == "images" and of_images:
            yield from of_images
        else:
            yield f"{INPUTS[name]} differ from those of the run"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
