"""What is trained: nets, data and initial weights, the same for everyone; and the goals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from sklearn.datasets import make_moons

import gates
from nngraph import Model

# Takes so many steps from where it stands, and returns the loss that the last of them computed.
Run: TypeAlias = Callable[[int], float]


@dataclass(frozen=True)
class Workload:
    """``theta <- theta - epsilon d(sum of losses + reg_lambda / 2 sum(W^2))/dtheta``, one batch after another.

    Attributes
    ----------
    title : str
        What the table calls it.
    widths : tuple of int
        Features, hidden units, scores.
    layer, last_layer, loss : str
        Gates by name: of the hidden layers, of the scores (or None), of the output.
    rows, batches : int
        The examples in a batch, and how many batches follow each other before the first comes again.
    epsilon, reg_lambda, use_bias, reduction
        As in `Model`; the reported loss is the losses' sum or mean, what is descended is the sum.
    dtypes : tuple of str
        In which it is run.
    goals : dict from competitor to tuple of float
        How many times our time it must need, at least, for each dtype.
    """

    title: str
    widths: tuple[int, ...]
    layer: str
    loss: str
    rows: int
    epsilon: float
    batches: int = 1
    last_layer: str | None = None
    reg_lambda: float = 0.0
    use_bias: bool = True
    reduction: str = "mean"
    dtypes: tuple[str, ...] = ("float32", "float64")
    goals: dict[str, tuple[float, ...]] = field(default_factory=dict, hash=False)

    @property
    def activations(self) -> list[str | None]:
        """The layers' activations, by name."""
        return [self.layer] * (len(self.widths) - 2) + [self.last_layer]

    @property
    def divisor(self) -> int:
        """By what the sum of losses is divided for the reported loss."""
        losses = self.rows * (self.widths[-1] if self.loss == "SquaredError" else 1)
        return losses if self.reduction == "mean" else 1

    def data(self, dtype: str) -> tuple[list[Any], list[Any]]:
        """Return the batches: features (rows, widths[0]), and labels (rows,) or targets (rows, widths[-1])."""
        X, y, _ = _drawn(self)
        return list(X.astype(dtype)), list(y if self.loss == "Softmax" else y.astype(dtype))

    def weights(self, dtype: str) -> list[tuple[Any, Any]]:
        """Return W and b (None without bias) of every layer, as new arrays."""
        return [(W.astype(dtype), b.astype(dtype) if self.use_bias else None) for W, b in _drawn(self)[2]]

    def flat(self, dtype: str) -> Any:
        """Return all weights as one vector: W1, b1, W2, b2, ..."""
        return np.concatenate([p.ravel() for layer in self.weights(dtype) for p in layer if p is not None])

    def cut(self, vector: Any) -> list[tuple[Any, Any]]:
        """Return such a vector's views W and b (None without bias) of every layer."""
        views, stop = [], 0
        for m, n in pairwise(self.widths):
            start, middle = stop, stop + m * n
            stop = middle + (n if self.use_bias else 0)
            views.append((vector[start:middle].reshape(m, n), vector[middle:stop] if self.use_bias else None))
        return views

    def model(self, dtype: str) -> Model:
        """Return the model, at the initial weights."""
        layer, last_layer = (None if name is None else getattr(gates, name)() for name in (self.layer, self.last_layer))
        output = getattr(gates, self.loss)(reduction=self.reduction)
        settings = {"layer": layer, "last_layer": last_layer, "output": output, "use_bias": self.use_bias}
        model = Model(self.widths, dtype=dtype, **settings)
        for i, (W, b) in enumerate(self.weights(dtype)):
            model.W[i] = W
            if b is not None:
                model.b[i] = b
        return model


@cache
def _drawn(workload: Workload) -> tuple[Any, Any, list[tuple[Any, Any]]]:
    """Draw the batches' features and targets, and the layers' W and b, in float64."""
    if workload is WORKLOADS["S1"]:
        # The published network draws in this order.
        rng = np.random.RandomState(0)
        X, y = make_moons(workload.rows, noise=0.20, random_state=rng)
        layers = [(rng.normal(size=(m, n)) / np.sqrt(m), rng.normal(size=n)) for m, n in pairwise(workload.widths)]
        return X[None], y[None], layers
    rng = np.random.default_rng(0)
    X = rng.random((workload.batches, workload.rows, workload.widths[0]))
    layers = [(rng.normal(0, np.sqrt(2 / m), (m, n)), np.zeros(n)) for m, n in pairwise(workload.widths)]
    # Labels that can be learned, from a linear teacher.
    labels = ((X - 0.5) @ rng.standard_normal((workload.widths[0], workload.widths[-1]))).argmax(axis=-1)
    return X, labels if workload.loss == "Softmax" else np.eye(workload.widths[-1])[labels], layers


# Nobody may be faster by hand than by this factor.
BY_HAND = 1 / 1.15
WORKLOADS = {
    "S1": Workload(
        "moons 2-3-2 as published, all 200 rows",
        (2, 3, 2), "Tanh", "Softmax", rows=200, epsilon=0.01, last_layer="Tanh", reg_lambda=0.01, dtypes=("float64",),
        goals={"by hand": (BY_HAND,), "published code": (3,), "torch": (9,), "sklearn": (9,), "jax, a pass": (1.3,)},
    ),
    "S3": Workload(
        "1000-100-100-10 ReLU, sum of squares, all 128 rows",
        (1000, 100, 100, 10), "ReLU", "SquaredError", rows=128, epsilon=1e-6, use_bias=False, reduction="sum",
        goals={"by hand": (BY_HAND, BY_HAND), "torch": (1.5, 1)},
    ),
    # Rate 3 on the mean over the batch of half the squared distance: 3 / (2 * 10) on the sum of squares.
    "S11": Workload(
        "784-30-10 sigmoid, squares, batch 10",
        (784, 30, 10), "Sigmoid", "SquaredError", rows=10, epsilon=0.15, batches=50, last_layer="Sigmoid",
        goals={"by hand": (BY_HAND, BY_HAND), "torch": (8, 6)},
    ),
    "784-128-10": Workload(
        "784-128-10 ReLU, softmax, batch 128",
        (784, 128, 10), "ReLU", "Softmax", rows=128, epsilon=2e-4, batches=20,
        goals={"by hand": (BY_HAND, BY_HAND), "torch": (1.5, 1.15)},
    ),
    "784-512-512-10": Workload(
        "784-512-512-10 ReLU, softmax, batch 256",
        (784, 512, 512, 10), "ReLU", "Softmax", rows=256, epsilon=1e-4, batches=20,
        goals={"by hand": (BY_HAND, BY_HAND), "torch": (1, 0.9)},
    ),
}  # fmt: skip
