"""Gates that sum, rearrange, join and select: what changes is the shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gates.arrays import Array, first
from gates.contract import Gate, GateError

Axis = int | tuple[int, ...] | None


class SumGate(Gate):
    """``Z = sum(X, axis)``; dX repeats dZ along the summed axes.

    Parameters
    ----------
    axis : int, tuple of ints or None, default=None
        The axes to sum over, None for all.
    keepdims : bool, default=False
        Whether these axes stay, with length one.
    """

    def __init__(self, axis: Axis = None, keepdims: bool = False) -> None:
        # Any: NumPy's stubs know no sum whose axis may or may not be None.
        self.axis: Any = axis
        self.keepdims: Any = keepdims

    def forward(self, X: Array) -> Array:
        Z: Array = X.sum(axis=self.axis, keepdims=self.keepdims)
        return Z

    def backward(self, X: Array, dZ: Array) -> Array:
        if not self.keepdims:
            dZ = np.expand_dims(dZ, tuple(range(X.ndim)) if self.axis is None else self.axis)
        return np.broadcast_to(dZ, X.shape)


class MeanGate(SumGate):
    """``Z = mean(X, axis)``; dX repeats ``dZ / m`` along the averaged axes, m elements in each mean.

    Parameters
    ----------
    axis : int, tuple of ints or None, default=None
        The axes to average over, None for all.
    keepdims : bool, default=False
        Whether these axes stay, with length one.
    """

    def forward(self, X: Array) -> Array:
        Z: Array = X.mean(axis=self.axis, keepdims=self.keepdims)
        return Z

    def backward(self, X: Array, dZ: Array) -> Array:
        return super().backward(X, dZ * (dZ.size / max(X.size, 1)))


class VarianceGate(MeanGate):
    """``Z = mean((X - mean(X))^2, axis)``; ``dX = 2 (X - mean(X)) dZ / m``, m elements in each mean.

    The variance of the elements themselves: the sum of squares is divided by m, not by m - 1.

    Parameters
    ----------
    axis : int, tuple of ints or None, default=None
        The axes along which the variance is taken, None for all.
    keepdims : bool, default=False
        Whether these axes stay, with length one.
    """

    def forward(self, X: Array) -> Array:
        C = self._centred(X)
        return super().forward(C * C)

    def backward(self, X: Array, dZ: Array) -> Array:
        # C adds up to zero, so that what reaches X by way of the mean does, too.
        return self._centred(X) * super().backward(X, 2 * dZ)

    def _centred(self, X: Array) -> Array:
        mean = super().forward(X)
        # One number, and a mean over the first axis, broadcast as they are.
        if not (self.keepdims or self.axis in (None, 0)):
            mean = np.expand_dims(mean, self.axis)
        return X - mean


class ReshapeGate(Gate):
    """``Z = reshape(X, shape)``; ``dX = reshape(dZ, X.shape)``.

    Parameters
    ----------
    shape : int or tuple of ints
        The new shape; one length may be -1 and is inferred.
    """

    def __init__(self, shape: int | Sequence[int]) -> None:
        self.shape = shape

    def forward(self, X: Array) -> Array:
        return X.reshape(self.shape)

    def backward(self, X: Array, dZ: Array) -> Array:
        return dZ.reshape(X.shape)


class TransposeGate(Gate):
    """``Z = transpose(X, axes)``; dX is dZ under the inverse permutation.

    Parameters
    ----------
    axes : sequence of ints or None, default=None
        The permutation of the axes, None to reverse them.
    """

    def __init__(self, axes: Sequence[int] | None = None) -> None:
        self.axes = axes

    def forward(self, X: Array) -> Array:
        return X.transpose(self.axes)

    def backward(self, X: Array, dZ: Array) -> Array:
        # The axes may count from the end; argsort needs them counted from the start.
        return dZ.transpose(None if self.axes is None else np.argsort(np.arange(X.ndim)[list(self.axes)]).tolist())


class ConcatenateGate(Gate):
    """``Z = [X1, X2, ...]`` joined along an axis; each dXi is its own stretch of dZ.

    Parameters
    ----------
    axis : int, default=0
        The axis along which the inputs are joined; their other lengths are equal.
    """

    def __init__(self, axis: int = 0) -> None:
        self.axis = axis

    def forward(self, *X: Array) -> Array:
        return np.concatenate(X, axis=self.axis)

    def backward(self, *X_and_dZ: Array) -> tuple[Array, ...]:
        *X, dZ = X_and_dZ
        return tuple(np.split(dZ, np.cumsum([x.shape[self.axis] for x in X[:-1]]), axis=self.axis))


class SliceGate(Gate):
    """``Z = X[index]`` for a basic index; dX is dZ in its place and zero elsewhere.

    Parameters
    ----------
    index : int, slice, Ellipsis, None, or a tuple of these
        As between brackets; `numpy.s_` writes it: ``SliceGate(np.s_[:, 1:3])``.

    Raises
    ------
    GateError
        If the index holds an array or a list (for rows by number there is GatherGate).
    """

    def __init__(self, index: Any) -> None:
        for part in index if isinstance(index, tuple) else (index,):
            if isinstance(part, bool) or not isinstance(part, int | np.integer | slice | type(...) | None):
                advice = "to select rows by number use GatherGate"
                raise GateError(f"SliceGate takes integers, slices, ... and None, got {part!r}; {advice}")
        self.index = index

    def forward(self, X: Array) -> Array:
        Z: Array = X[self.index]
        return Z

    def backward(self, X: Array, dZ: Array) -> Array:
        dX = np.zeros_like(X, dtype=dZ.dtype)
        dX[self.index] = dZ
        return dX


class GatherGate(Gate):
    """``Z = X[rows]``, an embedding lookup; each row of dZ is added to the row of dX that it came from.

    X has shape (m, ...), rows is an integer array of any shape with values in 0..m-1, Z has shape
    ``rows.shape + X.shape[1:]``. The rows get no gradient.
    """

    def examples(self, rng: np.random.Generator) -> list[tuple[Array, ...]]:
        """Return rows that repeat, and such as are never asked for."""
        X = rng.standard_normal((5, 3))
        return [(X, np.array([4, 0, 4, 2])), (X, rng.integers(0, 5, (2, 3))), (X[:, 0], np.array(3))]

    def forward(self, X: Array, rows: Array) -> Array:
        check_labels(rows, X.shape[0], "rows")
        return X[rows]

    def backward(self, X: Array, rows: Array, dZ: Array) -> tuple[Array, None]:
        dX = np.zeros_like(X, dtype=dZ.dtype)
        np.add.at(dX, rows, dZ)
        return dX, None


def check_labels(labels: Array, count: int, what: str = "labels") -> None:
    """Raise GateError unless `labels` are integers in 0..count-1; say which is not, and where."""
    if labels.dtype.kind not in "iu":
        advice = "; if they are whole numbers, convert them with .astype(int)" if labels.dtype.kind == "f" else ""
        raise GateError(f"{what} must be integers in 0..{count - 1}, got dtype {labels.dtype}{advice}")
    wrong = (labels < 0) | (labels >= count)
    if wrong.any():
        at, position = first(wrong)
        raise GateError(f"{what} must be in 0..{count - 1}, got {labels[at]} at position {position}")
