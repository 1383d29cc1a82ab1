"""Weights from files: which of a file's tensors a network takes, and what to do where none fit."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from polyscan.errors import ModelError
from polyscan.vision.checkpoints import Candidate, chosen, unwrapped
from polyscan.vision.own_code import own_errors
from polyscan.vision.weights_formats import ENDINGS, weights_content

log = logging.getLogger(__name__)


def is_weights_file(weights: str) -> bool:
    """Whether the name is that of a file, not of a library's weights."""
    if weights.lower().endswith(ENDINGS) or "/" in weights or "\\" in weights:
        return True
    with suppress(OSError, ValueError):  # a name that no file can have
        return Path(weights).is_file()
    return False


def load_weights_file(module: nn.Module, path: Path, name: str, *, key: str = "", class_option: str = "") -> str:
    """Loads a file's weights into a network.

    Args:
        module: the network.
        path: a file that holds a state dict, or a checkpoint around one.
        name: the network's name, for messages.
        key: `network.weights_key`: which set of weights in the file.
        class_option: the option of the network that sets its number of classes, for messages; "" if not known.

    Returns:
        What was taken, as a sentence.

    Raises:
        ModelError: if the file does not exist, can't be read, or holds weights of another architecture.
    """
    content = weights_content(path)
    own = module.state_dict()
    expected = {name: value for name, value in own.items() if isinstance(value, Tensor)}
    candidate = chosen(content, expected, key, str(path))
    if candidate.n_faults:
        raise ModelError(_mismatch(candidate, path, name, class_option))
    with own_errors(f"loading {path.name} into {name}"):
        module.load_state_dict(_renamed(candidate.state, own), strict=False)
    log.info("weights of %s: %s%s", name, path.name, candidate.taken)
    return f"{path.name}{candidate.taken}"


def _renamed(state: Mapping[str, Any], own: Mapping[str, Any]) -> OrderedDict[str, Any]:
    """The state under the names of the network, which may have wrappers of its own, and as of its version."""
    renamed = OrderedDict((name, state[unwrapped(name)]) for name in own if unwrapped(name) in state)
    # Some modules (MNASNet) ask for the version; names and shapes are those of the present one.
    renamed._metadata = getattr(own, "_metadata", {})  # pyright: ignore[reportAttributeAccessIssue]
    return renamed


def _mismatch(candidate: Candidate, path: Path, name: str, class_option: str) -> str:
    """What does not fit, and what to do about it."""
    where = f"{path.name} {candidate.key!r}" if candidate.key else path.name
    if options := _options(candidate, name, class_option):
        return f"{where} holds weights of {name} with {options}"
    return (
        f"{where} holds the weights of another architecture than {name}: {candidate.difference}; "
        "check `network.name` and `network.weights`"
    )


def _options(candidate: Candidate, name: str, class_option: str) -> str:
    """The options with which the network would fit, if it differs in its number of classes alone."""
    pairs = list(candidate.wrong.values())
    counts = {(got[0], own[0]) for got, own in pairs if got and own and got[1:] == own[1:]}
    is_head = len(counts) == 1 and len(pairs) == candidate.n_faults
    if not is_head or not all(got[1:] == own[1:] for got, own in pairs):
        return ""
    ((n, before),) = counts
    if not class_option:
        return (
            f"{n} classes, not {before}: let your function take the number of classes, as in `num_classes`, and set "
            f"network.options = {{num_classes = {n}}}"
        )
    return f"{n} classes, not {before}: set network.options = {{{class_option} = {n}}}"
