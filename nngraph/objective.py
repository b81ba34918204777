"""The objective of training, and the error of a training that diverged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gates.arrays import Array
from nngraph.graph import Graph, Values

# For steps that are too long.
ADVICE = (
    "Start anew with a smaller epsilon (it was {:g}), or scale the data: columns of mean 0 and variance 1; the step "
    "follows the sum over all examples, so more of them need a smaller epsilon"
)


class DivergenceError(ArithmeticError):
    """Training met a value that is not finite; the last finite weights are kept.

    Attributes
    ----------
    pass_number : int
        The pass in which it happened, counted from 0.
    node : str
        The name of the node that first became non-finite.
    """

    def __init__(self, message: str, pass_number: int, node: str) -> None:
        super().__init__(message)
        self.pass_number, self.node = pass_number, node

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.pass_number, self.node)


@dataclass(frozen=True)
class Objective:
    """``J = scale * loss + reg_lambda / 2 * sum(W^2)`` on given data, at the parameters' present values.

    Attributes
    ----------
    graph : Graph
        Its one output is the loss.
    feeds : mapping
        The data.
    scale : float
        What the loss is multiplied by: the number of losses, to descend their sum when the loss is their mean.
    reg_lambda : float
        The strength of the penalty; it is on W only, the parameters with two or more axes.
    """

    graph: Graph
    feeds: Mapping[Any, Array]
    scale: float
    reg_lambda: float

    def copy(self) -> Objective:
        """Return the objective on copies of the data."""
        return replace(self, feeds={node: array.copy() for node, array in self.feeds.items()})

    def forward(self) -> Values:
        """Compute every node."""
        return self.graph.evaluate(self.feeds)

    def loss(self, values: Values) -> float:
        """Return the data loss, neither scaled nor penalised."""
        return float(values[self.graph.outputs[0]])

    def value(self, loss: float) -> float:
        """Return J for the parameters' present values, at which the data loss is `loss`."""
        weights = [p.value for p in self.graph.parameters if p.value.ndim >= 2]
        return self.scale * loss + self.reg_lambda / 2 * sum(float((W * W).sum()) for W in weights)

    def backward(self, values: Values) -> Values:
        """Return the gradients of the scaled loss, without the penalty, by every node."""
        return self.graph.backward(self.scale, values=values)

    def gradient(self, gradients: Values) -> list[Array]:
        """Return dJ/dp for every parameter p, from what `backward` returned."""
        return [self._penalised(p.value, gradients[p]) for p in self.graph.parameters]

    def _penalised(self, value: Array, gradient: Array | None) -> Array:
        if gradient is None:
            gradient = np.zeros_like(value)
        return gradient + self.reg_lambda * value if value.ndim >= 2 else gradient
