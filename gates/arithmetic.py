"""Arithmetic as gates: the matrix product, sums, products, powers, and the operators that write them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gates.arrays import Array
from gates.contract import ElementwiseGate, Gate


class MultiplyGate(Gate):
    """``Z = X @ W``, the matrix product; ``dW = X^T dZ``, ``dX = dZ W^T``.

    The inputs come in the order W (d, k), X (n, d) and give Z (n, k). Stacks of matrices and vectors multiply and
    broadcast as in `numpy.matmul`.
    """

    def forward(self, W: Array, X: Array) -> Array:
        return X @ W

    def backward(self, W: Array, X: Array, dZ: Array) -> tuple[Array, Array]:
        # matmul sees a vector X as one row and a vector W as one column, and drops that axis from Z.
        row, column = X.ndim == 1, W.ndim == 1
        W, X = W[:, None] if column else W, X[None, :] if row else X
        dZ = np.expand_dims(dZ, tuple(axis for axis, dropped in ((-2, row), (-1, column)) if dropped))
        dW, dX = np.swapaxes(X, -1, -2) @ dZ, dZ @ np.swapaxes(W, -1, -2)
        return dW[..., 0] if column else dW, dX[..., 0, :] if row else dX


class AddGate(Gate):
    """``Z = X + b``; ``dX = dZ``, ``db = dZ`` (summed over the rows when b is one row)."""

    def forward(self, X: Array, b: Array) -> Array:
        return X + b

    def backward(self, X: Array, b: Array, dZ: Array) -> tuple[Array, Array]:
        return dZ, dZ


class SubtractGate(Gate):
    """``Z = X - Y``; ``dX = dZ``, ``dY = -dZ``."""

    def forward(self, X: Array, Y: Array) -> Array:
        return X - Y

    def backward(self, X: Array, Y: Array, dZ: Array) -> tuple[Array, Array]:
        return dZ, -dZ


class ElementwiseProductGate(Gate):
    """``Z = X * Y``, element by element (the Hadamard product); ``dX = Y dZ``, ``dY = X dZ``."""

    def forward(self, X: Array, Y: Array) -> Array:
        return X * Y

    def backward(self, X: Array, Y: Array, dZ: Array) -> tuple[Array, Array]:
        return Y * dZ, X * dZ


class DivideGate(Gate):
    """``Z = X / Y``; ``dX = dZ / Y``, ``dY = -(X / Y) dZ / Y``."""

    def forward(self, X: Array, Y: Array) -> Array:
        return X / Y

    def backward(self, X: Array, Y: Array, dZ: Array) -> tuple[Array, Array]:
        dZ_Y = dZ / Y
        return dZ_Y, -(X / Y) * dZ_Y


class PowerGate(Gate):
    """``Z = X ** P``; ``dX = P X^(P-1) dZ``, ``dP = X^P log(X) dZ``.

    A negative X has real powers for whole P only: there dP does not exist and is nan. At X = 0 dP is its limit, 0.
    Where P = 0 the power is 1 for every X, and dX is 0.
    """

    def forward(self, X: Array, P: Array) -> Array:
        return X**P

    def backward(self, X: Array, P: Array, dZ: Array) -> tuple[Array, Array]:
        lower = X ** np.where(P == 0, 1, P - 1)
        log = np.log(np.where(X > 0, X, 1))
        return P * lower * dZ, np.where(X < 0, np.nan, X**P * log) * dZ


class ExpGate(ElementwiseGate):
    """``Z = exp(X)``; ``dX = exp(X) dZ``."""

    def forward(self, X: Array) -> Array:
        return np.exp(X)

    def derivative(self, X: Array) -> Array:
        return np.exp(X)


class LogGate(ElementwiseGate):
    """``Z = log(X)``, the natural logarithm; ``dX = dZ / X``."""

    def forward(self, X: Array) -> Array:
        return np.log(X)

    def derivative(self, X: Array) -> Array:
        return 1 / X


class NegateGate(Gate):
    """``Z = -X``; ``dX = -dZ``."""

    def forward(self, X: Array) -> Array:
        return -X

    def backward(self, X: Array, dZ: Array) -> Array:
        return -dZ


class MaximumGate(Gate):
    """``Z = max(X, Y)`` element by element; dZ goes to the larger input, half to each where they tie."""

    def forward(self, X: Array, Y: Array) -> Array:
        return np.maximum(X, Y)

    def backward(self, X: Array, Y: Array, dZ: Array) -> tuple[Array, Array]:
        return ((X > Y) * dZ + (X >= Y) * dZ) / 2, ((Y > X) * dZ + (Y >= X) * dZ) / 2


class MinimumGate(Gate):
    """``Z = min(X, Y)`` element by element; dZ goes to the smaller input, half to each where they tie."""

    def forward(self, X: Array, Y: Array) -> Array:
        return np.minimum(X, Y)

    def backward(self, X: Array, Y: Array, dZ: Array) -> tuple[Array, Array]:
        return ((X < Y) * dZ + (X <= Y) * dZ) / 2, ((Y < X) * dZ + (Y <= X) * dZ) / 2


class Operators:
    """Python's operators, written as gates: a class that has `apply_gate` inherits ``x * y + z`` from here."""

    __slots__ = ()
    # NumPy then leaves `array + x` to `__radd__`, instead of adding x to every element.
    __array_ufunc__ = None

    def __add__(self, other: Any) -> Any:
        return AddGate()(self, other)

    def __radd__(self, other: Any) -> Any:
        return AddGate()(other, self)

    def __sub__(self, other: Any) -> Any:
        return SubtractGate()(self, other)

    def __rsub__(self, other: Any) -> Any:
        return SubtractGate()(other, self)

    def __mul__(self, other: Any) -> Any:
        return ElementwiseProductGate()(self, other)

    def __rmul__(self, other: Any) -> Any:
        return ElementwiseProductGate()(other, self)

    def __truediv__(self, other: Any) -> Any:
        return DivideGate()(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return DivideGate()(other, self)

    def __pow__(self, other: Any) -> Any:
        return PowerGate()(self, other)

    def __rpow__(self, other: Any) -> Any:
        return PowerGate()(other, self)

    def __matmul__(self, other: Any) -> Any:
        return MultiplyGate()(other, self)

    def __rmatmul__(self, other: Any) -> Any:
        return MultiplyGate()(self, other)

    def __neg__(self) -> Any:
        return NegateGate()(self)
