"""What may be made of a file: nngraph's gates, and types, by their names."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

import numpy as np

import gates
from gates.contract import Gate
from nngraph.storage.file import DTYPES

OURS: Mapping[str, type[Gate]] = {
    name: kind
    for name, kind in vars(gates).items()
    if isinstance(kind, type) and issubclass(kind, Gate) and not inspect.isabstract(kind)
}
# Types that may be settings, and the dtypes of numbers; a complex128 has no place in a file as an array.
TYPES: Mapping[str, type] = {kind.__name__: kind for kind in (bool, int, float)} | {
    f"numpy.{name}": getattr(np, name) for name in DTYPES
}
SCALARS = frozenset([*DTYPES, "complex128"])
