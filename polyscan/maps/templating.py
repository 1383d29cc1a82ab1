"""What all pages share: the environment of the templates, and the style, scripts and licences."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, cast

import altair
import jinja2
import vl_convert
from markupsafe import Markup

from polyscan.maps.numbers import count_text, number_text, share_text

CONTENT_POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'"
)
SCRIPTS = (
    *("packed.js", "columns.js", "scale.js", "map.js", "strip.js", "tooltip.js", "find.js", "index.js", "trend.js"),
    *("blocks.js", "tiles.js"),
    *("plot_axis.js", "distribution.js", "scatter.js", "unit_table.js", "layer.js"),
)
STYLES = ("polyscan.css", "unit.css", "layer.css")
EXPORTS = "window.vegaEmbed = vegaEmbed;"
VEGA_LITE = ".".join(altair.SCHEMA_VERSION.split(".")[:2])  # "v6.4.1" is bundled as "v6.4"
IN_SCRIPT = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


@cache
def environment() -> jinja2.Environment:
    """The environment of the templates; it escapes every value."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("polyscan.maps", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(number=number_text, count=count_text, share=share_text, script_json=script_json)
    return templates


def page(template: str, **context: Any) -> bytes:
    """A page in UTF-8, rendered from a template."""
    return environment().get_template(template).render(policy=CONTENT_POLICY, **context).encode()


def script_json(value: object) -> Markup:
    r"""`value` as JSON that is safe inside a script element: no `<`, no NaN.

    >>> script_json({"name": "</script>", "value": float("nan")})
    Markup('{"name":"\\u003c/script\\u003e","value":null}')
    """
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (
        TypeError,
        ValueError,
    ):  # NaN and the like, which `known` replaces; always calling it would take several times longer
        text = json.dumps(known(value), allow_nan=False, separators=(",", ":"))
    return Markup(text.translate(IN_SCRIPT))  # nothing is left that could close the element


def known(value: object) -> object:
    """The same value with None for every number that JSON cannot represent."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): known(item) for key, item in cast("Mapping[object, object]", value).items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [known(item) for item in cast("Sequence[object]", value)]
    return value


def asset_files() -> Iterator[tuple[str, bytes]]:
    """The style, the scripts, the chart library and the licences."""
    folder = files("polyscan.maps") / "assets"
    yield "assets/polyscan.css", b"\n".join((folder / name).read_bytes() for name in STYLES)
    yield "assets/polyscan.js", b"\n".join((folder / name).read_bytes() for name in SCRIPTS)
    yield "assets/LICENSES.txt", (folder / "LICENSES.txt").read_bytes()
    yield "assets/vega.js", vega_bundle()


@cache
def vega_bundle() -> bytes:
    """Vega, Vega-Lite and Vega-Embed in one script, in the Vega-Lite version that Altair writes."""
    return vl_convert.javascript_bundle(EXPORTS, VEGA_LITE).encode()
