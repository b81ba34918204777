"""How arrays lie in memory: tall thin ones in column order, all others in row order."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from gates.arrays import Array

# The rule, as measured (see benchmarks/layout.py): in column order, reductions over the few features and the bias's
# broadcast run along the many examples; in row order NumPy starts an inner loop for every example. From about 32
# columns on, these loops are long enough, and matrix products like rows better.
MOST_COLUMNS = 32


def order(shape: tuple[int, ...]) -> Literal["C", "F"]:
    """Return the memory order for a shape: the same for all arrays of one shape, so that they meet in step."""
    tall = len(shape) == 2 and 1 < shape[1] <= MOST_COLUMNS and shape[0] >= 4 * shape[1]
    return "F" if tall else "C"


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an array in the order of its shape."""
    return np.empty(shape, dtype, order(shape))


def fits(array: Array) -> bool:
    """Whether an array lies as its shape wants it."""
    return bool(array.flags.f_contiguous if order(array.shape) == "F" else array.flags.c_contiguous)
