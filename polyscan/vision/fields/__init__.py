"""Receptive fields: the rectangle of the input that a position of an activation map depends on.

One axis at a time: position p of a node depends on inputs p * stride + low .. p * stride + high (both included).
`None` means the whole image: after a pooled gate, a flattened map, or an operation that is not known here.

Behind a transposed convolution, an upsampling or anything else whose field differs from position to position, the span
of each position is computed; `low` and `high` are then the tightest that cover the spans of all positions, and the
stride may be a fraction.
"""

from polyscan.vision.fields.axes import POINT, Axis, Field, merged
from polyscan.vision.fields.walk import fields_of

__all__ = ["POINT", "Axis", "Field", "fields_of", "merged"]
