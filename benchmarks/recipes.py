"""What `benchmarks/learning.py` trains, and how: the tasks, and for each the optimisers and what goes with them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.datasets import make_moons
from workloads import WORKLOADS, Workload

import gates
from nngraph import Dropout, Model
from nngraph.optimizers import Adagrad, Adam, AdamW, GradientDescent, Momentum, Nesterov, Optimizer, RMSprop
from nngraph.penalties import ElasticNet


@dataclass(frozen=True)
class Recipe:
    """A row of the table: the optimiser, and what goes with it."""

    title: str
    optimizer: Optimizer
    penalty: ElasticNet | None = None
    clip_norm: float | None = None
    cosine: bool = False
    dropout: float = 0.0


@dataclass(frozen=True)
class Task:
    """A net of one hidden layer, its data, and how many rows a step takes.

    Attributes
    ----------
    workload : Workload
        The net, and its initial weights.
    rows, batch_size : int
        How many examples there are, and how many a step takes.
    dtype : str
    rate : float
        Of gradient descent on the mean loss; momentum takes a tenth of it.
    checked : int
        After how many epochs the losses must agree.
    """

    workload: Workload
    rows: int
    batch_size: int
    dtype: str
    rate: float
    checked: int

    @property
    def steps(self) -> int:
        """How many steps an epoch has."""
        return -(-self.rows // self.batch_size)

    @cached_property
    def data(self) -> tuple[Any, Any]:
        """The features, and the labels or targets."""
        if self.workload.loss == "Softmax":
            X, y = make_moons(self.rows, noise=0.2, random_state=0)
            return X.astype(self.dtype), y
        Xs, ys = self.workload.data(self.dtype)
        return np.concatenate(Xs), np.concatenate(ys)

    def model(self, recipe: Recipe) -> Model:
        """Return the model at the initial weights."""
        architecture: list[Any] = list(self.workload.widths)
        if recipe.dropout:
            architecture.insert(2, Dropout(recipe.dropout))
        layer, last = (None if a is None else getattr(gates, a)() for a in self.workload.activations)
        output = getattr(gates, self.workload.loss)()
        model = Model(architecture, layer=layer, last_layer=last, output=output, dtype=self.dtype)
        for i, (W, b) in enumerate(self.workload.weights(self.dtype)):
            model.W[i], model.b[i] = W, b
        return model

    @property
    def recipes(self) -> list[Recipe]:
        """The rows of the table."""
        descent = GradientDescent(self.rate)
        return [
            Recipe("GradientDescent", descent),
            Recipe("Momentum", Momentum(self.rate / 10)),
            Recipe("Nesterov", Nesterov(self.rate / 10)),
            Recipe("Adagrad", Adagrad(0.01)),
            Recipe("RMSprop", RMSprop(0.001)),
            Recipe("Adam", Adam(0.001)),
            Recipe("AdamW", AdamW(0.001)),
            Recipe("descent, L2", descent, ElasticNet(0.0, 1e-4)),
            Recipe("descent, L1", descent, ElasticNet(1e-5, 0.0)),
            Recipe("descent, ElasticNet", descent, ElasticNet(1e-5, 1e-4)),
            Recipe("descent, clip_norm", descent, clip_norm=0.01),
            Recipe("descent, Cosine", descent, cosine=True),
            Recipe("descent, dropout", descent, dropout=0.5),
            Recipe("Adam, L2, Cosine, dropout", Adam(0.001), ElasticNet(0.0, 1e-4), cosine=True, dropout=0.5),
        ]


MOONS = Workload("moons 2-8-2 tanh, softmax", (2, 8, 2), "Tanh", "Softmax", rows=200, epsilon=0.0)
TASKS = {
    "S11": Task(WORKLOADS["S11"], 500, WORKLOADS["S11"].rows, "float32", 15.0, 2),
    "moons": Task(MOONS, 200, 200, "float64", 0.5, 50),
    "moons-20": Task(MOONS, 200, 20, "float64", 0.5, 5),
}
