"""The batches of an epoch: which rows, in what order, and the steps that have them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from gates.arrays import Array
from nngraph.nodes import Node
from nngraph.steps import Steps

Order: TypeAlias = bool | Callable[[int], Any]


class Batches:
    """The batches of an epoch, each as steps that have its data.

    Parameters
    ----------
    data : mapping from node to array
        All rows.
    size : int
        How many rows a batch has; the last one of an epoch may have fewer.
    shuffle : bool or callable
        Whether the rows come in another order in every epoch; or ``shuffle(rows)``, which returns it.
    rng : numpy.random.Generator
    steps_on : callable
        Returns new steps on some data.
    weights : array of shape (rows,), optional
        What each row weighs.

    Attributes
    ----------
    rows, count : int
        How many rows and batches there are.
    weight : float
        What all rows weigh.
    present : array or None
        The numbers of the rows of the present batch, None for all.
    """

    def __init__(
        self,
        data: Mapping[Node, Array],
        size: int,
        rng: np.random.Generator,
        steps_on: Callable[[Mapping[Node, Array]], Steps],
        *,
        shuffle: Order,
        weights: Array | None = None,
    ) -> None:
        self.rows = len(next(iter(data.values())))
        self.count = -(-self.rows // size)
        self.weight = float(self.rows if weights is None else weights.sum())
        self._data, self._size, self._rng, self._shuffle = data, size, rng, shuffle
        self._steps_on, self._weights = steps_on, weights
        self.present: Array | None = None
        self._steps: dict[int, tuple[Steps, Callable[[Array], bool]]] = {}

    def __iter__(self) -> Iterator[tuple[Steps, int, float]]:
        """Give the steps on every batch, its rows, and what it weighs."""
        if self.count == 1:
            yield self._steps_on(self._data), self.rows, self.weight
            return
        order = self._order()
        for start in range(0, self.rows, self._size):
            rows = order[start : start + self._size]
            self.present = rows
            weight = len(rows) if self._weights is None else float(self._weights.take(rows).sum())
            yield self._take(rows), len(rows), weight

    def _order(self) -> Array:
        if not callable(self._shuffle):
            return self._rng.permutation(self.rows) if self._shuffle else np.arange(self.rows)
        order = np.asarray(self._shuffle(self.rows))
        if order.shape != (self.rows,) or order.dtype.kind not in "iu" or order.min() < 0 or order.max() >= self.rows:
            raise ValueError(
                f"shuffle must return the numbers of {self.rows} rows, from 0 to {self.rows - 1}, got {order!r}"
            )
        return order

    def _take(self, rows: Array) -> Steps:
        steps, take = self._steps.get(len(rows), (None, None))
        if steps is None or take is None or not take(rows):
            steps = self._steps_on({node: array[rows] for node, array in self._data.items()})
            self._steps[len(rows)] = steps, steps.taker(self._data)
        return steps
