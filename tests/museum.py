"""A museum of wrong gates: each exhibit makes one mistake that people make, and says which.

Every mistake is alone in its gate: apart from it, the gate keeps the contract. Where an exhibit has no inputs, whoever
checks it finds shapes that fit, or takes the gate's `examples`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from gates import Gate
from gates.contract import ElementwiseGate
from gates.layers import log_softmax, softmax
from gates.losses import OutputGate


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """A wrong gate, and what a check of it must find."""

    gate: Gate
    # Empty: the checker finds inputs of its own, or takes the gate's `examples`.
    inputs: tuple[Any, ...] = ()
    # The kind of mistake, which a diagnosis must name; None where only a check fails.
    kind: str | None = None
    # The check that must fail, where there is no kind.
    check: str | None = None
    # A regular expression for something that the diagnosis must say.
    says: str = ""


WRONG: list[Exhibit] = []

RNG = np.random.default_rng(20)


def draw(*shape: int) -> Any:
    """Draw values of either sign, at least 0.2 away from zero and none near 1."""
    return RNG.choice([-1.0, 1.0], shape) * (RNG.integers(0, 2, shape) + RNG.uniform(0.2, 0.8, shape))


def sigmoid(X: Any) -> Any:
    """``1 / (1 + exp(-X))``, without overflow."""
    return scipy.special.expit(X)


# --- Sign flipped -----------------------------------------------------------------------------------------------------


class CosineForgetsMinus(ElementwiseGate):
    """``Z = cos(X)``; ``dX = sin(X) dZ`` should be ``-sin(X) dZ``."""

    def forward(self, X):
        return np.cos(X)

    def derivative(self, X):
        return np.sin(X)


class SubtractAddsBoth(Gate):
    """``Z = X - Y``; ``dY = dZ`` should be ``-dZ``."""

    def forward(self, X, Y):
        return X - Y

    def backward(self, X, Y, dZ):
        return dZ, dZ


class DivideForgetsMinus(Gate):
    """``Z = X / Y``; ``dY = X / Y^2 dZ`` should be ``-X / Y^2 dZ``."""

    def forward(self, X, Y):
        return X / Y

    def backward(self, X, Y, dZ):
        return dZ / Y, X / Y * dZ / Y

    def examples(self, rng):
        return [(rng.standard_normal((5, 3)), rng.uniform(0.5, 2.0, (5, 3)))]


class BellClimbs(ElementwiseGate):
    """``Z = exp(-X^2)``; ``dX = 2 X Z dZ`` should be ``-2 X Z dZ``."""

    def forward(self, X):
        return np.exp(-X * X)

    def derivative(self, X):
        return 2 * X * np.exp(-X * X)


class BlendPullsTheWrongWay(Gate):
    """``Z = X + T (Y - X)``; ``dT = (X - Y) dZ`` should be ``(Y - X) dZ``."""

    def forward(self, X, Y, T):
        return X + T * (Y - X)

    def backward(self, X, Y, T, dZ):
        return (1 - T) * dZ, T * dZ, (X - Y) * dZ


class SquaredErrorTargetMinusScore(OutputGate):
    """``l = (s - t)^2``; ``dl/ds = 2 (t - s)`` should be ``2 (s - t)``."""

    def losses(self, scores, targets):
        return (scores - targets) ** 2

    def slopes(self, scores, targets):
        return 2 * (targets - scores)


class LogisticLossUphill(OutputGate):
    """``l = log(1 + exp(-t s))``; ``dl/ds = t sigmoid(-t s)`` should be ``-t sigmoid(-t s)``."""

    def losses(self, scores, targets):
        return np.logaddexp(-targets * scores, 0)

    def slopes(self, scores, targets):
        return targets * sigmoid(-targets * scores)


WRONG += [
    Exhibit(gate=CosineForgetsMinus(), kind="sign flipped"),
    Exhibit(gate=SubtractAddsBoth(), kind="sign flipped", says="Y"),
    Exhibit(gate=DivideForgetsMinus(), kind="sign flipped", says="Y"),
    Exhibit(gate=BellClimbs(), inputs=(draw(4, 3),), kind="sign flipped"),
    Exhibit(gate=BlendPullsTheWrongWay(), kind="sign flipped", says="T"),
    Exhibit(gate=SquaredErrorTargetMinusScore(), inputs=(draw(5, 3), draw(5, 3)), kind="sign flipped"),
    Exhibit(
        gate=LogisticLossUphill(reduction="sum"),
        inputs=(draw(6), np.array([1.0, -1.0, -1.0, 1.0, 1.0, -1.0])),
        kind="sign flipped",
    ),
]

# --- Constant factor --------------------------------------------------------------------------------------------------


class SquareForgetsTwo(ElementwiseGate):
    """``Z = X^2``; ``dX = X dZ`` should be ``2 X dZ``."""

    def forward(self, X):
        return X * X

    def derivative(self, X):
        return X


class HalfSquareKeepsTwo(ElementwiseGate):
    """``Z = X^2 / 2``; ``dX = 2 X dZ`` should be ``X dZ``."""

    def forward(self, X):
        return X * X / 2

    def derivative(self, X):
        return 2 * X


class CubeTakesTwo(ElementwiseGate):
    """``Z = X^3``; ``dX = 2 X^2 dZ`` should be ``3 X^2 dZ``."""

    def forward(self, X):
        return X * X * X

    def derivative(self, X):
        return 2 * X * X


class MeanForgetsN(Gate):
    """``Z = mean(X, axis=0)``; dX repeats dZ, should repeat ``dZ / n``."""

    def forward(self, X):
        return X.mean(axis=0)

    def backward(self, X, dZ):
        return np.broadcast_to(dZ, X.shape)


class SumDividesByN(Gate):
    """``Z = sum(X)``; dX repeats ``dZ / n``, should repeat dZ."""

    def forward(self, X):
        return X.sum()

    def backward(self, X, dZ):
        return np.broadcast_to(dZ / max(X.size, 1), X.shape)


class SquaredErrorForgetsTwo(OutputGate):
    """``l = (s - t)^2``; ``dl/ds = s - t`` should be ``2 (s - t)``."""

    def losses(self, scores, targets):
        return (scores - targets) ** 2

    def slopes(self, scores, targets):
        return scores - targets


class BellForgetsSquareOfWidth(ElementwiseGate):
    """``Z = exp(-X^2 / 2 w^2)``; ``dX = -X / w Z dZ`` should be ``-X / w^2 Z dZ``."""

    def __init__(self, width):
        self.width = width

    def forward(self, X):
        return np.exp(-0.5 * (X / self.width) ** 2)

    def derivative(self, X):
        return -X / self.width * self.forward(X)


class AffineAveragesBias(Gate):
    """``Z = X W + b``; ``db = mean(dZ, axis=0)`` should be ``sum(dZ, axis=0)``."""

    def forward(self, X, W, b):
        return X @ W + b

    def backward(self, X, W, b, dZ):
        return dZ @ W.T, X.T @ dZ, dZ.sum(axis=0) / max(len(dZ), 1)


class CrossEntropyForgetsN(Gate):
    """``Z = mean(-log softmax(X)[y])``; ``dX = (P - Y) dZ`` should be ``(P - Y) dZ / n``."""

    def forward(self, X, labels):
        return -log_softmax(X)[np.arange(len(labels)), labels].sum() / max(len(labels), 1)

    def backward(self, X, labels, dZ):
        dX = softmax(X)
        dX[np.arange(len(labels)), labels] -= 1
        return dX * dZ, None


WRONG += [
    Exhibit(gate=SquareForgetsTwo(), kind="constant factor", says=r"1/2|0\.5|half"),
    Exhibit(gate=HalfSquareKeepsTwo(), kind="constant factor", says="2|twice"),
    Exhibit(gate=CubeTakesTwo(), inputs=(draw(5),), kind="constant factor", says=r"2/3|0\.66"),
    Exhibit(gate=MeanForgetsN(), inputs=(draw(5, 3),), kind="constant factor", says="5"),
    Exhibit(gate=SumDividesByN(), inputs=(draw(7),), kind="constant factor", says="7"),
    Exhibit(gate=SquaredErrorForgetsTwo(), inputs=(draw(5, 3), draw(5, 3)), kind="constant factor", says=r"1/2|0\.5"),
    Exhibit(gate=BellForgetsSquareOfWidth(3.0), kind="constant factor", says="3"),
    Exhibit(gate=AffineAveragesBias(), inputs=(draw(5, 4), draw(4, 3), draw(3)), kind="constant factor", says="5"),
    Exhibit(
        gate=CrossEntropyForgetsN(),
        inputs=(draw(5, 3), np.array([0, 2, 1, 1, 0])),
        kind="constant factor",
        says="5",
    ),
]

# --- Transposed -------------------------------------------------------------------------------------------------------


class LinearTransposesWeights(Gate):
    """``Z = X W``; ``dW = dZ^T X`` should be ``X^T dZ``."""

    def forward(self, X, W):
        return X @ W

    def backward(self, X, W, dZ):
        return dZ @ W.T, dZ.T @ X


class LinearForgetsTranspose(Gate):
    """``Z = X W``; ``dX = dZ W`` should be ``dZ W^T``."""

    def forward(self, X, W):
        return X @ W

    def backward(self, X, W, dZ):
        return dZ @ W, X.T @ dZ


class TransposeNotUndone(Gate):
    """``Z = X^T``; ``dX = dZ`` should be ``dZ^T``."""

    def forward(self, X):
        return X.T

    def backward(self, X, dZ):
        return dZ


class BilinearTransposesMatrix(Gate):
    """``Z = x^T A y``; ``dA = y x^T dZ`` should be ``x y^T dZ``."""

    def forward(self, x, A, y):
        return x @ A @ y

    def backward(self, x, A, y, dZ):
        return A @ y * dZ, np.outer(y, x) * dZ, x @ A * dZ


class BatchedProductForgetsSwap(Gate):
    """``Z[i] = X[i] Y[i]``; ``dY[i] = X[i] dZ[i]`` should be ``X[i]^T dZ[i]``."""

    def forward(self, X, Y):
        return np.einsum("bij,bjk->bik", X, Y)

    def backward(self, X, Y, dZ):
        return np.einsum("bik,bjk->bij", dZ, Y), np.einsum("bij,bjk->bik", X, dZ)


WRONG += [
    Exhibit(gate=LinearTransposesWeights(), kind="transposed", says="W"),
    Exhibit(gate=LinearTransposesWeights(), inputs=(draw(5, 4), draw(4, 4)), kind="transposed", says="W"),
    Exhibit(gate=LinearForgetsTranspose(), inputs=(draw(5, 4), draw(4, 4)), kind="transposed", says="X"),
    Exhibit(gate=TransposeNotUndone(), inputs=(draw(4, 4),), kind="transposed"),
    Exhibit(gate=BilinearTransposesMatrix(), inputs=(draw(4), draw(4, 4), draw(4)), kind="transposed", says="A"),
    Exhibit(gate=BatchedProductForgetsSwap(), inputs=(draw(3, 4, 4), draw(3, 4, 4)), kind="transposed", says="Y"),
]

# --- Wrong order ------------------------------------------------------------------------------------------------------


class ProductReturnsSwapped(Gate):
    """``Z = X Y``; returns dY, dX."""

    def forward(self, X, Y):
        return X * Y

    def backward(self, X, Y, dZ):
        return X * dZ, Y * dZ


class LinearReturnsSwapped(Gate):
    """``Z = X W``; returns dW, dX."""

    def forward(self, W, X):
        return X @ W

    def backward(self, W, X, dZ):
        return dZ @ W.T, X.T @ dZ


class BlendReturnsShareFirst(Gate):
    """``Z = X + T (Y - X)``; returns dT, dX, dY."""

    def forward(self, X, Y, T):
        return X + T * (Y - X)

    def backward(self, X, Y, T, dZ):
        return (Y - X) * dZ, (1 - T) * dZ, T * dZ


class AffineReturnsBiasFirst(Gate):
    """``Z = X W + b``; returns db, dW, dX."""

    def forward(self, X, W, b):
        return X @ W + b

    def backward(self, X, W, b, dZ):
        return dZ.sum(axis=0), X.T @ dZ, dZ @ W.T


WRONG += [
    Exhibit(gate=ProductReturnsSwapped(), kind="wrong order"),
    Exhibit(gate=LinearReturnsSwapped(), inputs=(draw(3, 4), draw(5, 3)), kind="wrong order"),
    Exhibit(gate=LinearReturnsSwapped(), inputs=(draw(4, 4), draw(4, 4)), kind="wrong order"),
    Exhibit(gate=BlendReturnsShareFirst(), inputs=(draw(5, 3), draw(5, 3), draw(5, 3)), kind="wrong order"),
    Exhibit(gate=AffineReturnsBiasFirst(), inputs=(draw(5, 4), draw(4, 3), draw(3)), kind="wrong order"),
]

# --- Broadcast sum ----------------------------------------------------------------------------------------------------


class AffineBiasTakesFirstRow(Gate):
    """``Z = X W + b``; ``db = dZ[0]`` should be ``sum(dZ, axis=0)``."""

    def forward(self, X, W, b):
        return X @ W + b

    def backward(self, X, W, b, dZ):
        return dZ @ W.T, X.T @ dZ, dZ[0]


class BiasSumsOverColumns(Gate):
    """``Z = X + b``; ``db = sum(dZ, axis=1)`` should be ``sum(dZ, axis=0)``."""

    def forward(self, X, b):
        return X + b

    def backward(self, X, b, dZ):
        return dZ, dZ.sum(axis=1)


class OuterForgetsSum(Gate):
    """``Z[i, j] = X[i] Y[j]``; ``dX = Y dZ``, not summed over j."""

    def forward(self, X, Y):
        return X[:, None] * Y[None, :]

    def backward(self, X, Y, dZ):
        return Y[None, :] * dZ, (X[:, None] * dZ).sum(axis=0)


class RowGainSumsOverRows(Gate):
    """``Z = X g[:, None]``; ``dg = sum(X dZ, axis=0)`` should be ``sum(X dZ, axis=1)``."""

    def forward(self, X, g):
        return X * g[:, None]

    def backward(self, X, g, dZ):
        return g[:, None] * dZ, (X * dZ).sum(axis=0)


class BatchShiftTakesFirstMatrix(Gate):
    """``Z = X + b`` for a stack of matrices; ``db = dZ[0]`` is one matrix of many."""

    def forward(self, X, b):
        return X + b

    def backward(self, X, b, dZ):
        return dZ, dZ[0]


WRONG += [
    Exhibit(gate=AffineBiasTakesFirstRow(), inputs=(draw(5, 4), draw(4, 3), draw(3)), kind="broadcast sum", says="b"),
    Exhibit(gate=BiasSumsOverColumns(), inputs=(draw(4, 4), draw(4)), kind="broadcast sum", says="b"),
    Exhibit(gate=BiasSumsOverColumns(), inputs=(draw(5, 3), draw(3)), kind="broadcast sum", says="b"),
    Exhibit(gate=OuterForgetsSum(), inputs=(draw(4), draw(3)), kind="broadcast sum", says="X"),
    Exhibit(gate=OuterForgetsSum(), inputs=(draw(4), draw(4)), kind="broadcast sum", says="X"),
    Exhibit(gate=RowGainSumsOverRows(), inputs=(draw(4, 4), draw(4)), kind="broadcast sum", says="g"),
    Exhibit(gate=BatchShiftTakesFirstMatrix(), inputs=(draw(3, 4, 5), draw(4, 5)), kind="broadcast sum", says="b"),
]

# --- Upstream ignored -------------------------------------------------------------------------------------------------


class TanhIgnoresUpstream(Gate):
    """``Z = tanh(X)``; ``dX = 1 - Z^2`` should be ``(1 - Z^2) dZ``."""

    def forward(self, X):
        return np.tanh(X)

    def backward(self, X, dZ):
        return 1 - np.tanh(X) ** 2


class ColumnSumsIgnoreUpstream(Gate):
    """``Z = sum(X, axis=0)``; ``dX = 1`` should be dZ, repeated."""

    def forward(self, X):
        return X.sum(axis=0)

    def backward(self, X, dZ):
        return np.ones_like(X)


class ProductIgnoresUpstreamOnce(Gate):
    """``Z = X Y``; ``dY = X`` should be ``X dZ``."""

    def forward(self, X, Y):
        return X * Y

    def backward(self, X, Y, dZ):
        return Y * dZ, X * np.ones_like(dZ)


class SquaredErrorIgnoresUpstream(Gate):
    """``Z = mean((S - T)^2)``; ``dS = 2 (S - T) / n`` should be ``2 (S - T) / n dZ``."""

    constants = ("T",)

    def forward(self, S, T):
        return ((S - T) ** 2).sum() / max(S.size, 1)

    def backward(self, S, T, dZ):
        return 2 * (S - T) / max(S.size, 1), None


WRONG += [
    Exhibit(gate=TanhIgnoresUpstream(), kind="upstream ignored"),
    Exhibit(gate=ColumnSumsIgnoreUpstream(), inputs=(draw(5, 3),), kind="upstream ignored"),
    Exhibit(gate=ProductIgnoresUpstreamOnce(), kind="upstream ignored", says="Y"),
    Exhibit(gate=SquaredErrorIgnoresUpstream(), inputs=(draw(5, 3), draw(5, 3)), kind="upstream ignored"),
]

# --- Upstream twice ---------------------------------------------------------------------------------------------------


class SigmoidTakesUpstreamTwice(Gate):
    """``Z = sigmoid(X)``; ``dX = Z (1 - Z) dZ^2`` should be ``Z (1 - Z) dZ``."""

    def forward(self, X):
        return sigmoid(X)

    def backward(self, X, dZ):
        Z = sigmoid(X)
        slope = Z * (1 - Z) * dZ
        return slope * dZ


class ProductTakesUpstreamTwiceForY(Gate):
    """``Z = X Y``; ``dY = X dZ^2`` should be ``X dZ``."""

    def forward(self, X, Y):
        return X * Y

    def backward(self, X, Y, dZ):
        return Y * dZ, X * dZ * dZ


class DenseTanhTakesUpstreamTwice(Gate):
    """``Z = tanh(X W)``; ``dW = X^T ((1 - Z^2) dZ^2)`` should be ``X^T ((1 - Z^2) dZ)``."""

    def forward(self, X, W):
        return np.tanh(X @ W)

    def backward(self, X, W, dZ):
        dA = (1 - np.tanh(X @ W) ** 2) * dZ
        return dA @ W.T, X.T @ (dA * dZ)


WRONG += [
    Exhibit(gate=SigmoidTakesUpstreamTwice(), kind="upstream twice"),
    Exhibit(gate=ProductTakesUpstreamTwiceForY(), inputs=(draw(5, 3), draw(5, 3)), kind="upstream twice", says="Y"),
    Exhibit(gate=DenseTanhTakesUpstreamTwice(), inputs=(draw(5, 4), draw(4, 3)), kind="upstream twice", says="W"),
]

# --- Chain rule stops early -------------------------------------------------------------------------------------------


class BellStopsAtExp(ElementwiseGate):
    """``Z = exp(-X^2)``; ``dX = Z dZ`` should be ``-2 X Z dZ``."""

    def forward(self, X):
        return np.exp(-X * X)

    def derivative(self, X):
        return np.exp(-X * X)


class DenseTanhForgetsTanh(Gate):
    """``Z = tanh(X W)``; ``dX = dZ W^T`` and ``dW = X^T dZ`` should have ``(1 - Z^2) dZ`` for dZ."""

    def forward(self, X, W):
        return np.tanh(X @ W)

    def backward(self, X, W, dZ):
        return dZ @ W.T, X.T @ dZ


class SineOfSquareStopsAtSine(ElementwiseGate):
    """``Z = sin(X^2)``; ``dX = cos(X^2) dZ`` should be ``2 X cos(X^2) dZ``."""

    def forward(self, X):
        return np.sin(X * X)

    def derivative(self, X):
        return np.cos(X * X)


class LogOfSquareStopsAtLog(ElementwiseGate):
    """``Z = log(1 + X^2)``; ``dX = dZ / (1 + X^2)`` should be ``2 X dZ / (1 + X^2)``."""

    def forward(self, X):
        return np.log1p(X * X)

    def derivative(self, X):
        return 1 / (1 + X * X)


class SquareOfAffineForgetsSquare(Gate):
    """``Z = (X W + b)^2``; db is ``sum(dZ)`` over the rows, should be ``sum(2 (X W + b) dZ)``."""

    def forward(self, X, W, b):
        return (X @ W + b) ** 2

    def backward(self, X, W, b, dZ):
        dA = 2 * (X @ W + b) * dZ
        return dA @ W.T, X.T @ dA, dZ.sum(axis=0)


WRONG += [
    Exhibit(gate=BellStopsAtExp(), inputs=(draw(4, 3),), kind="chain rule stops early"),
    Exhibit(gate=DenseTanhForgetsTanh(), inputs=(draw(5, 4), draw(4, 3)), kind="chain rule stops early"),
    Exhibit(gate=SineOfSquareStopsAtSine(), kind="chain rule stops early"),
    Exhibit(gate=LogOfSquareStopsAtLog(), kind="chain rule stops early"),
    Exhibit(
        gate=SquareOfAffineForgetsSquare(),
        inputs=(draw(5, 4), draw(4, 3), draw(3)),
        kind="chain rule stops early",
        says="b",
    ),
]

# --- Derivative at the output -----------------------------------------------------------------------------------------


class TanhOfTanh(ElementwiseGate):
    """``Z = tanh(X)``; ``dX = (1 - tanh(Z)^2) dZ`` should be ``(1 - Z^2) dZ``."""

    def forward(self, X):
        return np.tanh(X)

    def derivative(self, X):
        Z = self.forward(X)
        return 1 - np.tanh(Z) ** 2


class SigmoidOfSigmoid(ElementwiseGate):
    """``Z = sigmoid(X)``; ``dX = sigmoid(Z) (1 - sigmoid(Z)) dZ`` should be ``Z (1 - Z) dZ``."""

    def forward(self, X):
        return sigmoid(X)

    def derivative(self, X):
        S = sigmoid(self.forward(X))
        return S * (1 - S)


class SoftplusSlopeAtOutput(ElementwiseGate):
    """``Z = log(1 + exp(X))``; ``dX = sigmoid(Z) dZ`` should be ``sigmoid(X) dZ``."""

    def forward(self, X):
        return np.logaddexp(X, 0)

    def derivative(self, X):
        return sigmoid(self.forward(X))


class SwishSlopeAtOutput(ElementwiseGate):
    """``Z = X sigmoid(X)``; ``dX = S (1 + Z (1 - S)) dZ`` with ``S = sigmoid(Z)``, should have X for Z."""

    def forward(self, X):
        return X * sigmoid(X)

    def derivative(self, X):
        Z = self.forward(X)
        S = sigmoid(Z)
        return S * (1 + Z * (1 - S))


class SineSlopeAtOutput(ElementwiseGate):
    """``Z = sin(X)``; ``dX = cos(Z) dZ`` should be ``cos(X) dZ``."""

    def forward(self, X):
        return np.sin(X)

    def derivative(self, X):
        return np.cos(self.forward(X))


WRONG += [
    Exhibit(gate=TanhOfTanh(), kind="derivative at the output"),
    Exhibit(gate=SigmoidOfSigmoid(), kind="derivative at the output"),
    Exhibit(gate=SoftplusSlopeAtOutput(), inputs=(draw(6),), kind="derivative at the output"),
    Exhibit(gate=SwishSlopeAtOutput(), kind="derivative at the output"),
    Exhibit(gate=SineSlopeAtOutput(), inputs=(draw(3, 4, 5),), kind="derivative at the output"),
]

# --- Derivative at the input ------------------------------------------------------------------------------------------


class TanhSlopeAtInput(ElementwiseGate):
    """``Z = tanh(X)``; ``dX = (1 - X^2) dZ`` should be ``(1 - Z^2) dZ``."""

    def forward(self, X):
        return np.tanh(X)

    def derivative(self, X):
        return 1 - X * X


class SigmoidSlopeAtInput(ElementwiseGate):
    """``Z = sigmoid(X)``; ``dX = X (1 - X) dZ`` should be ``Z (1 - Z) dZ``."""

    def forward(self, X):
        return sigmoid(X)

    def derivative(self, X):
        return X * (1 - X)


class RootSlopeAtInput(ElementwiseGate):
    """``Z = sqrt(X)``; ``dX = dZ / 2 X`` should be ``dZ / 2 Z``."""

    def forward(self, X):
        return np.sqrt(X)

    def derivative(self, X):
        return 1 / (2 * X)

    def examples(self, rng):
        return [(rng.uniform(0.5, 3.0, (5, 3)),), (rng.uniform(0.5, 3.0, 4),)]


class SoftmaxJacobianAtInput(Gate):
    """``Z = softmax(X)``; ``dX = X (dZ - sum(X dZ))`` should be ``Z (dZ - sum(Z dZ))``."""

    def forward(self, X):
        return softmax(X)

    def backward(self, X, dZ):
        return X * (dZ - (X * dZ).sum(axis=-1, keepdims=True))


WRONG += [
    Exhibit(gate=TanhSlopeAtInput(), kind="derivative at the input"),
    Exhibit(gate=SigmoidSlopeAtInput(), kind="derivative at the input"),
    Exhibit(gate=RootSlopeAtInput(), kind="derivative at the input"),
    Exhibit(gate=SoftmaxJacobianAtInput(), inputs=(draw(5, 3),), kind="derivative at the input"),
]

# --- Additive term ----------------------------------------------------------------------------------------------------


class TanhPlusConstant(Gate):
    """``Z = tanh(X)``; ``dX = (1 - Z^2) dZ + 0.001``."""

    def forward(self, X):
        return np.tanh(X)

    def backward(self, X, dZ):
        return (1 - np.tanh(X) ** 2) * dZ + 0.001


class LinearDecaysWeights(Gate):
    """``Z = X W``; ``dW = X^T dZ + 0.1 W``: a penalty that forward does not have."""

    def forward(self, X, W):
        return X @ W

    def backward(self, X, W, dZ):
        return dZ @ W.T, X.T @ dZ + 0.1 * W


class TanhAddsShortcut(Gate):
    """``Z = tanh(X)``; ``dX = (1 - Z^2) dZ + 0.5 dZ``."""

    def forward(self, X):
        return np.tanh(X)

    def backward(self, X, dZ):
        return (1 - np.tanh(X) ** 2) * dZ + 0.5 * dZ


class SwishDecaysInput(Gate):
    """``Z = X sigmoid(X)``; ``dX = S (1 + X (1 - S)) dZ + 0.1 X``."""

    def forward(self, X):
        return X * sigmoid(X)

    def backward(self, X, dZ):
        S = sigmoid(X)
        return S * (1 + X * (1 - S)) * dZ + 0.1 * X


WRONG += [
    Exhibit(gate=TanhPlusConstant(), kind="additive term", says=r"0\.001"),
    Exhibit(gate=LinearDecaysWeights(), inputs=(draw(5, 4), draw(4, 3)), kind="additive term", says=r"0\.1.*W"),
    Exhibit(gate=TanhAddsShortcut(), kind="additive term", says=r"0\.5|1/2"),
    Exhibit(gate=SwishDecaysInput(), kind="additive term", says=r"0\.1"),
]

# --- Wrong in part ----------------------------------------------------------------------------------------------------


class AbsoluteForgetsSign(Gate):
    """``Z = |X|``; ``dX = dZ`` should be ``-dZ`` where X < 0."""

    def forward(self, X):
        return np.abs(X)

    def backward(self, X, dZ):
        return dZ.copy()


class LeakyForgetsLeak(Gate):
    """``Z = X`` where X > 0, else ``0.1 X``; dX is 0 where X < 0, should be ``0.1 dZ``."""

    def forward(self, X):
        return np.where(X > 0, X, 0.1 * X)

    def backward(self, X, dZ):
        return np.where(X > 0, dZ, 0)


class SoftExponentialForgetsScale(ElementwiseGate):
    """``Z = X`` where X > 0, else ``a (exp(X) - 1)``; the slope is ``exp(X)`` where X < 0, should be ``a exp(X)``."""

    def __init__(self, a):
        self.a = a

    def forward(self, X):
        return np.where(X > 0, X, self.a * np.expm1(np.minimum(X, 0)))

    def derivative(self, X):
        return np.where(X > 0, 1, np.exp(np.minimum(X, 0)))


class HuberNeverStraightens(OutputGate):
    """``l = r^2 / 2`` where |r| < 1, else ``|r| - 1/2``; ``dl/ds = r`` should be the sign of r where |r| > 1."""

    def losses(self, scores, targets):
        distance = np.abs(scores - targets)
        square = np.minimum(distance, 1)
        return square * (distance - square / 2)

    def slopes(self, scores, targets):
        return scores - targets


class ClipLetsGradientThrough(Gate):
    """``Z = clip(X, -1, 1)``; ``dX = dZ`` should be 0 where |X| > 1."""

    def forward(self, X):
        return np.clip(X, -1, 1)

    def backward(self, X, dZ):
        return dZ.copy()


class SquareLoopForgetsLastRow(Gate):
    """``Z = X^2``, row by row; the loop of backward ends before the last row, whose gradient stays 0."""

    def forward(self, X):
        return X * X

    def backward(self, X, dZ):
        dX = np.zeros_like(X)
        for i in range(len(X) - 1):
            dX[i] = 2 * X[i] * dZ[i]
        return dX


class TanhLoopForgetsFirstRow(Gate):
    """``Z = tanh(X)``, row by row; the loop of backward starts at row 1, and the gradient of row 0 stays 0."""

    def forward(self, X):
        return np.tanh(X)

    def backward(self, X, dZ):
        dX = np.zeros_like(X)
        for i in range(1, len(X)):
            dX[i] = (1 - np.tanh(X[i]) ** 2) * dZ[i]
        return dX


class SineForgetsLastColumn(Gate):
    """``Z = sin(X)``; the last column of dX, taken for the bias, stays 0."""

    def forward(self, X):
        return np.sin(X)

    def backward(self, X, dZ):
        dX = np.zeros_like(X)
        dX[:, :-1] = (np.cos(X) * dZ)[:, :-1]
        return dX


class MirrorProductHalvesDiagonal(Gate):
    """``Z = X X^T``, element by element; ``dX = X^T (dZ + dZ^T)``, but halved on the diagonal."""

    def forward(self, X):
        return X * X.T

    def backward(self, X, dZ):
        dX = X.T * (dZ + dZ.T)
        dX[np.diag_indices_from(dX)] /= 2
        return dX


class CubeForgetsFirstElement(Gate):
    """``Z = X^3``; ``dX = 3 X^2 dZ``, but 0 in the first element."""

    def forward(self, X):
        return X * X * X

    def backward(self, X, dZ):
        dX = 3 * X * X * dZ
        dX[:1] = 0
        return dX


class EmbeddingFreezesRowZero(Gate):
    """``Z = E[rows]``; row 0 of dE is 0, as if it were padding."""

    def forward(self, E, rows):
        return E[rows]

    def backward(self, E, rows, dZ):
        dE = np.zeros_like(E)
        np.add.at(dE, rows, dZ)
        dE[:1] = 0
        return dE, None


WRONG += [
    Exhibit(gate=AbsoluteForgetsSign(), kind="wrong in part", says="X <=? 0|negative"),
    Exhibit(gate=LeakyForgetsLeak(), kind="wrong in part", says="X <=? 0|negative"),
    Exhibit(gate=SoftExponentialForgetsScale(0.25), kind="wrong in part", says="X <=? 0|negative"),
    Exhibit(
        gate=HuberNeverStraightens(reduction="sum"),
        inputs=(np.array([-3.0, -1.7, -0.6, 0.4, 0.8, 1.5, 2.5]), np.zeros(7)),
        kind="wrong in part",
    ),
    Exhibit(gate=ClipLetsGradientThrough(), inputs=(draw(5, 3),), kind="wrong in part"),
    Exhibit(gate=SquareLoopForgetsLastRow(), inputs=(draw(5, 3),), kind="wrong in part", says="row"),
    Exhibit(gate=TanhLoopForgetsFirstRow(), inputs=(draw(5, 3),), kind="wrong in part", says="row"),
    Exhibit(gate=SineForgetsLastColumn(), inputs=(draw(5, 3),), kind="wrong in part", says="column"),
    Exhibit(gate=MirrorProductHalvesDiagonal(), inputs=(draw(4, 4),), kind="wrong in part", says="diagonal"),
    Exhibit(gate=CubeForgetsFirstElement(), inputs=(draw(7),), kind="wrong in part"),
    Exhibit(
        gate=EmbeddingFreezesRowZero(),
        inputs=(draw(4, 3), np.array([0, 2, 1, 0, 3])),
        kind="wrong in part",
        says="row",
    ),
]

# --- Input overwritten ------------------------------------------------------------------------------------------------


class CentreInPlace(Gate):
    """``Z = X - mean(X)`` in each row; forward subtracts the mean from X itself."""

    def forward(self, X):
        X -= X.mean(axis=-1, keepdims=True)
        return X

    def backward(self, X, dZ):
        return dZ - dZ.mean(axis=-1, keepdims=True)


class TanhScalesUpstreamInPlace(Gate):
    """``Z = tanh(X)``; ``dX = (1 - Z^2) dZ`` is computed in dZ's own memory."""

    def forward(self, X):
        return np.tanh(X)

    def backward(self, X, dZ):
        dZ *= 1 - np.tanh(X) ** 2
        return dZ


class RectifierMasksUpstreamInPlace(Gate):
    """``Z = max(X, 0)``; backward writes zeros into dZ where X < 0."""

    def forward(self, X):
        return np.maximum(X, 0)

    def backward(self, X, dZ):
        dZ[X < 0] = 0
        return dZ


class SoftmaxInPlace(Gate):
    """``Z = softmax(X)``; forward shifts, exponentiates and divides in X's own memory."""

    def forward(self, X):
        X -= X.max(axis=-1, keepdims=True)
        np.exp(X, out=X)
        X /= X.sum(axis=-1, keepdims=True)
        return X

    def backward(self, X, dZ):
        Z = softmax(X)
        return Z * (dZ - (Z * dZ).sum(axis=-1, keepdims=True))


class SubtractNegatesInPlace(Gate):
    """``Z = X - Y``; forward turns Y itself into ``-Y``, and adds."""

    def forward(self, X, Y):
        np.negative(Y, out=Y)
        return X + Y

    def backward(self, X, Y, dZ):
        return dZ, -dZ


WRONG += [
    Exhibit(gate=CentreInPlace(), inputs=(draw(5, 3),), kind="input overwritten", says="X"),
    Exhibit(gate=TanhScalesUpstreamInPlace(), kind="input overwritten", says="dZ"),
    Exhibit(gate=RectifierMasksUpstreamInPlace(), inputs=(draw(5, 3),), kind="input overwritten", says="dZ"),
    Exhibit(gate=SoftmaxInPlace(), inputs=(draw(5, 3),), kind="input overwritten", says="X"),
    Exhibit(gate=SubtractNegatesInPlace(), inputs=(draw(5, 3), draw(5, 3)), kind="input overwritten", says="Y"),
]

# --- Stale value ------------------------------------------------------------------------------------------------------


class TanhKeepsOutput(Gate):
    """``Z = tanh(X)``; backward uses the Z of the last forward."""

    def forward(self, X):
        self.Z = np.tanh(X)
        return self.Z

    def backward(self, X, dZ):
        return (1 - self.Z * self.Z) * dZ


class LinearKeepsInput(Gate):
    """``Z = X W``; ``dW = X^T dZ`` with the X of the last forward."""

    def forward(self, X, W):
        self.X = X
        return X @ W

    def backward(self, X, W, dZ):
        return dZ @ W.T, self.X.T @ dZ


class RectifierKeepsMask(Gate):
    """``Z = max(X, 0)``; backward uses the mask of the last forward."""

    def forward(self, X):
        self.mask = X > 0
        return np.where(self.mask, X, 0)

    def backward(self, X, dZ):
        return np.where(self.mask, dZ, 0)


class NormKeepsLength(Gate):
    """``Z = sqrt(1 + sum(X^2))`` of each row; ``dX = X / Z dZ`` with the Z of the last forward."""

    def forward(self, X):
        self.length = np.sqrt(1 + (X * X).sum(axis=-1, keepdims=True))
        return self.length.copy()

    def backward(self, X, dZ):
        return X / self.length * dZ


WRONG += [
    Exhibit(gate=TanhKeepsOutput(), kind="stale value"),
    Exhibit(gate=LinearKeepsInput(), inputs=(draw(5, 4), draw(4, 3)), kind="stale value"),
    Exhibit(gate=RectifierKeepsMask(), inputs=(draw(5, 3),), kind="stale value"),
    Exhibit(gate=NormKeepsLength(), inputs=(draw(5, 3),), kind="stale value"),
]

# --- Non-square shapes ------------------------------------------------------------------------------------------------


class RowMeanCountsRows(Gate):
    """``Z = mean(X, axis=1)``; dX repeats ``dZ / X.shape[0]``, should repeat ``dZ / X.shape[1]``."""

    def forward(self, X):
        return X.mean(axis=1)

    def backward(self, X, dZ):
        return np.broadcast_to(dZ[:, None] / X.shape[0], X.shape)


class RowSumRepeatsByRows(Gate):
    """``Z = sum(X, axis=1)``; backward repeats dZ ``X.shape[0]`` times, should be ``X.shape[1]`` times."""

    def forward(self, X):
        return X.sum(axis=1)

    def backward(self, X, dZ):
        return np.repeat(dZ[:, None], X.shape[0], axis=1)


class CentreCountsRows(Gate):
    """``Z = X - mean(X, axis=1)``; backward takes ``sum(dZ, axis=1) / X.shape[0]`` for the mean of dZ."""

    def forward(self, X):
        return X - X.mean(axis=1, keepdims=True)

    def backward(self, X, dZ):
        return dZ - dZ.sum(axis=1, keepdims=True) / X.shape[0]


class AttentionScalesByRows(Gate):
    """``Z = Q K^T / sqrt(d)``; dQ divides by the root of ``Q.shape[0]``, should be of ``d = Q.shape[1]``."""

    def forward(self, Q, K):
        return Q @ K.T / math.sqrt(max(Q.shape[1], 1))

    def backward(self, Q, K, dZ):
        dK = dZ.T @ Q / math.sqrt(max(Q.shape[1], 1))
        return dZ @ K / math.sqrt(max(Q.shape[0], 1)), dK


WRONG += [
    Exhibit(gate=RowMeanCountsRows(), kind="non-square shapes"),
    Exhibit(gate=RowSumRepeatsByRows(), kind="non-square shapes"),
    Exhibit(gate=CentreCountsRows(), kind="non-square shapes"),
    Exhibit(gate=AttentionScalesByRows(), kind="non-square shapes", says="Q"),
]

# --- No gradient ------------------------------------------------------------------------------------------------------


class TanhGivesZeros(Gate):
    """``Z = tanh(X)``; ``dX = 0``: the array was made, and never filled."""

    def forward(self, X):
        return np.tanh(X)

    def backward(self, X, dZ):
        return np.zeros_like(X)


class LinearSkipsWeights(Gate):
    """``Z = X W``; dW is None, should be ``X^T dZ``."""

    def forward(self, X, W):
        return X @ W

    def backward(self, X, W, dZ):
        return dZ @ W.T, None


class SigmoidForgetsReturn(Gate):
    """``Z = sigmoid(X)``; backward computes ``Z (1 - Z) dZ`` and does not return it."""

    def forward(self, X):
        return sigmoid(X)

    def backward(self, X, dZ):
        Z = sigmoid(X)
        Z *= (1 - Z) * dZ


class AffineBiasStaysZero(Gate):
    """``Z = X W + b``; ``db = 0`` should be ``sum(dZ, axis=0)``."""

    def forward(self, X, W, b):
        return X @ W + b

    def backward(self, X, W, b, dZ):
        return dZ @ W.T, X.T @ dZ, np.zeros_like(b)


class GatherFillsCopy(Gate):
    """``Z = X[rows]``; backward writes dZ into ``dX[rows]``, which is a copy, so that dX stays 0."""

    def forward(self, X, rows):
        return X[rows]

    def backward(self, X, rows, dZ):
        dX = np.zeros_like(X)
        dX[rows][:] = dZ
        return dX, None


WRONG += [
    Exhibit(gate=TanhGivesZeros(), kind="no gradient"),
    Exhibit(gate=LinearSkipsWeights(), inputs=(draw(5, 4), draw(4, 3)), kind="no gradient", says="W"),
    Exhibit(gate=SigmoidForgetsReturn(), kind="no gradient"),
    Exhibit(gate=AffineBiasStaysZero(), inputs=(draw(5, 4), draw(4, 3), draw(3)), kind="no gradient", says="b"),
    Exhibit(gate=GatherFillsCopy(), inputs=(draw(4, 3), np.array([0, 2, 3, 1, 0])), kind="no gradient", says="X"),
]

# --- One use of several -----------------------------------------------------------------------------------------------


class EmbeddingAssignsRepeats(Gate):
    """``Z = E[rows]``; ``dE[rows] = dZ`` keeps one dZ of each row, should add all."""

    def forward(self, E, rows):
        return E[rows]

    def backward(self, E, rows, dZ):
        dE = np.zeros_like(E)
        dE[rows] = dZ
        return dE, None


class GatherAddsOnce(Gate):
    """``Z = X[rows]``; ``dX[rows] += dZ`` adds once for each row, however often it is named (np.add.at adds all)."""

    def forward(self, X, rows):
        return X[rows]

    def backward(self, X, rows, dZ):
        dX = np.zeros_like(X)
        dX[rows] += dZ
        return dX, None


class DifferenceAssignsTwice(Gate):
    """``Z[i] = X[i + 1] - X[i]``; ``dX[:-1] = -dZ`` after ``dX[1:] = dZ``, should be ``dX[:-1] -= dZ``."""

    def forward(self, X):
        return X[1:] - X[:-1]

    def backward(self, X, dZ):
        dX = np.zeros_like(X)
        dX[1:] = dZ
        dX[:-1] = -dZ
        return dX


class WindowAssignsTwice(Gate):
    """``Z[i] = X[i] X[i + 1]``; ``dX[1:] = X[:-1] dZ`` should be ``+=``."""

    def forward(self, X):
        return X[:-1] * X[1:]

    def backward(self, X, dZ):
        dX = np.zeros_like(X)
        dX[:-1] = X[1:] * dZ
        dX[1:] = X[:-1] * dZ
        return dX


class GramSeesOneFactor(Gate):
    """``Z = X X^T``; ``dX = dZ X`` should be ``dZ X + dZ^T X``."""

    def forward(self, X):
        return X @ X.T

    def backward(self, X, dZ):
        return dZ @ X


class FeaturesForgetSquares(Gate):
    """``Z = [X, X^2]`` side by side; ``dX = dZ1`` should be ``dZ1 + 2 X dZ2``."""

    def forward(self, X):
        return np.concatenate([X, X * X], axis=-1)

    def backward(self, X, dZ):
        return dZ[..., : X.shape[-1]].copy()


WRONG += [
    Exhibit(gate=EmbeddingAssignsRepeats(), inputs=(draw(4, 3), np.array([0, 2, 2, 3, 0])), kind="one use of several"),
    Exhibit(gate=GatherAddsOnce(), inputs=(draw(6), np.array([5, 1, 1, 1, 0, 3])), kind="one use of several"),
    Exhibit(gate=DifferenceAssignsTwice(), inputs=(draw(6),), kind="one use of several"),
    Exhibit(gate=WindowAssignsTwice(), inputs=(draw(5, 3),), kind="one use of several"),
    Exhibit(gate=GramSeesOneFactor(), inputs=(draw(5, 3),), kind="one use of several"),
    Exhibit(gate=FeaturesForgetSquares(), inputs=(draw(5, 3),), kind="one use of several"),
]

# --- Wrong places -----------------------------------------------------------------------------------------------------


class FlipNotUndone(Gate):
    """``Z = X[::-1]``; ``dX = dZ`` should be ``dZ[::-1]``."""

    def forward(self, X):
        return X[::-1].copy()

    def backward(self, X, dZ):
        return dZ.copy()


class RollsOnInsteadOfBack(Gate):
    """``Z = roll(X, 1)``; ``dX = roll(dZ, 1)`` should be ``roll(dZ, -1)``."""

    def forward(self, X):
        return np.roll(X, 1, axis=0)

    def backward(self, X, dZ):
        return np.roll(dZ, 1, axis=0)


class CumulativeSumNotFlippedBack(Gate):
    """``Z = cumsum(X)``; ``dX = cumsum(dZ[::-1])`` should be ``cumsum(dZ[::-1])[::-1]``."""

    def forward(self, X):
        return np.cumsum(X, axis=0)

    def backward(self, X, dZ):
        return np.cumsum(dZ[::-1], axis=0)


class EvenRowsFirstTwice(Gate):
    """``Z = X[p]``, p the even rows and then the odd ones; ``dX = dZ[p]`` should be ``dX[p] = dZ``."""

    def forward(self, X):
        return np.concatenate([X[0::2], X[1::2]])

    def backward(self, X, dZ):
        return np.concatenate([dZ[0::2], dZ[1::2]])


class SortNotUndone(Gate):
    """``Z = sort(X)``; ``dX = dZ[argsort(X)]`` should be ``dX[argsort(X)] = dZ``."""

    def forward(self, X):
        return np.sort(X)

    def backward(self, X, dZ):
        return dZ[np.argsort(X)]


class SliceReturnsToTheLeft(Gate):
    """``Z = X[:, 1:]``; ``dX[:, :-1] = dZ`` should be ``dX[:, 1:] = dZ``."""

    def forward(self, X):
        return X[:, 1:].copy()

    def backward(self, X, dZ):
        dX = np.zeros_like(X)
        dX[:, :-1] = dZ
        return dX


WRONG += [
    Exhibit(gate=FlipNotUndone(), inputs=(draw(5, 3),), kind="wrong places"),
    Exhibit(gate=RollsOnInsteadOfBack(), inputs=(draw(5),), kind="wrong places"),
    Exhibit(gate=CumulativeSumNotFlippedBack(), inputs=(draw(6),), kind="wrong places"),
    Exhibit(gate=EvenRowsFirstTwice(), inputs=(draw(5, 3),), kind="wrong places"),
    Exhibit(gate=SortNotUndone(), inputs=(np.array([-0.7, 0.9, 1.5, -1.4, -0.3, 2.1, 0.2]),), kind="wrong places"),
    Exhibit(gate=SliceReturnsToTheLeft(), inputs=(draw(5, 4),), kind="wrong places"),
]

# --- Diagonal only ----------------------------------------------------------------------------------------------------


class SoftmaxDiagonal(Gate):
    """``Z = softmax(X)``; ``dX = Z (1 - Z) dZ`` should be ``Z (dZ - sum(Z dZ))``."""

    def forward(self, X):
        return softmax(X)

    def backward(self, X, dZ):
        Z = softmax(X)
        return Z * (1 - Z) * dZ


class LogSoftmaxDiagonal(Gate):
    """``Z = log(softmax(X))``; ``dX = (1 - P) dZ`` should be ``dZ - P sum(dZ)``."""

    def forward(self, X):
        return log_softmax(X)

    def backward(self, X, dZ):
        return (1 - softmax(X)) * dZ


class UnitLengthDiagonal(Gate):
    """``Z = X / r``, ``r = sqrt(1 + sum(X^2))``; ``dX = (1 - Z^2) dZ / r`` should be ``(dZ - Z sum(Z dZ)) / r``."""

    def forward(self, X):
        return X / np.sqrt(1 + (X * X).sum(axis=-1, keepdims=True))

    def backward(self, X, dZ):
        r = np.sqrt(1 + (X * X).sum(axis=-1, keepdims=True))
        return (1 - (X / r) ** 2) * dZ / r


class CentreDiagonal(Gate):
    """``Z = X - mean(X, axis=0)``; ``dX = (1 - 1/n) dZ`` should be ``dZ - mean(dZ, axis=0)``."""

    def forward(self, X):
        return X - X.mean(axis=0)

    def backward(self, X, dZ):
        return (1 - 1 / max(len(X), 1)) * dZ


WRONG += [
    Exhibit(gate=SoftmaxDiagonal(), inputs=(draw(5, 3),), kind="diagonal only"),
    Exhibit(gate=SoftmaxDiagonal(), inputs=(draw(3, 4, 5),), kind="diagonal only"),
    Exhibit(gate=LogSoftmaxDiagonal(), inputs=(draw(5, 3),), kind="diagonal only"),
    Exhibit(gate=UnitLengthDiagonal(), inputs=(draw(5, 3),), kind="diagonal only"),
    Exhibit(gate=CentreDiagonal(), inputs=(draw(5, 3),), kind="diagonal only"),
]

# --- Breaches without a diagnosis -------------------------------------------------------------------------------------


class MeanOverMissingAxis(Gate):
    """``Z = mean(X, axis=2)`` of a matrix, which has no such axis."""

    def forward(self, X):
        return X.mean(axis=2)

    def backward(self, X, dZ):
        return np.broadcast_to(dZ[:, :, None] / X.shape[2], X.shape)


class TanhReturnsNothing(Gate):
    """``Z = tanh(X)``, which forward computes and does not return."""

    def forward(self, X):
        np.tanh(X)

    def backward(self, X, dZ):
        return (1 - np.tanh(X) ** 2) * dZ


class ProductReturnsOneGradient(Gate):
    """``Z = X Y``; returns ``dX = Y dZ`` alone."""

    def forward(self, X, Y):
        return X * Y

    def backward(self, X, Y, dZ):
        return Y * dZ


class TanhReturnsFlatGradient(Gate):
    """``Z = tanh(X)``; dX comes as a vector, whatever the shape of X."""

    def forward(self, X):
        return np.tanh(X)

    def backward(self, X, dZ):
        return ((1 - np.tanh(X) ** 2) * dZ).ravel()


class LinearClipsGradient(Gate):
    """``Z = X W``; dX and dW are clipped to -1..1 and no longer linear in dZ."""

    def forward(self, X, W):
        return X @ W

    def backward(self, X, W, dZ):
        return np.clip(dZ @ W.T, -1, 1), np.clip(X.T @ dZ, -1, 1)


class TanhTakesSignOfUpstream(Gate):
    """``Z = tanh(X)``; ``dX = (1 - Z^2) sign(dZ)``."""

    def forward(self, X):
        return np.tanh(X)

    def backward(self, X, dZ):
        return (1 - np.tanh(X) ** 2) * np.sign(dZ)


class NoisyTanh(Gate):
    """``Z = tanh(X) + noise``, drawn anew at every forward."""

    def forward(self, X):
        noise = np.random.default_rng().standard_normal(X.shape)
        return np.tanh(X) + (0.1 * noise).astype(X.dtype)

    def backward(self, X, dZ):
        return (1 - np.tanh(X) ** 2) * dZ


class DropoutDrawsTwice(Gate):
    """``Z = mask X``; forward and backward each draw a mask of their own."""

    def forward(self, X):
        return X * (np.random.default_rng().random(X.shape) > 0.5)

    def backward(self, X, dZ):
        return dZ * (np.random.default_rng().random(X.shape) > 0.5)


class TanhKeepsOutputForPlots(Gate):
    """``Z = tanh(X)``; forward keeps Z, though backward does not use it."""

    def forward(self, X):
        self.last = np.tanh(X)
        return self.last.copy()

    def backward(self, X, dZ):
        return (1 - np.tanh(X) ** 2) * dZ


class SquareCountsCalls(Gate):
    """``Z = X^2``; counts how often backward ran."""

    calls = 0

    def forward(self, X):
        return X * X

    def backward(self, X, dZ):
        self.calls += 1
        return 2 * X * dZ


class MaskSeedsEverything(Gate):
    """``Z = mask X``; seeds NumPy's global generator for a mask that is always the same."""

    def forward(self, X):
        np.random.seed(0)  # noqa: NPY002
        return X * (np.random.random_sample(X.shape) > 0.5)  # noqa: NPY002

    def backward(self, X, dZ):
        np.random.seed(0)  # noqa: NPY002
        return dZ * (np.random.random_sample(X.shape) > 0.5)  # noqa: NPY002


class TanhDrawsForNothing(Gate):
    """``Z = tanh(X)``; draws noise from NumPy's global generator even though its strength is 0."""

    def forward(self, X):
        noise = np.random.standard_normal(X.shape).astype(X.dtype)  # noqa: NPY002
        return np.tanh(X) + 0.0 * noise

    def backward(self, X, dZ):
        return (1 - np.tanh(X) ** 2) * dZ


class SwishWidens(Gate):
    """``Z = X sigmoid(X)``, added to zeros that are float64."""

    def forward(self, X):
        Z = np.zeros(X.shape)
        Z += X * sigmoid(X)
        return Z

    def backward(self, X, dZ):
        S = sigmoid(X)
        return S * (1 + X * (1 - S)) * dZ


class ScaleWidensGradient(Gate):
    """``Z = X sqrt(3)``; dX is multiplied by np.sqrt(3), which is float64."""

    def forward(self, X):
        return X * math.sqrt(3)

    def backward(self, X, dZ):
        return dZ * np.sqrt(3.0)


class CumulativeSumInMemoryOrder(Gate):
    """``Z = cumsum(X)`` over all elements, taken in the order of memory and not of the axes."""

    def forward(self, X):
        return np.cumsum(X.ravel(order="K")).reshape(X.shape)

    def backward(self, X, dZ):
        return np.cumsum(dZ.ravel()[::-1])[::-1].reshape(X.shape)


class QuarterTurnThroughView(Gate):
    """``Z = i X``, pairs of columns seen as complex numbers: a view that needs the elements side by side."""

    def forward(self, X):
        return (1j * X.view(np.result_type(X.dtype, np.complex64))).view(X.dtype)

    def backward(self, X, dZ):
        dZ = np.ascontiguousarray(dZ)
        return (-1j * dZ.view(np.result_type(dZ.dtype, np.complex64))).view(dZ.dtype)


class SquareFillsLostCopy(Gate):
    """``Z = X^2``; backward fills ``reshape(-1)`` of an array laid out like X: a view of it, or a copy that is lost."""

    def forward(self, X):
        return X * X

    def backward(self, X, dZ):
        dX = np.zeros_like(X)
        flat = dX.reshape(-1)
        flat[:] = (2 * X * dZ).reshape(-1)
        return dX


class ScoresSqueezed(Gate):
    """``Z = squeeze(X w)``, one score per row; a single row loses its axis too."""

    def forward(self, X, w):
        return (X @ w[:, None]).squeeze()

    def backward(self, X, w, dZ):
        return dZ[:, None] * w, X.T @ dZ


class CentreDropsRow(Gate):
    """``Z = X - mean(X, axis=1)``; a single row is taken for a vector."""

    def forward(self, X):
        Z = X - X.mean(axis=1, keepdims=True)
        return Z[0] if len(Z) == 1 else Z

    def backward(self, X, dZ):
        return dZ - dZ.mean(axis=-1, keepdims=True)


class ProductFillsInputShape(Gate):
    """``Z = X Y``; adds each gradient to zeros of its input's shape, which a broadcast input does not fit."""

    def forward(self, X, Y):
        return X * Y

    def backward(self, X, Y, dZ):
        dX, dY = np.zeros_like(X), np.zeros_like(Y)
        dX += Y * dZ
        dY += X * dZ
        return dX, dY


class SoftplusOverflows(Gate):
    """``Z = log(1 + exp(X))`` as it is written: infinite for large X."""

    def forward(self, X):
        return np.log(1 + np.exp(X))

    def backward(self, X, dZ):
        return sigmoid(X) * dZ


class SoftmaxOverflows(Gate):
    """``Z = exp(X) / sum(exp(X))`` as it is written: not a number for large X."""

    def forward(self, X):
        E = np.exp(X)
        return E / E.sum(axis=-1, keepdims=True)

    def backward(self, X, dZ):
        Z = softmax(X)
        return Z * (dZ - (Z * dZ).sum(axis=-1, keepdims=True))


class SigmoidSlopeOverflows(Gate):
    """``Z = sigmoid(X)``; ``dX = exp(-X) / (1 + exp(-X))^2 dZ`` is infinite over infinite for X far below 0."""

    def forward(self, X):
        return sigmoid(X)

    def backward(self, X, dZ):
        E = np.exp(-X)
        return E / (1 + E) ** 2 * dZ


WRONG += [
    Exhibit(gate=MeanOverMissingAxis(), inputs=(draw(5, 3),), check="forward runs"),
    Exhibit(gate=TanhReturnsNothing(), check="forward runs"),
    Exhibit(gate=ProductReturnsOneGradient(), inputs=(draw(5, 3), draw(5, 3)), check="gradients fit their inputs"),
    Exhibit(gate=TanhReturnsFlatGradient(), inputs=(draw(5, 3),), check="gradients fit their inputs"),
    Exhibit(gate=LinearClipsGradient(), inputs=(draw(5, 4), draw(4, 3)), check="linear in the upstream gradient"),
    Exhibit(gate=TanhTakesSignOfUpstream(), check="linear in the upstream gradient"),
    Exhibit(gate=NoisyTanh(), check="same answer twice"),
    Exhibit(gate=DropoutDrawsTwice(), inputs=(draw(5, 3),), check="same answer twice"),
    Exhibit(gate=TanhKeepsOutputForPlots(), check="nothing is kept"),
    Exhibit(gate=SquareCountsCalls(), check="nothing is kept"),
    Exhibit(gate=MaskSeedsEverything(), inputs=(draw(5, 3),), check="no global randomness"),
    Exhibit(gate=TanhDrawsForNothing(), check="no global randomness"),
    Exhibit(gate=SwishWidens(), check="float32 stays float32"),
    Exhibit(gate=ScaleWidensGradient(), check="float32 stays float32"),
    Exhibit(gate=CumulativeSumInMemoryOrder(), inputs=(draw(5, 3),), check="non-contiguous inputs"),
    Exhibit(gate=QuarterTurnThroughView(), inputs=(draw(3, 4),), check="non-contiguous inputs"),
    Exhibit(gate=SquareFillsLostCopy(), check="non-contiguous inputs"),
    Exhibit(gate=ScoresSqueezed(), inputs=(draw(5, 3), draw(3)), check="one row"),
    Exhibit(gate=CentreDropsRow(), inputs=(draw(5, 3),), check="one row"),
    Exhibit(gate=ProductFillsInputShape(), check="broadcasting"),
    Exhibit(gate=SoftplusOverflows(), check="extreme inputs"),
    Exhibit(gate=SoftmaxOverflows(), inputs=(draw(5, 3),), check="extreme inputs"),
    Exhibit(gate=SigmoidSlopeOverflows(), check="extreme inputs"),
]

# --- Wrong in no known way --------------------------------------------------------------------------------------------


class TanhTakenForArctan(ElementwiseGate):
    """``Z = tanh(X)``; ``dX = dZ / (1 + X^2)``, the slope of another function."""

    def forward(self, X):
        return np.tanh(X)

    def derivative(self, X):
        return 1 / (1 + X * X)


class SwishMixesSigns(ElementwiseGate):
    """``Z = X sigmoid(X)``; ``dX = S (1 + X (1 + S)) dZ`` should be ``S (1 + X (1 - S)) dZ``."""

    def forward(self, X):
        return X * sigmoid(X)

    def derivative(self, X):
        S = sigmoid(X)
        return S * (1 + X * (1 + S))


class SigmoidSmearsUpstream(Gate):
    """``Z = sigmoid(X)``; ``dX = Z (1 - Z) sum(dZ)`` over each row, should be ``Z (1 - Z) dZ``."""

    def forward(self, X):
        return sigmoid(X)

    def backward(self, X, dZ):
        Z = sigmoid(X)
        return Z * (1 - Z) * dZ.sum(axis=-1, keepdims=True)


class RowProductDividesByOne(Gate):
    """``Z = prod(X)`` of each row; ``dX = Z / (1 + X^2) dZ`` should be ``Z / X dZ``."""

    def forward(self, X):
        return X.prod(axis=-1, keepdims=True)

    def backward(self, X, dZ):
        return X.prod(axis=-1, keepdims=True) / (1 + X * X) * dZ


WRONG += [
    Exhibit(gate=TanhTakenForArctan(), check="gradient is right"),
    Exhibit(gate=SwishMixesSigns(), check="gradient is right"),
    Exhibit(gate=SigmoidSmearsUpstream(), inputs=(draw(5, 3),), check="gradient is right"),
    Exhibit(gate=RowProductDividesByOne(), inputs=(draw(5, 3),), check="gradient is right"),
]
