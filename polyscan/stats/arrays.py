"""The arrays that statistics compute on."""

from __future__ import annotations

from typing import Any, TypeAlias

Array: TypeAlias = Any
"""numpy.ndarray, or torch.Tensor where a stage computes on a GPU; both by the array API standard."""
