"""Circuits as files: a table, JSON, and a graph."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from polyscan.maps.circuit_graph import LowerLayer, Source, circuit_graph
from polyscan.stats.circuit_parts import Driver

if TYPE_CHECKING:
    from polyscan.studies.circuit import Circuit

HEAD = ("unit", "lower", "channel", "cluster", "n", "share", "low", "high", "elsewhere", "how")


def rows_of(circuits: Sequence[Circuit]) -> list[tuple[Any, ...]]:
    """One row for each driver, in the columns of `HEAD`."""
    return [
        (*_of(one, each), each.share, each.low, each.high, each.elsewhere, one.how)
        for one in circuits
        for each in one.drivers
    ]


def _of(one: Circuit, driver: Driver) -> tuple[str, str, int, int, int]:
    return str(one.unit), one.lower, driver.channel, driver.cluster, one.sizes[driver.cluster]


def _csv(circuits: Sequence[Circuit]) -> bytes:
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(HEAD)
    for row in rows_of(circuits):
        writer.writerow("" if isinstance(cell, float) and math.isnan(cell) else cell for cell in row)
    return sink.getvalue().encode()


def _json(circuits: Sequence[Circuit]) -> bytes:
    content = [{**asdict(one), "unit": str(one.unit)} for one in circuits]
    return json.dumps(_without_nan(content), indent=1).encode()


def _without_nan(value: Any) -> Any:
    """The same with None in place of nan, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _svg(circuits: Sequence[Circuit]) -> bytes:
    return circuit_graph(str(circuits[0].unit), [_column(one) for one in circuits], circuits[0].sizes).encode()


def _column(one: Circuit) -> LowerLayer:
    sources = {
        cluster: tuple(
            Source(each.channel, each.share, each.low, each.high) for each in one.drivers if each.cluster == cluster
        )
        for cluster in one.sizes
    }
    return LowerLayer(one.lower, sources, one.carried)


CONTENTS: Mapping[str, Callable[[Sequence[Circuit]], bytes]] = {".csv": _csv, ".json": _json, ".svg": _svg}
ENDINGS = tuple(CONTENTS)


def content_of(circuits: Sequence[Circuit], ending: str) -> bytes:
    """The content of a file with one of `ENDINGS`."""
    return CONTENTS[ending](circuits)
