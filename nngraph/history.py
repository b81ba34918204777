"""What a training leaves behind: a number per epoch for everything that was measured."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gates.arrays import Array


class History(Mapping[str, Array]):
    """Columns of numbers, one row per epoch: ``history["loss"]`` is an array of shape (epochs,).

    ``loss`` is the mean loss over the batches of the epoch, each before its step; ``objective`` the same with the
    penalty of the weights at the epoch's beginning; ``rate`` the learning rate of the epoch's last step; ``seconds``
    the time since the training began. Metrics are measured at the end of the epoch, as predictions are made: without
    dropout, with running averages. What is measured on the validation data begins with ``validation_``.

    Attributes
    ----------
    stopped : str
        Why the training ended.

    Examples
    --------
    >>> from nngraph import Model
    >>> model = Model([2, 3, 2], random_state=0)
    >>> history = model.fit([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 1], epochs=3)
    >>> list(history)
    ['loss', 'rate', 'seconds']
    >>> history["loss"].shape
    (3,)
    """

    def __init__(self) -> None:
        self.stopped = ""
        self._rows: list[dict[str, float]] = []

    def append(self, row: dict[str, float]) -> None:
        """Add what was measured in an epoch."""
        self._rows.append(row)

    def rows(self) -> list[dict[str, float]]:
        """Return what was measured, epoch by epoch."""
        return list(self._rows)

    def last(self, name: str) -> float:
        """Return what was measured last; raise KeyError, with what there is, if it was not measured."""
        if not self._rows or name not in self._rows[-1]:
            raise KeyError(self._missing(name))
        return self._rows[-1][name]

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        return len(self._rows)

    def __getitem__(self, name: str) -> Array:
        if name not in self:
            raise KeyError(self._missing(name))
        return np.array([row[name] for row in self._rows])

    def _missing(self, name: str) -> str:
        there = f"there are {', '.join(self)}" if self._rows else "no epoch has ended yet"
        return f"{name!r} was not measured; {there}"

    def __contains__(self, name: object) -> bool:
        return bool(self._rows) and name in self._rows[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows[0] if self._rows else ())

    def __len__(self) -> int:
        return len(self._rows[0]) if self._rows else 0

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {value:.4g}" for name, value in (self._rows[-1] if self._rows else {}).items())
        return f"<History of {self.epochs} epochs: {last}; {self.stopped}>" if last else "<History of 0 epochs>"

    def to_dict(self) -> dict[str, Array]:
        """Return the columns as a dict, as ``pandas.DataFrame`` and ``polars.DataFrame`` take it."""
        return {name: self[name] for name in self}

    def plot(self, **options: Any) -> Any:
        """Draw the losses, and the metrics beside them; see `nngraph.plotting.plot_history`."""
        # matplotlib is loaded by who draws.
        return importlib.import_module("nngraph.plotting").plot_history(self, **options)
