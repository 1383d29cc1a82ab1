"""Receptive fields: the rectangle of the input that a position of an activation map depends on.

One axis at a time: position p of a node depends on inputs p * stride + low .. p * stride + high (both included).
`None` means the whole image: after a pooled gate, a flattened map, or an operation that is not known here.
"""

from polyscan.vision.fields.axes import POINT, Axis, Field, merged
from polyscan.vision.fields.walk import fields_of

__all__ = ["POINT", "Axis", "Field", "fields_of", "merged"]
