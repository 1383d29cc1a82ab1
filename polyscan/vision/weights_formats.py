"""The content of weights files, read without running any code in them.

Law: what a file is, its content tells, not its name; nothing is unpickled but tensors, plain values and the few
harmless classes of `HARMLESS`.
"""

from __future__ import annotations

import argparse
import pathlib
import re
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from polyscan.errors import ModelError

ENDINGS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".th", ".tar", ".pkl", ".pickle", ".pyth", ".chkpt")
"""Endings of weights files."""
NO_WEIGHTS = {
    b"version https://git-lfs": "it is a pointer of Git LFS, not the file itself; fetch it with `git lfs pull`",
    b"\x89HDF": "it is an HDF5 file, as Keras writes; convert it to a PyTorch state dict",
    b"\x1f\x8b": "it is a gzip archive; unpack it and name the file inside",
    b"7z\xbc\xaf": "it is a 7z archive; unpack it and name the file inside",
    b"\x08": "it looks like an ONNX file; name a PyTorch file",
}
"""First bytes of files that are sometimes taken for weights, and what to say of them."""
SAVE = "save the network with torch.save(model.state_dict(), path)"
REFUSED = re.compile(r"GLOBAL ([\w.]+)")


def _harmless() -> list[Any]:
    """Classes without code of their own that checkpoints hold beside weights: numbers, options, paths.

    Each may come with a name that it had in other versions of its package or on other systems.
    """
    dtypes = [kind for name, kind in vars(np.dtypes).items() if name.endswith("DType") and name != "ObjectDType"]
    scalar: Any = np.float64(0).__reduce__()[0]
    scalars = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    paths = [
        (kind, f"pathlib{module}.{name}")
        for kind, names in (
            (pathlib.PurePosixPath, ("PosixPath", "PurePosixPath")),
            (pathlib.PureWindowsPath, ("WindowsPath", "PureWindowsPath")),
        )
        for module in ("", "._local")
        for name in names
    ]
    return [*scalars, np.dtype, *dtypes, argparse.Namespace, *paths]


HARMLESS = _harmless()


def weights_content(path: Path) -> Any:
    """What the file holds: tensors and plain values.

    Raises:
        ModelError: if it can't be read; the message says what it is instead of weights.
    """
    head = _head(path)
    size = path.stat().st_size
    n_header = int.from_bytes(head[:8], "little")
    try:
        if head[8:9] == b"{" and n_header <= size:
            return load_file(path)
        if why := _no_weights(head, path):
            raise ModelError(f"{path} can't be read as weights: {why}")
        with _harmless_allowed():
            return torch.load(path, map_location="cpu", weights_only=True)
    except ModelError:
        raise
    except Exception as error:  # torch and safetensors raise many kinds of exceptions for files that they can't read
        raise ModelError(f"{path} can't be read as weights: {_unread(path, head, error)}") from error


def _head(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise ModelError(f"the weights {path} are a folder; {_inside(path)}")
        with path.open("rb") as file:
            head = file.read(512)
    except FileNotFoundError as error:
        raise ModelError(f"no weights file at {path}; name an existing .safetensors or .pth file") from error
    except (OSError, ValueError) as error:  # ValueError: a path that no file can have
        raise ModelError(f"the weights file {path} can't be read ({getattr(error, 'strerror', error)})") from error
    if not head:
        raise ModelError(f"{path} can't be read as weights: the file is empty; copy or download it again")
    return head


def _inside(folder: Path) -> str:
    inside = sorted(file.name for file in folder.iterdir() if file.name.endswith(ENDINGS))
    return f"name a file in it: {', '.join(inside[:5])}" if inside else "it holds no weights file"


def _no_weights(head: bytes, path: Path) -> str:
    """What a file is by its first bytes, if it is known to be no weights; "" if it may be."""
    for start, what in NO_WEIGHTS.items():
        if head.startswith(start):
            return what
    if head[257:262] == b"ustar":
        return "it is a tar archive; unpack it and name the file inside"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<"):
        return "it is a web page (HTML), as a failed download leaves; download the file again"
    if path.name.lower().endswith(".safetensors") and head[:2] != b"PK":
        return "it is cut short, damaged or no safetensors file; copy or download it again"
    if all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in head):
        return "it is a text file; name a .safetensors file, or a .pth that holds a state dict"
    return ""


def _unread(path: Path, head: bytes, error: Exception) -> str:
    """Why torch did not read a file, and what to do."""
    classes = _classes_refused(path, error)
    if "TorchScript" in str(error):
        return f"it is a TorchScript archive (torch.jit.save), whose layers can't be read; {SAVE}"
    if any(".nn." in name or name.startswith(("torchvision.", "timm.")) for name in classes):
        return f"it is a whole pickled network, which runs code when it is read (no pickled code is run); {SAVE}"
    if classes:
        return (
            f"it holds objects of {', '.join(classes[:3])}, which run code when they are read (no pickled code is "
            f"run); {SAVE}"
        )
    if head.startswith((b"PK", b"\x80")) or path.name.lower().endswith(".safetensors"):
        return f"it is cut short, damaged or no PyTorch file ({_first_line(error)}); copy or download it again"
    return f"it is no PyTorch file ({_first_line(error)}); name a .safetensors file, or a .pth that holds a state dict"


def _classes_refused(path: Path, error: Exception) -> list[str]:
    """The classes and functions that a pickle asks for and that are not allowed."""
    try:
        with _harmless_allowed():
            return torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except Exception:  # not a zip file, or damaged: torch names only the first one, in its message
        return REFUSED.findall(str(error))


def _harmless_allowed() -> AbstractContextManager[Any]:
    allowed = getattr(torch.serialization, "safe_globals", None)  # new in torch 2.5
    return allowed(HARMLESS) if allowed else nullcontext()


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:160]
