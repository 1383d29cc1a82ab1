"""Tables of text vectors: what a text tower gave for each of some words, kept in a file.

A table is written `FILE.safetensors#KEY`, KEY the array's name, or `FILE.safetensors` if it holds only one. The names
of its rows are looked for in the file's metadata (a JSON list at KEY), then in `FILE.json` and `names.json` beside it:
a list, or an object with a list at KEY or at a beginning of KEY (`imagenet` for `imagenet_vit_b32`). They can be given:
`FILE.safetensors#KEY|NAMES.json#KEY2`. Names are always those of the table; no text tower is needed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Float32
from safetensors import SafetensorError, safe_open

from polyscan.errors import ModelError, nearest

ENDING = ".safetensors"
MOST_NAMED = 3


@dataclass(frozen=True, eq=False)
class TextTable:
    """Words and their vectors.

    Args:
        address: as the user wrote it.
        names: of the rows; a name may occur twice.
        vectors: of length 1.
    """

    address: str
    names: tuple[str, ...]
    vectors: Float32[np.ndarray, "w d"]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def digest(self) -> str:
        """Sha256 of names and vectors."""
        return hashlib.sha256(json.dumps(self.names).encode() + self.vectors.tobytes()).hexdigest()

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """The first row of each name."""
        return {name: row for row, name in reversed(list(enumerate(self.names)))}

    @property
    def distinct_names(self) -> tuple[str, ...]:
        """The names, each once."""
        return tuple(dict.fromkeys(self.names))

    def words(self, phrases: Sequence[str]) -> Float32[np.ndarray, "n d"]:
        """The vectors of these names, as a text tower would give them.

        Raises:
            ModelError: if some are not in the table; it says which, and how many.
        """
        unknown = [phrase for phrase in phrases if phrase not in self.rows]
        if unknown:
            first = ", ".join(f'"{word}" (nearest: {nearest(word, self.names)})' for word in unknown[:MOST_NAMED])
            more = " ..." if len(unknown) > MOST_NAMED else ""
            raise ModelError(
                f"{len(unknown)} of {len(phrases)} words are not in the table {self.address}, which has "
                f"{len(self):,}: {first}{more}. Without a text tower only words of a table have vectors; take these, "
                "or set `vocabulary` to a table that has them"
            )
        return self.vectors[[self.rows[phrase] for phrase in phrases]]


def is_text_table(address: str) -> bool:
    """Whether a setting names a table of text vectors, rather than a text file of words."""
    return ENDING in address.partition("|")[0].lower()


def load_text_table(address: str) -> TextTable:
    """Reads a table.

    Raises:
        ModelError: if the file, the array or the names are missing, or don't fit each other.
    """
    place, _, of_names = address.partition("|")
    path, _, key = place.partition("#")
    key, vectors, metadata = _array(Path(path), key, address)
    names = _given_names(of_names, address) if of_names else _found_names(Path(path), key, metadata, address)
    if len(names) != len(vectors):
        raise ModelError(
            f"the table {address} has {len(vectors)} rows, but {len(names)} names; there must be one for each row. "
            f"Name the right list, as in {path}#{key}|names.json#KEY"
        )
    return TextTable(address, names, _normalised(vectors, address))


def _array(path: Path, key: str, address: str) -> tuple[str, Float32[np.ndarray, "w d"], Mapping[str, str]]:
    try:
        with safe_open(path, "np") as file:  # pyright: ignore[reportUnknownVariableType]  # it has no types
            opened = cast("Any", file)
            keys: list[str] = sorted(opened.keys())
            if not key and len(keys) == 1:
                key = keys[0]
            if key not in keys:
                raise ModelError(
                    f"the table {address} names {f'the array `{key}`' if key else 'no array'}; {path} has "
                    f"{', '.join(keys) or 'none'}. Write {path}#{keys[0] if keys else 'KEY'}"
                )
            return key, np.asarray(opened.get_tensor(key)), opened.metadata() or {}
    except (OSError, SafetensorError, TypeError) as error:  # TypeError: a kind of number that numpy has not
        raise ModelError(
            f"the table {address} can't be read ({str(error).partition(chr(10))[0]}); name a .safetensors file with an "
            "array of one row per word"
        ) from error


def _normalised(vectors: Any, address: str) -> Float32[np.ndarray, "w d"]:
    if vectors.ndim != 2 or not np.issubdtype(vectors.dtype, np.floating) or not len(vectors):
        raise ModelError(
            f"the table {address} is of {vectors.dtype}, {tuple(vectors.shape)}; it must be numbers with one row per "
            "word: [words, dimensions]"
        )
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    if bad := np.flatnonzero(~(np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0))).tolist():
        raise ModelError(
            f"row {bad[0]} of the table {address} is 0 or not finite ({len(bad)} such rows); each word needs a vector. "
            "Leave these rows out"
        )
    return (wide / lengths).astype(np.float32)


# ---- names of rows ---------------------------------------------------------------------------------------------------


def _given_names(place: str, address: str) -> tuple[str, ...]:
    path, _, key = place.partition("#")
    content = _json(Path(path), address)
    if content is None:
        raise ModelError(f"the names of the table {address} can't be read: there is no {path}; name a JSON file")
    names = content if not key else _entry(content, key)
    if not _is_names(names):
        has = ", ".join(map(str, cast("Mapping[str, Any]", content))) if isinstance(content, dict) else "a list"
        raise ModelError(f"{place} is no list of names of the table {address}; {path} has {has}. Name a list of texts")
    return tuple(cast("Sequence[str]", names))


def _found_names(path: Path, key: str, metadata: Mapping[str, str], address: str) -> tuple[str, ...]:
    """The names in the metadata or in a file beside the table."""
    for content in _beside(path, metadata, address):
        names = content if _is_names(content) else _entry(content, key)
        if _is_names(names):
            return tuple(cast("Sequence[str]", names))
    raise ModelError(
        f"the table {address} has no names of its rows: neither at `{key}` in its metadata, nor in "
        f"{path.with_suffix('.json').name} or names.json beside it. Name them, as in {path}#{key}|names.json#KEY"
    )


def _beside(path: Path, metadata: Mapping[str, str], address: str) -> Iterator[Any]:
    yield {key: _parsed(text) for key, text in metadata.items()}
    for beside in (path.with_suffix(".json"), path.with_name("names.json")):
        yield _json(beside, address)


def _json(path: Path, address: str) -> Any:
    """The file's content; None if there is no such file."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ModelError(f"the names of the table {address} can't be read: {path} is no JSON ({error})") from error


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _entry(content: Any, key: str) -> Any:
    """The list at a key, else at the longest beginning of it that ends before a `_`."""
    if not isinstance(content, dict):
        return None
    lists = cast("dict[str, Any]", content)
    fitting = [name for name in lists if name == key or key.startswith(f"{name}_")]
    return lists[max(fitting, key=len)] if fitting else None


def _is_names(names: Any) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) for name in cast("list[Any]", names)) and names != []
