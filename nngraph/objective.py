"""The objective of training, and the error of a training that diverged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gates.arrays import Array
from nngraph.graph import Graph, Values
from nngraph.nodes import Parameter
from nngraph.penalties import ElasticNet
from nngraph.tracing import NonFiniteError, Trace

# For steps that are too long.
ADVICE = (
    "Start anew with a smaller epsilon (it was {:g}), or scale the data: columns of mean 0 and variance 1; the step "
    "follows the sum over all examples, so more of them need a smaller epsilon"
)
FIT_ADVICE = (
    "Start anew with a smaller rate (it was {:g}), scale the data to columns of mean 0 and variance 1, or cut the "
    "gradient with clip_norm"
)


class DivergenceError(NonFiniteError):
    """Training met a value that is not finite; the last finite weights are kept.

    Attributes
    ----------
    pass_number : int
        The pass in which it happened, counted from 0.
    node, place, inputs, cause
        What first became non-finite, where, and why, see `NonFiniteError`.
    rows : array of int, or None
        Which rows of X the batch had, in which that happened: row 0 of a place is ``X[error.rows[0]]``. None where all
        rows of X were trained on at once, or it is not known.
    """

    def __init__(self, message: str, pass_number: int, trace: Trace, rows: Array | None = None) -> None:
        super().__init__(message, trace)
        self.pass_number, self.rows = pass_number, rows

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.pass_number, self.trace, self.rows)


@dataclass(frozen=True)
class Objective:
    """``J = scale * loss + penalties`` on given data, at the parameters' present values, as training has it.

    Attributes
    ----------
    graph : Graph
        Its one output is the loss.
    feeds : mapping
        The data, and what was drawn at random.
    scale : float
        What the loss is multiplied by: the number of losses, to descend their sum when the loss is their mean.
    penalties : mapping from parameter to ElasticNet
        The penalty of every parameter that has one.
    """

    graph: Graph
    feeds: Mapping[Any, Array]
    scale: float = 1.0
    penalties: Mapping[Parameter, ElasticNet] = field(default_factory=dict)

    def forward(self) -> Values:
        """Compute every node."""
        return self.graph.evaluate(self.feeds, training=True)

    def loss(self, values: Values) -> float:
        """Return the data loss, neither scaled nor penalised."""
        return float(values[self.graph.outputs[0]])

    def value(self, loss: float) -> float:
        """Return J for the parameters' present values, at which the data loss is `loss`."""
        return self.scale * loss + sum(penalty.value(p.value) for p, penalty in self.penalties.items())

    def backward(self, values: Values) -> Values:
        """Return the gradients of the scaled loss, without the penalties, by every node."""
        return self.graph.backward(self.scale, values=values)

    def gradient(self, gradients: Values) -> list[Array]:
        """Return dJ/dp for every parameter p, from what `backward` returned."""
        return [self._penalised(p, gradients[p]) for p in self.graph.parameters]

    def _penalised(self, parameter: Parameter, gradient: Array | None) -> Array:
        if gradient is None:
            gradient = np.zeros_like(parameter.value)
        penalty = self.penalties.get(parameter)
        return gradient if penalty is None else gradient + penalty.gradient(parameter.value)
