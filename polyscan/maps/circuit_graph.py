"""The graph of a circuit: the lower units that drive a unit, for each cluster of its exemplars, layer by layer.

Each lower layer is a column, the unit stands at the right. A bar is as long as a lower unit's share of the relevance,
with its interval; a ribbon is as thick as the share of the unit's value that comes through the layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from polyscan.maps.figures.paper import CLUSTER_COLORS, INK, QUIET, RULE

WIDTH, GAP, ROW, HEAD, BLOCK_GAP, LABEL = 230, 90, 18, 34, 22, 46  # px
BAR = WIDTH - LABEL - 44
THICKEST, THINNEST = 26.0, 1.0


@dataclass(frozen=True)
class Source:
    """A lower unit: its channel, its mean share of the relevance, and the ends of its interval."""

    channel: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class LowerLayer:
    """One lower layer.

    Args:
        layer: its name.
        sources: for each cluster the lower units, largest share first.
        carried: for each cluster the share of the unit's value that comes through the layer.
    """

    layer: str
    sources: Mapping[int, Sequence[Source]]
    carried: Mapping[int, float]


def circuit_graph(unit: str, columns: Sequence[LowerLayer], sizes: Mapping[int, int]) -> str:
    """The graph as a self-contained SVG.

    Args:
        unit: the unit's name.
        columns: the lower layers, deepest last.
        sizes: number of exemplars in each cluster, for the clusters in the order of their rows.
    """
    blocks = _blocks(columns, sizes)
    height = max((bottom for _, bottom in blocks.values()), default=HEAD) + BLOCK_GAP
    width = len(columns) * (WIDTH + GAP) + 150
    top = max((each.high for column in columns for some in column.sources.values() for each in some), default=1.0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" font-family="sans-serif" font-size="11" fill="{INK}">',
        f"<title>What drives {escape(unit)}: {escape(_told(columns))}</title>",
    ]
    for number, column in enumerate(columns):
        left = number * (WIDTH + GAP)
        parts.append(f'<text x="{left}" y="16" font-weight="bold">{escape(column.layer)}</text>')
        for cluster, (upper, _) in blocks.items():
            parts += _bars(column.sources.get(cluster, ()), left, upper, _color(cluster), max(top, 1e-9))
        parts += _ribbons(column, left + WIDTH, blocks)
    parts += _unit(unit, width - 150, blocks, sizes)
    return "\n".join([*parts, "</svg>\n"])


def _told(columns: Sequence[LowerLayer]) -> str:
    """The strongest lower unit of each cluster, in words."""
    words = [
        f"{column.layer}:{sources[0].channel} gives {sources[0].share:.0%} for cluster {cluster + 1}"
        for column in columns
        for cluster, sources in column.sources.items()
        if sources
    ]
    return "; ".join(words) or "nothing"


def _blocks(columns: Sequence[LowerLayer], sizes: Mapping[int, int]) -> dict[int, tuple[int, int]]:
    """Upper and lower edge of each cluster's rows."""
    blocks: dict[int, tuple[int, int]] = {}
    upper = HEAD
    for cluster in sizes:
        rows = max((len(column.sources.get(cluster, ())) for column in columns), default=0)
        blocks[cluster] = (upper, upper + max(1, rows) * ROW)
        upper += max(1, rows) * ROW + BLOCK_GAP
    return blocks


def _color(cluster: int) -> str:
    return CLUSTER_COLORS[cluster % len(CLUSTER_COLORS)]


def _bars(sources: Sequence[Source], left: int, upper: int, color: str, top: float) -> Iterator[str]:
    """A row for each lower unit: its channel, a bar, the interval as a line, and the share in percent."""
    for number, each in enumerate(sources):
        y = upper + number * ROW
        start = left + LABEL
        low, high, end = (max(value, 0) / top * BAR for value in (each.low, each.high, each.share))
        yield f'<text x="{start - 6}" y="{y + 12}" text-anchor="end">{each.channel}</text>'
        yield f'<rect x="{start}" y="{y + 3}" width="{end:.1f}" height="{ROW - 6}" fill="{color}" fill-opacity=".75"/>'
        yield f'<path d="M{start + low:.1f} {y + ROW / 2}H{start + high:.1f}" stroke="{INK}"/>'
        yield f'<text x="{start + max(high, end) + 5:.1f}" y="{y + 12}" fill="{QUIET}">{each.share:.1%}</text>'


def _ribbons(column: LowerLayer, left: int, blocks: Mapping[int, tuple[int, int]]) -> Iterator[str]:
    """A ribbon for each cluster towards what stands at the right."""
    for cluster, (upper, lower) in blocks.items():
        carried = column.carried.get(cluster, 0.0)
        thick = THINNEST + (THICKEST - THINNEST) * min(max(carried, 0.0), 1.0)
        y = (upper + lower) / 2
        yield (
            f'<path d="M{left} {y}H{left + GAP}" stroke="{_color(cluster)}" stroke-opacity=".4" '
            f'stroke-width="{thick:.1f}"><title>{carried:.0%} of the value comes through {escape(column.layer)}'
            "</title></path>"
        )
        yield f'<text x="{left + GAP / 2}" y="{y + 4}" text-anchor="middle">{carried:.0%}</text>'


def _unit(unit: str, left: int, blocks: Mapping[int, tuple[int, int]], sizes: Mapping[int, int]) -> Iterator[str]:
    """The unit, and a box for each cluster of its exemplars."""
    yield f'<text x="{left}" y="16" font-weight="bold">{escape(unit)}</text>'
    for cluster, (upper, lower) in blocks.items():
        y = (upper + lower) / 2
        yield f'<rect x="{left}" y="{y - 15}" width="140" height="30" rx="4" fill="white" stroke="{_color(cluster)}"/>'
        yield f'<text x="{left + 10}" y="{y + 4}">cluster {cluster + 1}: {sizes[cluster]} images</text>'
    if len(blocks) > 1:
        ends = [(upper + lower) / 2 for upper, lower in blocks.values()]
        yield f'<path d="M{left + 145} {ends[0]}V{ends[-1]}" stroke="{RULE}" stroke-width="3"/>'
