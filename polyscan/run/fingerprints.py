"""What a stage's tables depend on, as one short hash, and the sentence when it is not what the run was made with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from polyscan.tables import TABLES


def fingerprint(stage: str, settings: Mapping[str, Any], reads: Mapping[str, str]) -> str:
    """Hash of a stage's settings, its tables' schema versions and the fingerprints of what it reads.

    Args:
        stage: its name.
        settings: plain values.
        reads: fingerprint or digest of each thing that it reads, by name.
    """
    versions = {table.name: table.version for table in TABLES.values() if table.stage == stage}
    content = {"stage": stage, "settings": settings, "versions": versions, "reads": dict(reads)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


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


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
