"""Training steps written by hand, in place: what NumPy can do on this machine, for our engine to be held against.

Common to both: parameters and gradients are vectors, with W and b as views; every array is made once; products are
the method `dot`, which on small arrays costs half of `matmul`; sums are products with ones; constants are arrays
without axes, which cost half of Python's numbers; the labels' scores are picked by `take` or a product.
"""

from typing import Any

import numpy as np
from workloads import Run, Workload


def by_hand(workload: Workload, dtype: str) -> Run:
    """Return the hand-written training of a workload."""
    return _moons(workload, dtype) if workload.layer == "Tanh" else _rows(workload, dtype)


def _moons(workload: Workload, dtype: str) -> Run:
    """Train ``H = tanh(W1' X + b1), S = tanh(W2' H + b2), P = softmax(S)``, a column per example.

    A row of ones stands under X and under H, and in theta b stands under W: one product adds the bias too, and one
    gives both gradients.
    """
    (X,), (y,) = workload.data(dtype)
    n, width = len(X), workload.widths[1]
    theta = workload.flat(dtype)
    gradient, decay = np.empty_like(theta), np.ones_like(theta)
    W1, dW1 = (v[: 3 * width].reshape(3, width) for v in (theta, gradient))
    W2, dW2 = (v[3 * width :].reshape(width + 1, 2) for v in (theta, gradient))
    for W, _ in workload.cut(decay):
        np.subtract(W, workload.epsilon * workload.reg_lambda, W)
    X, H_ones = np.vstack([X.T, np.ones(n, dtype)]), np.ones((width + 1, n), dtype)
    H, dH, slope_H = H_ones[:width], np.empty((width, n), dtype), np.empty((width, n), dtype)
    S, dS, slope_S = np.empty((3, 2, n), dtype)
    W1T, W2T, W2_only, dST, dHT = W1.T, W2.T, W2[:width], dS.T, dH.T
    (S_0, S_1), (dS_0, dS_1) = S, dS
    highest, total = np.empty((2, n), dtype)
    wanted = np.array([y == 0, y == 1], dtype)
    flat_dS, flat_wanted, ones, pair = dS.reshape(-1), wanted.reshape(-1), np.ones(n, dtype), np.ones(2, dtype)
    one, rate = np.array(1, dtype), np.array(workload.epsilon, dtype)

    def run(steps: int) -> float:
        for _ in range(steps):
            W1T.dot(X, H)
            np.tanh(H, H)
            W2T.dot(H_ones, S)
            np.tanh(S, S)
            # The loss is the mean of log(sum(exp(s))) - s[y], where s is shifted so that its highest is 0.
            np.maximum(S_0, S_1, out=highest)
            np.subtract(S_0, highest, dS_0)
            np.subtract(S_1, highest, dS_1)
            picked = flat_wanted.dot(flat_dS)
            np.exp(dS, dS)
            pair.dot(dS, total)
            np.divide(dS_0, total, dS_0)
            np.divide(dS_1, total, dS_1)
            np.log(total, total)
            loss = (float(ones.dot(total)) - float(picked)) / n
            # dS = (P - onehot(y)) (1 - S^2), dH = W2 dS (1 - H^2)
            np.subtract(dS, wanted, dS)
            np.multiply(S, S, slope_S)
            np.subtract(one, slope_S, slope_S)
            np.multiply(dS, slope_S, dS)
            H_ones.dot(dST, dW2)
            W2_only.dot(dS, dH)
            np.multiply(H, H, slope_H)
            np.subtract(one, slope_H, slope_H)
            np.multiply(dH, slope_H, dH)
            X.dot(dHT, dW1)
            np.multiply(theta, decay, theta)
            np.multiply(gradient, rate, gradient)
            np.subtract(theta, gradient, theta)
        return loss

    return run


def _rows(workload: Workload, dtype: str) -> Run:
    """Train ``A = layer(A W + b)``, a row per example; the rate is in the loss's slope, so the update is one call."""
    Xs, ys = workload.data(dtype)
    theta = workload.flat(dtype)
    gradient = np.empty_like(theta)
    layers, slopes = workload.cut(theta), workload.cut(gradient)
    A, dA = ([np.empty((workload.rows, width), dtype) for width in workload.widths[1:]] for _ in range(2))
    acts = [_activation(name, Z, dZ) for name, Z, dZ in zip(workload.activations, A, dA, strict=True)]
    sum_of_losses = _cross_entropy(A[-1], dA[-1]) if workload.loss == "Softmax" else _squares(A[-1], dA[-1])
    rate = np.array(workload.epsilon * (1 if workload.loss == "Softmax" else 2), dtype)
    ones = np.ones(workload.rows, dtype)

    def run(steps: int) -> float:
        for step in range(steps):
            inputs = [Xs[step % workload.batches], *A]
            for i, (W, b) in enumerate(layers):
                inputs[i].dot(W, A[i])
                if b is not None:
                    np.add(A[i], b, A[i])
                acts[i][0]()
            loss = sum_of_losses(ys[step % workload.batches]) / workload.divisor
            np.multiply(dA[-1], rate, dA[-1])
            for i in range(len(layers) - 1, -1, -1):
                acts[i][1]()
                dW, db = slopes[i]
                inputs[i].T.dot(dA[i], dW)
                if db is not None:
                    ones.dot(dA[i], db)
                if i:
                    dA[i].dot(layers[i][0].T, dA[i - 1])
            np.subtract(theta, gradient, theta)
        return loss

    return run


def _activation(name: str | None, A: Any, dA: Any) -> tuple[Any, Any]:
    """Return two functions for ``A <- layer(A)`` and ``dA <- dA layer'``."""
    zero, one, slope, positive = np.zeros((), A.dtype), np.ones((), A.dtype), np.empty_like(A), np.empty_like(A, bool)

    def relu() -> None:
        np.greater(A, zero, positive)
        np.multiply(A, positive, A)

    def relu_slope() -> None:
        np.multiply(dA, positive, dA)

    def sigmoid() -> None:
        np.negative(A, A)
        np.exp(A, A)
        np.add(A, one, A)
        np.reciprocal(A, A)

    def sigmoid_slope() -> None:
        np.multiply(A, A, slope)
        np.subtract(A, slope, slope)
        np.multiply(dA, slope, dA)

    def nothing() -> None:
        pass

    return {"ReLU": (relu, relu_slope), "Sigmoid": (sigmoid, sigmoid_slope), None: (nothing, nothing)}[name]


def _cross_entropy(S: Any, dS: Any) -> Any:
    """Return a function from labels to the sum of ``log(sum(exp(s))) - s[y]``; it sets ``dS = P - onehot(y)``."""
    n, k = S.shape
    highest, total, picked, at = np.empty((n, 1), S.dtype), np.empty(n, S.dtype), np.empty(n, S.dtype), np.empty(n, int)
    rows, ones_n, ones_k = k * np.arange(n), np.ones(n, S.dtype), np.ones(k, S.dtype)
    flat, divisor = dS.reshape(-1), total[:, None]

    def sum_of_losses(y: Any) -> float:
        np.maximum.reduce(S, 1, None, highest, True)
        np.subtract(S, highest, dS)
        np.add(rows, y, at)
        flat.take(at, None, picked, "clip")
        np.exp(dS, dS)
        dS.dot(ones_k, total)
        np.divide(dS, divisor, dS)
        np.log(total, total)
        flat[at] -= 1
        return float(ones_n.dot(total)) - float(ones_n.dot(picked))

    return sum_of_losses


def _squares(S: Any, dS: Any) -> Any:
    """Return a function from targets t to the sum of ``(s - t)^2``; it sets ``dS = S - t``, half the slope."""
    flat = dS.reshape(-1)

    def sum_of_losses(t: Any) -> float:
        np.subtract(S, t, dS)
        return float(flat.dot(flat))

    return sum_of_losses
