"""Directions of one's own: rows of a `.safetensors` file that are scanned as units of a layer.

They are dictionaries of sparse autoencoders or of matrix factorisations, concept vectors, principal components, probes:
whatever reads a layer linearly. They are judged as the layer's channels are, against the same null.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float32, Float64
from safetensors import SafetensorError, safe_open

from polyscan.errors import JobError, suggestion
from polyscan.inputs.virtual import OF_INPUTS, OWN
from polyscan.job import Job
from polyscan.run import Run
from polyscan.vision.readouts import Reader, ReadPoint

WEIGHTS, BIAS, NAMES, ACTIVATION, OF = "weights", "bias", "names", "activation", "of"
"""What arrays and metadata of a file are called."""
KEY_MARK = "#"
"""Separates a file and the array in it that holds the directions."""
RELU = "relu"


@dataclass(frozen=True, eq=False)
class OwnDirections:
    """Directions of one layer, in the order of their file.

    Args:
        weights: one direction a row, with one number per channel of the layer.
        bias: added to each.
        names: of each; empty if the file names none.
        is_rectified: whether a ReLU follows, as for latents of sparse autoencoders. It changes no positive peak, so the
            units are read without it; but one that is positive on no image is dead.
        of: what they read: OWN, the layer's vectors, or OF_INPUTS, what the layer reads.
    """

    weights: Float32[np.ndarray, "n c"]
    bias: Float64[np.ndarray, " n"]
    names: tuple[str, ...] = ()
    is_rectified: bool = False
    of: str = OWN

    @property
    def digest(self) -> str:
        """Sha256 of everything that a scan takes from them."""
        about = json.dumps([self.weights.shape, self.names, self.is_rectified, self.of]).encode()
        return hashlib.sha256(about + self.weights.tobytes() + self.bias.tobytes()).hexdigest()


def open_directions(job: Job, reader: Reader) -> dict[str, OwnDirections]:
    """The directions of a job by layer, in forward order.

    Raises:
        JobError: if a layer is not scanned, or a file does not hold directions of its layer; see `read_directions`.
    """
    points = {point.layer: point for point in reader.points}
    for layer in job.directions:
        if layer not in points:
            raise JobError(
                f'[directions] "{layer}" is no scanned layer of {reader.network.name}; {suggestion(layer, points)}. '
                "Name one of these, or scan the layer, too (`network.layers`)"
            )
    given = {layer: job.directions[layer] for layer in points if layer in job.directions}
    return {layer: _fitting(reader, points[layer], address) for layer, address in given.items()}


def _fitting(reader: Reader, point: ReadPoint, address: str) -> OwnDirections:
    """The directions of one layer, or of what it reads if their file says so."""
    if what_is_read(address, point.layer) == OWN:
        return read_directions(address, point.layer, point.n_channels)
    inputs = reader.inputs(point.layer)
    if inputs is None:
        raise JobError(
            f"the directions of {point.layer} in {address} are of its inputs, but it does not read them linearly at "
            "each position, as linear layers and 1 x 1 convolutions do; give directions of the layer itself"
        )
    return read_directions(address, point.layer, inputs.n_channels)


def directions_digest(directions: dict[str, OwnDirections]) -> str:
    """Sha256 of directions and of the layers that they read; "" without any."""
    content = "\n".join(f"{layer} {of_layer.digest}" for layer, of_layer in sorted(directions.items()))
    return hashlib.sha256(content.encode()).hexdigest() if content else ""


def check_directions(run: Run, directions: dict[str, OwnDirections]) -> None:
    """Refuses directions that are not those that the scan began with, as on a machine with other files.

    Raises:
        JobError: if they differ from what the driver has recorded.
    """
    recorded: str | None = run.manifest().get("directions", {}).get("digest")
    if recorded is not None and recorded != directions_digest(directions):
        raise JobError(
            f"the directions of {', '.join(directions) or 'this job'} are not those that the scan began with: their "
            "files were changed, or this machine has others. Restore them, or use a new --run"
        )


def read_directions(address: str, layer: str, n_channels: int) -> OwnDirections:
    """The directions that a file holds for a layer.

    Args:
        address: a `.safetensors` file; behind `#` the array of directions, else `weights` or the only array.
        layer: that they read.
        n_channels: of the layer.

    Returns:
        The array's rows [n, n_channels] as float32. Their bias is the array `bias`, or the one whose name ends in
        `bias` where that of the directions ends in `weight` or `weights`; else 0. Names are a JSON list in the file's
        metadata (`names`), or in a file beside it that ends in `.json`.

    Raises:
        JobError: if the file can't be read, has no such array, or its numbers are no directions of this layer; or if it
            has another number of names.
    """
    path, key = split_address(address)
    arrays, metadata = _content(path, layer)
    key = _chosen(path, key, list(arrays))
    weights = _checked(f"{path}, array `{key}`", arrays[key], layer, n_channels)
    bias = _bias(path, _bias_name(key), arrays, len(weights))
    names = _names(path, metadata, len(weights))
    return OwnDirections(weights, bias, names, _is_rectified(path, metadata), metadata.get(OF, OWN))


def what_is_read(address: str, layer: str) -> str:
    """OWN, or OF_INPUTS if the metadata of a file of directions say `of = "inputs"`.

    Raises:
        JobError: if the file can't be read, or says something else.
    """
    path, _ = split_address(address)
    _, metadata = _content(path, layer)
    of = metadata.get(OF, OWN)
    if of not in (OWN, OF_INPUTS):
        raise JobError(f'{path} has of "{of}" in its metadata; allowed: {OWN}, {OF_INPUTS}, or none')
    return of


def split_address(address: str) -> tuple[str, str]:
    """A file, and the name of the array in it; "" if the address names none.

    >>> split_address("sae.safetensors#encoder.weight"), split_address("sae.safetensors")
    (('sae.safetensors', 'encoder.weight'), ('sae.safetensors', ''))
    """
    path, mark, key = address.rpartition(KEY_MARK)
    return (path, key) if mark and path.endswith(".safetensors") else (address, "")


def _content(path: str, layer: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and metadata of a file."""
    try:
        with safe_open(path, framework="pt") as file:  # numpy has no bfloat16
            held = cast("Any", file)
            names = [str(name) for name in held.keys()]  # noqa: SIM118  # it is no dictionary
            return {name: _as_numpy(held.get_tensor(name)) for name in names}, dict(held.metadata() or {})
    except (OSError, ValueError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or error
        raise JobError(
            f"the directions of {layer} can't be read from {path} ({why}); give a .safetensors file with one direction "
            "a row"
        ) from error


def _as_numpy(tensor: Any) -> np.ndarray:
    return tensor.double().numpy() if tensor.is_floating_point() else tensor.numpy()


def _chosen(path: str, key: str, names: list[str]) -> str:
    """The name of the array of directions."""
    others = [name for name in names if name != BIAS]
    if key in names or (not key and WEIGHTS in names):
        return key or WEIGHTS
    if not key and len(others) == 1:
        return others[0]
    what = f"no array `{key}`; {suggestion(key, names)}" if key else f"several arrays: {', '.join(names) or 'none'}"
    raise JobError(f"{path} has {what}. Name the one that holds a direction a row, as in {path}{KEY_MARK}{WEIGHTS}")


def _checked(what: str, array: np.ndarray, layer: str, n_channels: int) -> Float32[np.ndarray, "n c"]:
    """The array as directions of the layer."""
    if array.dtype.kind != "f" or array.ndim != 2 or array.shape[1] != n_channels or not len(array):
        raise JobError(
            f"{what} is of shape {list(array.shape)} and type {array.dtype}; directions of {layer} are floats of shape "
            f"[n, {n_channels}], one row each with one number per channel"
        )
    with np.errstate(over="ignore"):
        weights = array.astype(np.float32)
    _refuse_rows(what, np.asarray(~np.isfinite(weights).all(axis=1)), "is not finite")
    _refuse_rows(what, np.asarray(~weights.any(axis=1)), "is all 0, and answers to nothing")
    return np.ascontiguousarray(weights)


def _refuse_rows(what: str, is_bad: Bool[np.ndarray, " n"], why: str) -> None:
    if is_bad.any():
        first = int(np.flatnonzero(is_bad)[0])
        raise JobError(f"{what}: row {first} {why} ({int(is_bad.sum())} of {len(is_bad)} rows); leave such rows out")


def _bias_name(key: str) -> str:
    """The name of the bias that belongs to an array: `encoder.bias` to `encoder.weight`."""
    stem = key.removesuffix("s").removesuffix("weight")
    return f"{stem}{BIAS}" if stem != key.removesuffix("s") else BIAS


def _bias(path: str, name: str, arrays: dict[str, np.ndarray], n: int) -> Float64[np.ndarray, " n"]:
    if name not in arrays:
        return np.zeros(n)
    bias = arrays[name]
    if bias.shape != (n,) or bias.dtype.kind != "f" or not np.isfinite(bias).all():
        raise JobError(
            f"{path}, array `{name}`, is of shape {list(bias.shape)} and type {bias.dtype}; the bias of {n} directions "
            f"is [{n}] finite floats. Leave it out for 0"
        )
    return bias.astype(np.float64)


def _names(path: str, metadata: dict[str, str], n: int) -> tuple[str, ...]:
    """The names of the directions; empty if there are none."""
    beside = Path(path).with_suffix(".json")
    where, text = f"the metadata of {path}", metadata.get(NAMES)
    if text is None:
        if not beside.is_file():
            return ()
        where, text = str(beside), beside.read_text(encoding="utf-8", errors="replace")
    try:
        names: Any = json.loads(text)
    except ValueError as error:
        raise JobError(f"{where} holds no JSON ({error}); write the names as a list of texts") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in cast("list[Any]", names)):
        raise JobError(f"{where} holds no list of texts; write the names as a JSON list, one for each direction")
    texts = tuple(cast("list[str]", names))
    if len(texts) != n:
        raise JobError(f"{where} has {len(texts)} names for {n} directions; give one for each, in their order")
    return texts


def _is_rectified(path: str, metadata: dict[str, str]) -> bool:
    activation = metadata.get(ACTIVATION, "")
    if activation not in ("", RELU):
        raise JobError(f'{path} has activation "{activation}" in its metadata; allowed: {RELU}, or none')
    return activation == RELU
