"""Layers: activation functions, each with its derivative, and softmax with its true Jacobian."""

from __future__ import annotations

import math

import numpy as np
import scipy

from gates.arrays import Array
from gates.contract import ElementwiseGate, Gate, setting

# scipy.special is reached as an attribute of scipy, which loads it at the first use: importing it costs 0.15 s.


class Sigmoid(ElementwiseGate):
    """``Z = 1 / (1 + exp(-X))``; ``dX = Z (1 - Z) dZ``."""

    def forward(self, X: Array) -> Array:
        return scipy.special.expit(X)

    def derivative(self, X: Array) -> Array:
        Z = self.forward(X)
        return Z * (1 - Z)


class Tanh(ElementwiseGate):
    """``Z = tanh(X)``; ``dX = (1 - Z^2) dZ``."""

    def forward(self, X: Array) -> Array:
        return np.tanh(X)

    def derivative(self, X: Array) -> Array:
        Z = self.forward(X)
        return 1 - Z * Z


class ReLU(ElementwiseGate):
    """``Z = max(X, 0)``; ``dX = dZ`` where X > 0, else 0."""

    def forward(self, X: Array) -> Array:
        return np.maximum(X, 0)

    def derivative(self, X: Array) -> Array:
        return (X > 0).astype(X.dtype)


class LeakyReLU(ElementwiseGate):
    """``Z = X`` where X > 0, else ``slope X``; ``dX = dZ`` where X > 0, else ``slope dZ``.

    Parameters
    ----------
    slope : float, default=0.01
        The slope of the negative side.

    References
    ----------
    Maas, Hannun, Ng: Rectifier nonlinearities improve neural network acoustic models. ICML 2013.
    """

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = setting(slope, "LeakyReLU: slope")

    def forward(self, X: Array) -> Array:
        return np.where(X > 0, X, self.slope * X)

    def derivative(self, X: Array) -> Array:
        return np.where(X > 0, np.ones_like(X), self.slope)


class ELU(ElementwiseGate):
    """``Z = X`` where X > 0, else ``alpha (exp(X) - 1)``; ``dX = dZ`` where X > 0, else ``alpha exp(X) dZ``.

    Parameters
    ----------
    alpha : float, default=1.0
        Minus the limit for X to minus infinity.

    References
    ----------
    Clevert, Unterthiner, Hochreiter: Fast and accurate deep network learning by exponential linear units. ICLR 2016.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = setting(alpha, "ELU: alpha")

    def forward(self, X: Array) -> Array:
        return np.where(X > 0, X, self.alpha * np.expm1(np.minimum(X, 0)))

    def derivative(self, X: Array) -> Array:
        return np.where(X > 0, np.ones_like(X), self.alpha * np.exp(np.minimum(X, 0)))


class GELU(ElementwiseGate):
    """``Z = X Phi(X)``, Phi the normal distribution function; ``dX = (Phi(X) + X phi(X)) dZ``.

    This is the exact form, not the tanh approximation.

    References
    ----------
    Hendrycks, Gimpel: Gaussian error linear units (GELUs). arXiv:1606.08415, 2016.
    """

    def forward(self, X: Array) -> Array:
        return X * scipy.special.ndtr(X)

    def derivative(self, X: Array) -> Array:
        density = np.exp(-0.5 * X * X) / math.sqrt(2 * math.pi)
        return scipy.special.ndtr(X) + X * density


class SiLU(ElementwiseGate):
    """``Z = X S``, S = sigmoid(X), also called swish; ``dX = S (1 + X (1 - S)) dZ``.

    References
    ----------
    Elfwing, Uchibe, Doya: Sigmoid-weighted linear units for neural network function approximation in reinforcement
    learning. Neural Networks 107, 2018.
    """

    def forward(self, X: Array) -> Array:
        return X * scipy.special.expit(X)

    def derivative(self, X: Array) -> Array:
        S = scipy.special.expit(X)
        return S * (1 + X * (1 - S))


class Softplus(ElementwiseGate):
    """``Z = log(1 + exp(X))``; ``dX = sigmoid(X) dZ``."""

    def forward(self, X: Array) -> Array:
        return np.logaddexp(X, 0)

    def derivative(self, X: Array) -> Array:
        return scipy.special.expit(X)


class SoftmaxLayer(Gate):
    """``Z = exp(X) / sum(exp(X))`` along an axis; ``dX = Z (dZ - sum(Z dZ))``, the product with its full Jacobian.

    An inner layer, for attention and mixtures. To classify, end with the output `Softmax`, which takes the scores.

    Parameters
    ----------
    axis : int, default=-1
        The axis along which the values become positive and sum to one.
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, X: Array) -> Array:
        return softmax(X, self.axis)

    def backward(self, X: Array, dZ: Array) -> Array:
        Z = self.forward(X)
        return Z * (dZ - (Z * dZ).sum(axis=self.axis, keepdims=True))


def softmax(X: Array, axis: int = -1) -> Array:
    """``exp(X) / sum(exp(X))`` along an axis, shifted by the maximum so that no exponential overflows."""
    E = np.exp(X - X.max(axis=axis, keepdims=True))
    return E / E.sum(axis=axis, keepdims=True)


def log_softmax(X: Array, axis: int = -1) -> Array:
    """``X - log(sum(exp(X)))`` along an axis, shifted by the maximum so that no exponential overflows."""
    X = X - X.max(axis=axis, keepdims=True)
    return X - np.log(np.exp(X).sum(axis=axis, keepdims=True))
