"""What arrays are asked for as methods, or in place, written as functions; operations of a Program name them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gates.arrays import Array


def astype(x: Array, dtype: Any) -> Array:
    """``x.astype(dtype)``."""
    return x.astype(dtype)


def masked(target: Array, where: Array, ufunc: np.ufunc, *inputs: Any) -> None:
    """``ufunc(*inputs, out=target, where=where)``: an update of the target."""
    ufunc(*inputs, out=target, where=where)
