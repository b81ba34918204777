"""Gates that normalise: by statistics that are inputs, as batch normalisation does, and by those of every row."""

from __future__ import annotations

import numpy as np

from gates.arrays import Array
from gates.contract import Gate, setting


class StandardizeGate(Gate):
    """``Z = gamma N + beta``, ``N = (X - mean) / S``, ``S = sqrt(variance + epsilon)``; ``dX = gamma / S dZ``.

    And ``dmean = -dX``, ``dgamma = N dZ``, ``dvariance = -gamma / (2 S^2) dgamma``, ``dbeta = dZ`` (each summed over
    what its input, which broadcasts, was repeated along).

    This is batch normalisation: in training with the statistics of the batch, ``MeanGate(axis=0)(X)`` and
    ``VarianceGate(axis=0)(X)``, through which the gradient goes on to X; to predict, with those of all the data.

    Parameters
    ----------
    epsilon : float, default=1e-5
        What is added to the variance, which must not be negative, so that columns that are constant stay finite.

    References
    ----------
    Ioffe, Szegedy: Batch normalization: accelerating deep network training by reducing internal covariate shift. ICML
    2015.
    """

    def __init__(self, epsilon: float = 1e-5) -> None:
        self.epsilon = setting(epsilon, "StandardizeGate: epsilon", "positive")

    def examples(self, rng: np.random.Generator) -> list[tuple[Array, ...]]:
        """Return statistics of columns, of rows, and of everything; no variance is negative."""
        X, gamma, beta = rng.standard_normal((5, 3)), *rng.standard_normal((2, 3))
        return [
            (X, rng.standard_normal(shape), rng.uniform(0.5, 2.0, shape), gamma, beta) for shape in ((3,), (5, 1), ())
        ]

    def forward(self, X: Array, mean: Array, variance: Array, gamma: Array, beta: Array) -> Array:
        return gamma / np.sqrt(variance + self.epsilon) * (X - mean) + beta

    def backward(
        self, X: Array, mean: Array, variance: Array, gamma: Array, beta: Array, dZ: Array
    ) -> tuple[Array, Array, Array, Array, Array]:
        S = np.sqrt(variance + self.epsilon)
        scale = gamma / S
        dX, dgamma = scale * dZ, (X - mean) / S * dZ
        return dX, -dX, -scale / (2 * S) * dgamma, dgamma, dZ


class LayerNormGate(Gate):
    """``Z = gamma N + beta``, ``N = (X - mean(X)) / S``, ``S = sqrt(variance(X) + epsilon)``, along the last axis.

    ``dX = (dN - mean(dN) - N mean(N dN)) / S``, ``dN = gamma dZ``; ``dgamma = N dZ``, ``dbeta = dZ`` (summed over the
    rows). X has shape (..., d), gamma and beta have shape (d,).

    Parameters
    ----------
    epsilon : float, default=1e-5
        What is added to the variance, so that rows that are constant stay finite.

    References
    ----------
    Ba, Kiros, Hinton: Layer normalization. arXiv:1607.06450, 2016.
    """

    def __init__(self, epsilon: float = 1e-5) -> None:
        self.epsilon = setting(epsilon, "LayerNormGate: epsilon", "positive")

    def forward(self, X: Array, gamma: Array, beta: Array) -> Array:
        N, _ = self._normalized(X)
        return gamma * N + beta

    def backward(self, X: Array, gamma: Array, beta: Array, dZ: Array) -> tuple[Array, Array, Array]:
        N, S = self._normalized(X)
        dN = gamma * dZ
        dX = (dN - dN.mean(axis=-1, keepdims=True) - N * (N * dN).mean(axis=-1, keepdims=True)) / S
        return dX, N * dZ, dZ

    def _normalized(self, X: Array) -> tuple[Array, Array]:
        C = X - X.mean(axis=-1, keepdims=True)
        S = np.sqrt((C * C).mean(axis=-1, keepdims=True) + self.epsilon)
        return C / S, S
