"""Memory that is used again: blocks are given out, and given out anew when what lay in them is no longer needed."""

from __future__ import annotations

import bisect
from typing import Any

import numpy as np

from gates.arrays import Array
from nngraph.engines.layout import order


class Pool:
    """Blocks of bytes.

    Attributes
    ----------
    bytes : int
        What all blocks take together.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._free: list[tuple[int, int]] = []
        self._blocks: list[Array] = []

    def acquire(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Array, int]:
        """Return an array, in the order of its shape, and the number of its block: the smallest free one that fits."""
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        at = bisect.bisect_left(self._free, (size, -1))
        if at < len(self._free):
            _, block = self._free.pop(at)
        else:
            block = len(self._blocks)
            self._blocks.append(np.empty(size, np.uint8))
            self.bytes += size
        return np.ndarray(shape, dtype, self._blocks[block].data, order=order(shape)), block

    def release(self, block: int) -> None:
        """Take a block back."""
        bisect.insort(self._free, (self._blocks[block].size, block))
