"""How arrays lie in memory: tall thin ones in column order, all others in row order."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from gates.arrays import Array

# The rule, as measured by benchmarks/layout.py on an AMD EPYC (times in rows divided by times in columns, float64):
#
#        n      k = 2   k = 8  k = 32 k = 128 k = 256
#       10       1.4     1.0     0.8     0.6     0.5
#      100       1.8     1.7     1.3     1.0     0.9
#    1,000       6.2     3.6     1.8     1.3     1.1
#   10,000        13     5.0     2.2     1.5     1.2
#
# In column order reductions over the few features, and the broadcast of the bias, run along the many examples; in row
# order NumPy starts an inner loop for every example. Data come in rows, though, and must be turned; from about 32
# columns on that and the products cost what the rest gains. So: columns for at most 32 features, and at least four
# times as many examples.
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
