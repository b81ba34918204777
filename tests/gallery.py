"""Right gates in many styles of NumPy: whoever proves gates must blame none of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy
from numpy.lib.stride_tricks import sliding_window_view
from numpy.random import Generator
from numpy.typing import NDArray

from gates import ElementwiseGate, Gate, OutputGate

Array = NDArray[Any]
Examples = list[tuple[Array, ...]]


def _expect(fits: bool, what: str) -> None:
    """Refuse inputs that a gate is not made for."""
    if not fits:
        raise ValueError(what)


# --- One input, element by element ------------------------------------------------------------------------------------


class LoopedSoftsign(Gate):
    """``Z = X / (1 + |X|)``; ``dX = dZ / (1 + |X|)^2``, one number at a time."""

    def forward(self, X):
        Z = np.empty(X.shape, X.dtype)
        for i in np.ndindex(X.shape):
            Z[i] = X[i] / (1 + abs(X[i]))
        return Z

    def backward(self, X, dZ):
        dX = np.empty(X.shape, dZ.dtype)
        for i in np.ndindex(X.shape):
            dX[i] = dZ[i] / (1 + abs(X[i])) ** 2
        return dX


class LoopedErf(Gate):
    """``Z = erf(X)``; ``dX = 2 / sqrt(pi) exp(-X^2) dZ``, with Python's own mathematics."""

    def forward(self, X):
        return np.array([math.erf(x) for x in X.flat], dtype=X.dtype).reshape(X.shape)

    def backward(self, X, dZ):
        scale = 2 / math.sqrt(math.pi)
        slopes = [scale * math.exp(-float(x) * float(x)) for x in X.flat]
        return np.array(slopes, dtype=dZ.dtype).reshape(X.shape) * dZ


class Mish(ElementwiseGate):
    """``Z = X T``, ``T = tanh(log(1 + exp(X)))``; ``dX = (T + X sigmoid(X) (1 - T^2)) dZ``."""

    def forward(self, X):
        return X * np.tanh(np.logaddexp(X, 0))

    def derivative(self, X):
        T = np.tanh(np.logaddexp(X, 0))
        return T + X * scipy.special.expit(X) * (1 - T * T)


class HardSigmoid(Gate):
    """``Z = min(max(X / 6 + 1/2, 0), 1)``; ``dX = dZ / 6`` where ``|X| < 3``, else 0."""

    def forward(self, X):
        return np.minimum(np.maximum(X / 6 + 0.5, 0), 1)

    def backward(self, X, dZ):
        dX = np.array(dZ / 6)
        dX[X <= -3] = 0
        dX[X >= 3] = 0
        return dX


class Clip(Gate):
    """``Z = min(max(X, low), high)``; ``dX = dZ`` where low < X < high, else 0."""

    def __init__(self, low=-1.0, high=1.0):
        self.low = low
        self.high = high

    def forward(self, X):
        return np.clip(X, self.low, self.high)

    def backward(self, X, dZ):
        return np.where((self.low < X) & (self.high > X), dZ, 0)


class Absolute(Gate):
    """``Z = |X|``; ``dX = sign(X) dZ``."""

    def forward(self, X):
        return np.abs(X)

    def backward(self, X, dZ):
        return np.sign(X) * dZ


class HuberCurve(ElementwiseGate):
    """``Z = X^2 / 2`` where ``|X| <= d``, else ``d (|X| - d / 2)``; ``dX = X dZ``, or ``d sign(X) dZ``."""

    def __init__(self, delta=0.7):
        self.delta = delta

    def forward(self, X):
        size = np.abs(X)
        return np.where(size <= self.delta, X * X / 2, self.delta * (size - self.delta / 2))

    def derivative(self, X):
        return np.where(np.abs(X) <= self.delta, X, self.delta * np.sign(X))


class PseudoHuber(ElementwiseGate):
    """``Z = X^2 / (1 + R)``, ``R = sqrt(1 + X^2)``, which is R - 1 without cancellation; ``dX = X / R dZ``."""

    def forward(self, X):
        return X * X / (1 + np.sqrt(1 + X * X))

    def derivative(self, X):
        return X / np.sqrt(1 + X * X)


class SoftShrink(Gate):
    """``Z = sign(X) max(|X| - t, 0)``; ``dX = dZ`` where ``|X| > t``, else 0."""

    def __init__(self, t=0.5):
        self.t = t

    def forward(self, X):
        return np.sign(X) * np.maximum(np.abs(X) - self.t, 0)

    def backward(self, X, dZ):
        dX = np.array(dZ)
        dX[np.abs(X) <= self.t] = 0
        return dX


class SquaredReLU(Gate):
    """``Z = max(X, 0)^2``; ``dX = 2 X dZ`` where X > 0, else 0."""

    def forward(self, X):
        Z = np.array(X)
        Z[X <= 0] = 0
        Z *= Z
        return Z

    def backward(self, X, dZ):
        g = np.array(2 * X * dZ)
        g[X <= 0] = 0
        return g


class LeCunTanh(ElementwiseGate):
    """``Z = a T``, ``T = tanh(b X)``; ``dX = a b (1 - T T) dZ``."""

    def __init__(self, a=1.7159, b=2 / 3):
        self.a = a
        self.b = b

    def forward(self, X):
        return self.a * np.tanh(self.b * X)

    def derivative(self, X):
        T = np.tanh(self.b * X)
        return self.a * self.b * (1 - T * T)


class TanhShrink(Gate):
    """``Z = X - tanh(X)``; ``dX = dZ - (1 - T T) dZ``, ``T = tanh(X)``."""

    def forward(self, X):
        return X - np.tanh(X)

    def backward(self, X, dZ):
        T = np.tanh(X)
        return dZ - (1 - T * T) * dZ


class Polynomial(Gate):
    """``Z = c0 + c1 X + c2 X^2 + ...`` by Horner's rule; ``dX = (c1 + 2 c2 X + ...) dZ``."""

    def __init__(self, *coefficients):
        self.coefficients = coefficients

    def forward(self, X):
        Z = np.zeros_like(X)
        for c in reversed(self.coefficients):
            Z = Z * X + c
        return Z

    def backward(self, X, dZ):
        slope = np.zeros_like(X)
        for power in range(len(self.coefficients) - 1, 0, -1):
            slope = slope * X + power * self.coefficients[power]
        return slope * dZ


class ArcSinh(ElementwiseGate):
    """``Z = asinh(X)``; ``dX = dZ / sqrt(1 + X^2)``."""

    def forward(self, X):
        return np.arcsinh(X)

    def derivative(self, X):
        return 1 / np.hypot(1, X)


class LogCosh(ElementwiseGate):
    """``Z = log(cosh(X)) = |X| + log(1 + exp(-2 |X|)) - log(2)``; ``dX = tanh(X) dZ``."""

    def forward(self, X):
        size = np.abs(X)
        return size + np.log1p(np.exp(-2 * size)) - math.log(2)

    def derivative(self, X):
        return np.tanh(X)


class Sine(ElementwiseGate):
    """``Z = sin(w X)``; ``dX = w cos(w X) dZ``."""

    def __init__(self, w=2.0):
        self.w = w

    def forward(self, X):
        return np.sin(self.w * X)

    def derivative(self, X):
        return self.w * np.cos(self.w * X)


class Bell(Gate):
    """``Z = 1 / (1 + X^2)``; ``dX = -2 X Z^2 dZ``, every step in place on copies of its own."""

    def forward(self, X):
        Z = np.array(X)
        Z *= Z
        Z += 1
        return np.reciprocal(Z, out=Z)

    def backward(self, X, dZ):
        dX = self.forward(X)
        np.square(dX, out=dX)
        dX *= X
        dX *= -2
        dX *= dZ
        return dX


class Shift(Gate):
    """``Z = X + c``; ``dX = dZ``, the very array."""

    def __init__(self, c=0.75):
        self.c = c

    def forward(self, X):
        return X + self.c

    def backward(self, X, dZ):
        return dZ


class Flip(Gate):
    """``Z = X`` with its last axis reversed; dX is dZ reversed, a view of it."""

    def forward(self, X):
        return X[..., ::-1]

    def backward(self, X, dZ):
        return dZ[..., ::-1]


# --- One input, along an axis -----------------------------------------------------------------------------------------


class RowNorm(Gate):
    """``Z = sqrt(sum(X^2) + eps)`` of each row; ``dX = X / Z dZ``."""

    def __init__(self, eps=1e-6):
        self.eps = eps

    def forward(self, X):
        _expect(X.ndim > 0, "rows are needed")
        return np.sqrt(np.einsum("...i,...i->...", X, X) + self.eps)

    def backward(self, X, dZ):
        return X * (dZ / self.forward(X))[..., None]


class UnitRows(Gate):
    """``Z = X / R``, ``R = sqrt(sum(X^2) + eps)`` of each row; ``dX = (dZ - Z sum(Z dZ)) / R``."""

    def __init__(self, eps=0.01):
        self.eps = eps

    def _lengths(self, X):
        return np.sqrt((X * X).sum(axis=-1, keepdims=True) + self.eps)

    def forward(self, X):
        _expect(X.ndim > 0, "rows are needed")
        return X / self._lengths(X)

    def backward(self, X, dZ):
        R = self._lengths(X)
        Z = X / R
        return (dZ - Z * (Z * dZ).sum(axis=-1, keepdims=True)) / R


class LayerNorm(Gate):
    """``Z = (X - mean) / S``, ``S = sqrt(var + eps)``, in each row; ``dX = (dZ - mean(dZ) - Z mean(Z dZ)) / S``."""

    def __init__(self, eps=0.01):
        self.eps = eps

    def forward(self, X):
        _expect(X.ndim > 0 and X.shape[-1] > 0, "rows with a column or more are needed")
        return (X - X.mean(axis=-1, keepdims=True)) / np.sqrt(X.var(axis=-1, keepdims=True) + self.eps)

    def backward(self, X, dZ):
        Z = self.forward(X)
        S = np.sqrt(X.var(axis=-1, keepdims=True) + self.eps)
        return (dZ - dZ.mean(axis=-1, keepdims=True) - Z * (Z * dZ).mean(axis=-1, keepdims=True)) / S


class BatchNorm(Gate):
    """``Z = C / S``, ``C = X - mean``, ``S = sqrt(mean(C^2) + eps)`` down each column; the chain rule step by step."""

    def __init__(self, eps=0.1):
        self.eps = eps

    def forward(self, X):
        _expect(X.ndim > 0 and len(X) > 0, "a row or more is needed")
        C = X - X.mean(axis=0)
        return C / np.sqrt((C * C).mean(axis=0) + self.eps)

    def backward(self, X, dZ):
        C = X - X.mean(axis=0)
        S = np.sqrt((C * C).mean(axis=0) + self.eps)
        dS = -(dZ * C / S / S).sum(axis=0)
        dvariance = dS / (2 * S)
        dC = dZ / S + 2 * C * dvariance / len(X)
        return dC - dC.mean(axis=0)


class LogSumExp(Gate):
    """``Z = log(sum(exp(X)))`` along an axis; ``dX = exp(X - Z) dZ``."""

    def __init__(self, axis=-1):
        self.axis = axis

    def forward(self, X):
        _expect(X.ndim > 0, "an axis is needed")
        top = X.max(axis=self.axis, keepdims=True)
        return (top + np.log(np.exp(X - top).sum(axis=self.axis, keepdims=True))).squeeze(self.axis)

    def backward(self, X, dZ):
        return np.exp(X - np.expand_dims(self.forward(X), self.axis)) * np.expand_dims(dZ, self.axis)


class LogSoftmax(Gate):
    """``Z = X - log(sum(exp(X)))`` in each row; ``dX = dZ - exp(Z) sum(dZ)``."""

    def forward(self, X):
        _expect(X.ndim > 0, "rows are needed")
        Y = X - X.max(axis=-1, keepdims=True)
        return Y - np.log(np.exp(Y).sum(axis=-1, keepdims=True))

    def backward(self, X, dZ):
        return dZ - np.exp(self.forward(X)) * dZ.sum(axis=-1, keepdims=True)


class Entropy(Gate):
    """``Z = -sum(P log(P))``, ``P = softmax(X)`` of each row; ``dX = -P (log(P) + Z) dZ``."""

    def _log_probabilities(self, X):
        Y = X - X.max(axis=-1, keepdims=True)
        return Y - np.log(np.exp(Y).sum(axis=-1, keepdims=True))

    def forward(self, X):
        _expect(X.ndim > 0, "rows are needed")
        L = self._log_probabilities(X)
        return -(np.exp(L) * L).sum(axis=-1)

    def backward(self, X, dZ):
        L = self._log_probabilities(X)
        P = np.exp(L)
        Z = -(P * L).sum(axis=-1, keepdims=True)
        return -P * (L + Z) * dZ[..., np.newaxis]


class MaxAlong(Gate):
    """``Z = max(X)`` along an axis; dX is dZ at the largest, shared evenly where several are largest."""

    def __init__(self, axis=-1):
        self.axis = axis

    def forward(self, X):
        _expect(X.ndim > 0, "an axis is needed")
        return X.max(axis=self.axis)

    def backward(self, X, dZ):
        largest = X.max(axis=self.axis, keepdims=True) <= X
        count = largest.sum(axis=self.axis, keepdims=True, dtype=dZ.dtype)
        return np.where(largest, np.expand_dims(dZ, self.axis) / count, 0)


class Spread(Gate):
    """``Z = max(X) - min(X)`` down each column; dZ is added at the largest and taken at the smallest."""

    def forward(self, X):
        _expect(X.ndim > 0, "rows are needed")
        return np.ptp(X, axis=0)

    def backward(self, X, dZ):
        dX = np.zeros(X.shape, dZ.dtype)
        rest = tuple(np.indices(X.shape[1:]))
        np.add.at(dX, (X.argmax(axis=0), *rest), dZ)
        np.subtract.at(dX, (X.argmin(axis=0), *rest), dZ)
        return dX


class Sort(Gate):
    """``Z = sort(X)`` in each row; each element of dZ goes back to where its value came from."""

    def forward(self, X):
        return np.sort(X, axis=-1)

    def backward(self, X, dZ):
        order = np.argsort(X, axis=-1, kind="stable")
        dX = np.zeros(X.shape, dZ.dtype)
        np.put_along_axis(dX, order, dZ, axis=-1)
        return dX


class RankedSum(Gate):
    """``Z = sum_k S_k / (k + 1)``, S the row in falling order, k = 0, 1, ...; ``dX_i = dZ / (rank of i + 1)``."""

    def forward(self, X):
        weights = 1 / np.arange(1, X.shape[-1] + 1, dtype=X.dtype)
        return -np.sort(-X, axis=-1) @ weights

    def backward(self, X, dZ):
        ranks = np.argsort(np.argsort(-X, axis=-1, kind="stable"), axis=-1)
        return dZ[..., None] / (ranks + 1).astype(dZ.dtype)


class RunningSum(Gate):
    """``Z_k = X_1 + ... + X_k`` in each row; ``dX_k = dZ_k + dZ_{k+1} + ...``."""

    def forward(self, X):
        _expect(X.ndim > 0, "rows are needed")
        return X.cumsum(axis=-1)

    def backward(self, X, dZ):
        return dZ[..., ::-1].cumsum(axis=-1)[..., ::-1]


class RunningMax(Gate):
    """``Z_k = max(X_1, ..., X_k)`` in each row; dZ_k goes to the first of the largest so far."""

    def forward(self, X):
        _expect(X.ndim > 0, "rows are needed")
        return np.maximum.accumulate(X, axis=-1)

    def backward(self, X, dZ):
        record = np.ones(X.shape, bool)
        record[..., 1:] = X[..., 1:] > self.forward(X)[..., :-1]
        source = np.maximum.accumulate(np.where(record, np.arange(X.shape[-1]), 0), axis=-1)
        dX = np.zeros(X.shape, dZ.dtype)
        np.add.at(dX, (*np.indices(X.shape)[:-1], source), dZ)
        return dX


class RowProduct(Gate):
    """``Z = X_1 X_2 ... X_d`` of each row; ``dX_k = (product of those before) (product of those after) dZ``."""

    def forward(self, X):
        _expect(X.ndim > 0, "rows are needed")
        return X.prod(axis=-1)

    def backward(self, X, dZ):
        before, after = np.ones_like(X), np.ones_like(X)
        before[..., 1:] = X[..., :-1].cumprod(axis=-1)
        after[..., :-1] = X[..., :0:-1].cumprod(axis=-1)[..., ::-1]
        return before * after * dZ[..., None]


class Deviation(Gate):
    """``Z = sqrt(mean((X - mean)^2) + eps)`` down each column; ``dX = (X - mean) / (n Z) dZ``."""

    def __init__(self, eps=0.01):
        self.eps = eps

    def forward(self, X):
        _expect(X.ndim > 0 and len(X) > 0, "a row or more is needed")
        return np.sqrt(X.var(axis=0) + self.eps)

    def backward(self, X, dZ):
        return (X - X.mean(axis=0)) * (dZ / (len(X) * self.forward(X)))


class Center(Gate):
    """``Z = X - mean(X)`` down each column; ``dX = dZ - mean(dZ)``."""

    def forward(self, X):
        _expect(X.ndim > 0 and len(X) > 0, "a row or more is needed")
        return X - X.mean(axis=0, keepdims=True)

    def backward(self, X, dZ):
        return dZ - dZ.mean(axis=0, keepdims=True)


class Differences(Gate):
    """``Z_i = X_{i+1} - X_i``, row from row; dX takes each dZ_i once with a plus and once with a minus."""

    def forward(self, X):
        return X[1:] - X[:-1]

    def backward(self, X, dZ):
        dX = np.zeros(X.shape, dZ.dtype)
        dX[1:] += dZ
        dX[:-1] -= dZ
        return dX


class MaxPool(Gate):
    """``Z = max`` of every `size` neighbours in a row, a shorter rest is dropped; ties share dZ evenly."""

    def __init__(self, size=2):
        self.size = size

    def _blocks(self, X):
        k = X.shape[-1] // self.size
        return X[..., : k * self.size].reshape(*X.shape[:-1], k, self.size)

    def forward(self, X):
        _expect(X.ndim > 0, "rows are needed")
        return self._blocks(X).max(axis=-1)

    def backward(self, X, dZ):
        blocks = self._blocks(X)
        winners = (blocks >= blocks.max(axis=-1, keepdims=True)).astype(dZ.dtype)
        shares = winners / winners.sum(axis=-1, keepdims=True) * dZ[..., None]
        dX = np.zeros(X.shape, dZ.dtype)
        used = dZ.shape[-1] * self.size
        dX[..., :used] = shares.reshape(*X.shape[:-1], used)
        return dX


class MovingMean(Gate):
    """``Z_k = mean(X_k, ..., X_{k+w-1})`` in each row; dX adds ``dZ_k / w`` to each of the w."""

    def __init__(self, w=2):
        self.w = w

    def forward(self, X):
        _expect(X.ndim > 0, "rows are needed")
        return sliding_window_view(X, self.w, axis=-1).mean(axis=-1)

    def backward(self, X, dZ):
        dX = np.zeros(X.shape, dZ.dtype)
        for j in range(self.w):
            dX[..., j : j + dZ.shape[-1]] += dZ / self.w
        return dX


class Sparsemax(Gate):
    """``Z = max(X - t, 0)``, t such that each row sums to one; ``dX = dZ - mean(dZ where Z > 0)`` there, else 0."""

    def forward(self, X):
        _expect(X.ndim > 0 and X.shape[-1] > 0, "rows with a column or more are needed")
        Y = X - X.max(axis=-1, keepdims=True)
        falling = np.sort(Y, axis=-1)[..., ::-1]
        sums = falling.cumsum(axis=-1)
        places = np.arange(1, X.shape[-1] + 1, dtype=X.dtype)
        count = (1 + places * falling > sums).sum(axis=-1, keepdims=True)
        t = (np.take_along_axis(sums, count - 1, axis=-1) - 1) / count.astype(X.dtype)
        return np.maximum(Y - t, 0)

    def backward(self, X, dZ):
        support = self.forward(X) > 0
        g = np.where(support, dZ, 0)
        g -= g.sum(axis=-1, keepdims=True) / support.sum(axis=-1, keepdims=True).astype(g.dtype)
        g[~support] = 0
        return g


class GatedHalves(Gate):
    """``Z = A sigmoid(B)``, A and B the halves of each row; ``dA = sigmoid(B) dZ``, ``dB = A S (1 - S) dZ``."""

    def forward(self, X):
        _expect(X.ndim > 0 and X.shape[-1] % 2 == 0, "rows with an even number of columns are needed")
        A, B = np.split(X, 2, axis=-1)
        return A * scipy.special.expit(B)

    def backward(self, X, dZ):
        A, B = np.split(X, 2, axis=-1)
        S = scipy.special.expit(B)
        return np.concatenate([S * dZ, A * S * (1 - S) * dZ], axis=-1)


class Trace(Gate):
    """``Z = X_11 + X_22 + ...``; dX is dZ on the diagonal."""

    def forward(self, X):
        _expect(X.ndim == 2, "a matrix is needed")
        return np.trace(X)

    def backward(self, X, dZ):
        return np.eye(*X.shape, dtype=dZ.dtype) * dZ


class LowerTriangle(Gate):
    """``Z = tril(X)``, the matrix without what is above its diagonal; ``dX = tril(dZ)``."""

    def forward(self, X):
        _expect(X.ndim >= 2, "matrices are needed")
        return np.tril(X)

    def backward(self, X, dZ):
        return np.tril(dZ)


class Gram(Gate):
    """``Z = X^T X``; ``dX = X (dZ + dZ^T)``."""

    def forward(self, X):
        _expect(X.ndim == 2, "a matrix is needed")
        return X.T @ X

    def backward(self, X, dZ):
        return X @ (dZ + dZ.T)


# --- Matrices that must be well conditioned ---------------------------------------------------------------------------


def _matrices(rng: Generator, *shape: int) -> Array:
    """Draw square matrices near a multiple of the identity."""
    return 2.5 * np.eye(shape[-1]) + rng.uniform(-0.5, 0.5, shape)


def _expect_regular(A: Array) -> None:
    _expect(A.ndim >= 2 and A.shape[-1] == A.shape[-2] > 0, "square matrices are needed")
    _expect(bool((np.linalg.cond(A) < 1e3).all()), "the matrices are too close to singular ones")


class Determinant(Gate):
    """``Z = det(A)``; ``dA = (cofactors of A) dZ``, which divides by nothing."""

    def examples(self, rng: Generator) -> Examples:
        return [(_matrices(rng, 3, 3),), (_matrices(rng, 4, 2, 2),)]

    def forward(self, A):
        return np.linalg.det(A)

    def backward(self, A, dZ):
        dA = np.empty(A.shape, dZ.dtype)
        for i in range(A.shape[-1]):
            for j in range(A.shape[-1]):
                minor = np.delete(np.delete(A, i, axis=-2), j, axis=-1)
                dA[..., i, j] = (-1) ** (i + j) * np.linalg.det(minor) * dZ
        return dA


class LogDeterminant(Gate):
    """``Z = log(det(A))``; ``dA = A^-T dZ``."""

    def examples(self, rng: Generator) -> Examples:
        return [(_matrices(rng, 3, 3),), (_matrices(rng, 2, 4, 4),)]

    def forward(self, A):
        _expect_regular(A)
        sign, log = np.linalg.slogdet(A)
        _expect(bool((sign > 0).all()), "positive determinants are needed")
        return log

    def backward(self, A, dZ):
        return np.swapaxes(np.linalg.inv(A), -1, -2) * dZ[..., None, None]


class Inverse(Gate):
    """``Z = A^-1``; ``dA = -Z^T dZ Z^T``."""

    def examples(self, rng: Generator) -> Examples:
        return [(_matrices(rng, 3, 3),), (_matrices(rng, 2, 4, 4),)]

    def forward(self, A):
        _expect_regular(A)
        return np.linalg.inv(A)

    def backward(self, A, dZ):
        ZT = np.swapaxes(np.linalg.inv(A), -1, -2)
        return -ZT @ dZ @ ZT


class Solve(Gate):
    """``Z = A^-1 B``; ``dB = A^-T dZ``, ``dA = -dB Z^T``."""

    def examples(self, rng: Generator) -> Examples:
        return [
            (_matrices(rng, 3, 3), rng.standard_normal((3, 2))),
            (_matrices(rng, 4, 4), rng.standard_normal((4, 1))),
        ]

    def forward(self, A, B):
        _expect(A.ndim == B.ndim == 2 and len(A) == len(B), "a square matrix and a matrix of as many rows are needed")
        _expect_regular(A)
        return np.linalg.solve(A, B)

    def backward(self, A, B, dZ):
        dB = np.linalg.solve(A.T, dZ)
        return -dB @ self.forward(A, B).T, dB


# --- Two and three inputs, element by element -------------------------------------------------------------------------


class Swish(Gate):
    """``Z = X S``, ``S = sigmoid(b X)``, ``T = S (1 - S)``; ``dX = (S + b X T) dZ``, ``db = X^2 T dZ``."""

    def forward(self, X, b):
        return X * scipy.special.expit(b * X)

    def backward(self, X, b, dZ):
        S = scipy.special.expit(b * X)
        T = S * scipy.special.expit(-b * X)
        return (S + b * X * T) * dZ, X * X * T * dZ


class LearnedSlope(Gate):
    """``Z = X`` where X > 0, else ``a X``; ``dX = dZ`` or ``a dZ``, ``da = 0`` or ``X dZ``."""

    def forward(self, X, a):
        return np.where(X > 0, X, a * X)

    def backward(self, X, a, dZ):
        return np.where(X > 0, dZ, a * dZ), np.where(X > 0, 0, X * dZ)


class LogAddExp(Gate):
    """``Z = log(exp(X) + exp(Y))``; ``dX = sigmoid(X - Y) dZ``, ``dY = sigmoid(Y - X) dZ``, as a list."""

    def forward(self, X, Y):
        return np.logaddexp(X, Y)

    def backward(self, X, Y, dZ):
        return [scipy.special.expit(X - Y) * dZ, scipy.special.expit(Y - X) * dZ]


class SoftHypotenuse(Gate):
    """``Z = sqrt(X^2 + Y^2 + eps)``; ``dX = X / Z dZ``, ``dY = Y / Z dZ``."""

    def __init__(self, eps=0.1):
        self.eps = eps

    def forward(self, X, Y):
        return np.sqrt(X**2 + Y**2 + self.eps)

    def backward(self, X, Y, dZ):
        per_length = dZ / self.forward(X, Y)
        return X * per_length, Y * per_length


class TiltedMinimum(Gate):
    """``Z = min(2 X, Y)``; ``dX = 2 dZ`` where 2 X < Y, else 0; ``dY = dZ`` where dX is 0, else 0."""

    def forward(self, X, Y):
        return np.minimum(2 * X, Y)

    def backward(self, X, Y, dZ):
        lower = np.broadcast_to(2 * X < Y, dZ.shape)
        dX, dY = np.array(2 * dZ), np.array(dZ)
        dX[~lower] = 0
        dY[lower] = 0
        return dX, dY


class Lerp(Gate):
    """``Z = X + T (Y - X)``; ``dX = (1 - T) dZ``, ``dY = T dZ``, ``dT = (Y - X) dZ``."""

    def forward(self, X, Y, T):
        return X + T * (Y - X)

    def backward(self, X, Y, T, dZ):
        return (1 - T) * dZ, T * dZ, (Y - X) * dZ


class ThreeSum(Gate):
    """``Z = X + Y - V``; ``dX = dZ``, ``dY = dZ``, ``dV = -dZ``."""

    def forward(self, X, Y, V):
        return X + Y - V

    def backward(self, X, Y, V, dZ):
        return dZ, dZ, -dZ


class MeanOfAll(Gate):
    """``Z = (X1 + ... + Xn) / n`` for any number of inputs; each ``dXi = dZ / n``."""

    def examples(self, rng: Generator) -> Examples:
        return [
            tuple(rng.standard_normal((4, 3)) for _ in range(4)),
            (rng.standard_normal((4, 3)), rng.standard_normal(3)),
        ]

    def forward(self, *X):
        return sum(X[1:], X[0]) / len(X)

    def backward(self, *X_and_dZ):
        *X, dZ = X_and_dZ
        return (dZ / len(X),) * len(X)


class OptionalScale(Gate):
    """``Z = X^3``, or ``X^3 s`` with a second input; ``dX = 3 X^2 s dZ``, ``ds = X^3 dZ``."""

    def examples(self, rng: Generator) -> Examples:
        return [(rng.standard_normal((4, 3)),), (rng.standard_normal((4, 3)), rng.standard_normal((4, 1)))]

    def forward(self, X, s=None):
        return X * X * X if s is None else X * X * X * s

    def backward(self, X, *s_and_dZ):
        *scale, dZ = s_and_dZ
        if not scale:
            return 3 * X * X * dZ
        return 3 * X * X * scale[0] * dZ, X * X * X * dZ


# --- Two and three inputs, rows and matrices --------------------------------------------------------------------------


class Affine(Gate):
    """``Z = X W + b``; ``dX = dZ W^T``, ``dW = X^T dZ``, ``db = dZ``, added up by whoever runs the gate."""

    def forward(self, X, W, b):
        _expect(X.ndim == W.ndim == 2, "matrices are needed")
        XW = X @ W
        Z = XW + b
        _expect(Z.shape == XW.shape, "b must not be larger than X W")
        return Z

    def backward(self, X, W, b, dZ):
        return dZ @ W.T, X.T @ dZ, dZ


class AffineTanh(Gate):
    """``Z = tanh(X W + b)``; with ``G = (1 - Z Z) dZ``: ``dX = G W^T``, ``dW = X^T G``, ``db`` the sum of G's rows."""

    def forward(self, X, W, b):
        _expect(X.ndim == W.ndim == 2 and b.shape == W.shape[1:], "a matrix, a matrix and a row are needed")
        return np.tanh(X @ W + b)

    def backward(self, X, W, b, dZ):
        Z = self.forward(X, W, b)
        G = (1 - Z * Z) * dZ
        return G @ W.T, X.T @ G, G.sum(axis=0)


class LoopedColumns(Gate):
    """``Z_ij = X_ij g_j + b_j``; ``dX_ij = g_j dZ_ij``, ``dg_j = sum_i X_ij dZ_ij``, ``db_j = sum_i dZ_ij``."""

    def forward(self, X, g, b):
        _expect(X.ndim == 2 and g.shape == b.shape == X.shape[1:], "a matrix and two rows are needed")
        Z = np.empty(X.shape, X.dtype)
        for i in range(X.shape[0]):
            for j in range(X.shape[1]):
                Z[i, j] = X[i, j] * g[j] + b[j]
        return Z

    def backward(self, X, g, b, dZ):
        dX, dg, db = np.zeros(X.shape, dZ.dtype), np.zeros(g.shape, dZ.dtype), np.zeros(b.shape, dZ.dtype)
        for i in range(X.shape[0]):
            for j in range(X.shape[1]):
                dX[i, j] = g[j] * dZ[i, j]
                dg[j] += X[i, j] * dZ[i, j]
                db[j] += dZ[i, j]
        return dX, dg, db


class GainedLayerNorm(Gate):
    """``Z = N g + b``, N the rows of X normed as by LayerNorm; ``dg = N dZ``, ``db = dZ``, ``dN = g dZ``."""

    def __init__(self, eps=0.05):
        self.eps = eps

    def _norm(self, X):
        C = X - X.mean(axis=-1, keepdims=True)
        S = np.sqrt((C * C).mean(axis=-1, keepdims=True) + self.eps)
        return C / S, S

    def forward(self, X, g, b):
        _expect(X.ndim > 0 and X.shape[-1] > 0, "rows with a column or more are needed")
        _expect(np.broadcast_shapes(X.shape, g.shape, b.shape) == X.shape, "g and b must not be larger than X")
        return self._norm(X)[0] * g + b

    def backward(self, X, g, b, dZ):
        N, S = self._norm(X)
        dN = g * dZ
        dX = (dN - dN.mean(axis=-1, keepdims=True) - N * (N * dN).mean(axis=-1, keepdims=True)) / S
        return dX, N * dZ, dZ


class QuadraticForm(Gate):
    """``Z_n = x_n A x_n`` for each row of X; ``dx_n = (A + A^T) x_n dZ_n``, ``dA = sum_n dZ_n x_n x_n^T``."""

    def forward(self, X, A):
        _expect(X.ndim == 2 and A.shape == X.shape[1:] * 2, "X (n, d) and A (d, d) are needed")
        return np.einsum("ni,ij,nj->n", X, A, X)

    def backward(self, X, A, dZ):
        return dZ[:, None] * (X @ (A + A.T)), np.einsum("n,ni,nj->ij", dZ, X, X)


class Bilinear(Gate):
    """``Z_n = x_n W y_n``; ``dX = dZ Y W^T``, ``dW = sum_n dZ_n x_n y_n^T``, ``dY = dZ X W``."""

    def forward(self, X, W, Y):
        _expect(X.ndim == Y.ndim == 2 and len(X) == len(Y), "X (n, d) and Y (n, e) are needed")
        _expect(W.shape == X.shape[1:] + Y.shape[1:], "W (d, e) is needed")
        return np.einsum("ni,ij,nj->n", X, W, Y)

    def backward(self, X, W, Y, dZ):
        return (
            np.einsum("n,ij,nj->ni", dZ, W, Y),
            np.einsum("n,ni,nj->ij", dZ, X, Y),
            np.einsum("n,ni,ij->nj", dZ, X, W),
        )


class Outer(Gate):
    """``Z = X Y``, every element of X times every element of Y; ``dX = sum_Y(dZ Y)``, ``dY = sum_X(dZ X)``."""

    def forward(self, X, Y):
        return np.multiply.outer(X, Y)

    def backward(self, X, Y, dZ):
        return np.tensordot(dZ, Y, axes=Y.ndim), np.tensordot(X, dZ, axes=X.ndim)


class PairwiseSquares(Gate):
    """``Z_nm = |x_n - y_m|^2``; ``dx_n = 2 sum_m dZ_nm (x_n - y_m)``, ``dy_m = -2 sum_n dZ_nm (x_n - y_m)``."""

    def forward(self, X, Y):
        _expect(X.ndim == Y.ndim == 2 and X.shape[1] == Y.shape[1], "rows of one length are needed")
        return ((X[:, None, :] - Y[None, :, :]) ** 2).sum(axis=-1)

    def backward(self, X, Y, dZ):
        weighted = 2 * dZ[:, :, None] * (X[:, None, :] - Y[None, :, :])
        return weighted.sum(axis=1), -weighted.sum(axis=0)


class CosineRows(Gate):
    """``Z = x y / (|x| |y|)`` row by row, ``|x| = sqrt(x x + eps)``; ``dx = (y / (|x| |y|) - Z x / |x|^2) dZ``."""

    def __init__(self, eps=0.01):
        self.eps = eps

    def _lengths(self, X):
        return np.sqrt((X * X).sum(axis=-1, keepdims=True) + self.eps)

    def forward(self, X, Y):
        _expect(X.shape == Y.shape and X.ndim > 0, "rows in equal shapes are needed")
        return ((X / self._lengths(X)) * (Y / self._lengths(Y))).sum(axis=-1)

    def backward(self, X, Y, dZ):
        x, y = self._lengths(X), self._lengths(Y)
        U, V = X / x, Y / y
        Z = (U * V).sum(axis=-1, keepdims=True)
        return (V - Z * U) / x * dZ[..., None], (U - Z * V) / y * dZ[..., None]


class Cross(Gate):
    """``Z = X x Y``, the cross product in space; ``dX = Y x dZ``, ``dY = dZ x X``."""

    def forward(self, X, Y):
        _expect(X.shape[-1:] == Y.shape[-1:] == (3,), "vectors of three are needed")
        return np.cross(X, Y)

    def backward(self, X, Y, dZ):
        return np.cross(Y, dZ), np.cross(dZ, X)


class Convolution(Gate):
    """``Z_k = sum_j X_{k+j} W_j`` in each row; ``dX_{k+j} += W_j dZ_k``, ``dW_j = sum_k X_{k+j} dZ_k``."""

    def forward(self, X, W):
        _expect(X.ndim > 0 and W.ndim == 1 and W.size > 0, "rows and one kernel are needed")
        return sliding_window_view(X, W.size, axis=-1) @ W

    def backward(self, X, W, dZ):
        dX = np.zeros(X.shape, dZ.dtype)
        for j in range(W.size):
            dX[..., j : j + dZ.shape[-1]] += W[j] * dZ
        return dX, np.tensordot(dZ, sliding_window_view(X, W.size, axis=-1), axes=dZ.ndim)


class Attention(Gate):
    """``Z = P V``, ``P = softmax(Q K^T / sqrt(d))``; ``dV = P^T dZ``, then back through softmax and scores."""

    def _weights(self, Q, K):
        scores = np.einsum("...id,...jd->...ij", Q, K) * (1 / math.sqrt(Q.shape[-1]))
        E = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return E / E.sum(axis=-1, keepdims=True)

    def forward(self, Q, K, V):
        _expect(Q.ndim == K.ndim == V.ndim >= 2, "matrices, or equal stacks of them, are needed")
        _expect(Q.shape[:-2] == K.shape[:-2] == V.shape[:-2] and K.shape[-2] == V.shape[-2], "K and V go together")
        _expect(Q.shape[-1] == K.shape[-1] > 0, "Q and K must have equal columns")
        return np.einsum("...ij,...je->...ie", self._weights(Q, K), V)

    def backward(self, Q, K, V, dZ):
        P = self._weights(Q, K)
        dP = np.einsum("...ie,...je->...ij", dZ, V)
        dscores = P * (dP - (P * dP).sum(axis=-1, keepdims=True)) / math.sqrt(Q.shape[-1])
        return (
            np.einsum("...ij,...jd->...id", dscores, K),
            np.einsum("...ij,...id->...jd", dscores, Q),
            np.einsum("...ij,...ie->...je", P, dZ),
        )


# --- Inputs that are no values to differentiate -----------------------------------------------------------------------


class EdgeDifferences(Gate):
    """``Z_e = X[i_e] - X[j_e]`` for edges e from row i to row j; dX adds dZ_e at i and takes it at j."""

    def examples(self, rng: Generator) -> Examples:
        return [
            (rng.standard_normal((5, 3)), rng.integers(0, 5, 7), rng.integers(0, 5, 7)),
            (rng.standard_normal(4), rng.integers(0, 4, (2, 3)), rng.integers(0, 4, (2, 3))),
        ]

    def forward(self, X, i, j):
        _expect(i.dtype.kind in "iu" and j.dtype.kind in "iu" and i.shape == j.shape, "row numbers are needed")
        _expect(X.ndim > 0 and bool(((i < len(X)) & (j < len(X)) & (i >= 0) & (j >= 0)).all()), "X has no such row")
        return X[i] - X[j]

    def backward(self, X, i, j, dZ):
        dX = np.zeros(X.shape, dZ.dtype)
        np.add.at(dX, i, dZ)
        np.subtract.at(dX, j, dZ)
        return dX, None, None


class SegmentSum(Gate):
    """``Z_k = sum of the rows of X with number k``; ``dX_n = dZ[rows_n]``."""

    def __init__(self, count=3):
        self.count = count

    def examples(self, rng: Generator) -> Examples:
        return [(rng.standard_normal((6, 2)), rng.integers(0, self.count, 6))]

    def forward(self, X, rows):
        _expect(
            rows.dtype.kind in "iu" and rows.ndim == 1 and rows.shape == X.shape[:1], "one number per row is needed"
        )
        _expect(bool(((rows >= 0) & (rows < self.count)).all()), "row numbers are out of range")
        Z = np.zeros((self.count, *X.shape[1:]), X.dtype)
        np.add.at(Z, rows, X)
        return Z

    def backward(self, X, rows, dZ):
        return dZ[rows], None


class WeightedMean(Gate):
    """``Z = sum_n w_n x_n / sum_n w_n``, w constant; ``dx_n = w_n / sum(w) dZ``."""

    constants = ("w",)

    def examples(self, rng: Generator) -> Examples:
        return [(rng.standard_normal((5, 3)), rng.uniform(0.5, 2, 5)), (rng.standard_normal(4), rng.uniform(0.5, 2, 4))]

    def forward(self, X, w):
        _expect(w.ndim == 1 and w.shape == X.shape[:1] and w.size > 0, "one weight per row is needed")
        _expect(bool((w > 0).all()), "the weights must be positive")
        return np.tensordot(w / w.sum(), X, axes=1)

    def backward(self, X, w, dZ):
        return np.multiply.outer(w / w.sum(), dZ), None


class LogCoshLoss(OutputGate):
    """``l = log(cosh(s - t))``; ``dl/ds = tanh(s - t)``."""

    def losses(self, scores, targets):
        size = np.abs(scores - targets)
        return size + np.log1p(np.exp(-2 * size)) - math.log(2)

    def slopes(self, scores, targets):
        return np.tanh(scores - targets)


class CauchyLoss(OutputGate):
    """``l = log(1 + (r / c)^2)``, r = s - t; ``dl/ds = 2 r / (c^2 + r^2)``."""

    def __init__(self, c=1.5, *, reduction="mean"):
        super().__init__(reduction=reduction)
        self.c = c

    def losses(self, scores, targets):
        return np.log1p(((scores - targets) / self.c) ** 2)

    def slopes(self, scores, targets):
        r = scores - targets
        return 2 * r / (self.c**2 + r * r)


class DistanceLoss(OutputGate):
    """``l = sqrt(|s - t|^2 + eps)`` of each row; ``dl/ds = (s - t) / l``."""

    per_row = True

    def __init__(self, eps=0.1, *, reduction="mean"):
        super().__init__(reduction=reduction)
        self.eps = eps

    def prepare(self, scores, targets):
        _expect(scores.ndim > 0, "rows of scores are needed")
        return super().prepare(scores, targets)

    def losses(self, scores, targets):
        return np.sqrt(((scores - targets) ** 2).sum(axis=-1) + self.eps)

    def slopes(self, scores, targets):
        return (scores - targets) / self.losses(scores, targets)[..., None]


RIGHT: list[Gate] = [
    LoopedSoftsign(),
    LoopedErf(),
    Mish(),
    HardSigmoid(),
    Clip(),
    Clip(-0.25, 2.0),
    Absolute(),
    HuberCurve(),
    PseudoHuber(),
    SoftShrink(),
    SquaredReLU(),
    LeCunTanh(),
    TanhShrink(),
    Polynomial(0.5, -1.0, 0.25, 0.125),
    ArcSinh(),
    LogCosh(),
    Sine(),
    Bell(),
    Shift(),
    Flip(),
    RowNorm(),
    UnitRows(),
    LayerNorm(),
    BatchNorm(),
    LogSumExp(),
    LogSumExp(axis=0),
    LogSoftmax(),
    Entropy(),
    MaxAlong(),
    MaxAlong(axis=0),
    Spread(),
    Sort(),
    RankedSum(),
    RunningSum(),
    RunningMax(),
    RowProduct(),
    Deviation(),
    Center(),
    Differences(),
    MaxPool(),
    MovingMean(),
    Sparsemax(),
    GatedHalves(),
    Trace(),
    LowerTriangle(),
    Gram(),
    Determinant(),
    LogDeterminant(),
    Inverse(),
    Solve(),
    Swish(),
    LearnedSlope(),
    LogAddExp(),
    SoftHypotenuse(),
    TiltedMinimum(),
    Lerp(),
    ThreeSum(),
    MeanOfAll(),
    OptionalScale(),
    Affine(),
    AffineTanh(),
    LoopedColumns(),
    GainedLayerNorm(),
    QuadraticForm(),
    Bilinear(),
    Outer(),
    PairwiseSquares(),
    CosineRows(),
    Cross(),
    Convolution(),
    Attention(),
    EdgeDifferences(),
    SegmentSum(),
    WeightedMean(),
    LogCoshLoss(),
    CauchyLoss(reduction="sum"),
    DistanceLoss(),
]
