"""Gradient descent on a loss graph: the objective, the loop, and what happens when it diverges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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


def gradient_descent(
    objective: Objective,
    num_passes: int,
    epsilon: float,
    history: list[float],
    report: Callable[[int, float], None],
) -> int:
    """Take `num_passes` steps ``theta <- theta - epsilon dJ/dtheta`` on all data at once.

    Parameters
    ----------
    objective : Objective
        J; its graph's parameters are trained in place.
    num_passes : int
        The number of steps.
    epsilon : float
        The learning rate.
    history : list of float
        ``history[k]`` becomes the loss after k passes; where it is not empty, its last pass is where this starts.
    report : callable
        Called as ``report(k, loss)`` with the loss after k passes.

    Returns
    -------
    passes : int
        The steps that were taken; fewer than `num_passes` if a KeyboardInterrupt (Ctrl-C) ended it. One that comes
        before the first loss is raised.

    Raises
    ------
    DivergenceError
        If a value, a gradient or a step is not finite.

    Notes
    -----
    However it ends, the parameters are the last whose loss was computed and finite, and `history` ends with that loss.
    If a gate raises before any step was taken, both are as they were.
    """
    graph = objective.graph
    start = max(len(history) - 1, 0)
    theta = _flat([p.value for p in graph.parameters])
    # Moved on by one assignment, so that an interrupt finds the old state or the new one, whole.
    initial: tuple[int, Array, list[float]] = (0, theta, history[start:])
    good = initial
    try:
        for passes in range(num_passes + 1):
            values = objective.forward()
            loss = objective.loss(values)
            if not np.isfinite(loss):
                raise _divergence(graph, passes, epsilon, values)
            good = (passes, theta, [loss])
            history[start + passes :] = [loss]
            report(passes, loss)
            if passes < num_passes:
                gradients = objective.backward(values)
                theta = theta - epsilon * _flat(objective.gradient(gradients))
                if not np.isfinite(theta).all():
                    raise _divergence(graph, passes, epsilon, values, gradients, theta)
                _scatter(graph, theta)
    except KeyboardInterrupt:
        if good is initial:
            raise
        return good[0]
    except Exception as error:
        if good[0] == 0 and not isinstance(error, DivergenceError):
            good = initial
        raise
    finally:
        passes, theta, last = good
        _scatter(graph, theta)
        history[start + passes :] = last
    return passes


def _flat(arrays: Sequence[Array]) -> Array:
    """Return the parameters' values, or their gradients, as one vector."""
    return np.concatenate([array.ravel() for array in arrays])


def _split(graph: Graph, theta: Array) -> Iterator[Array]:
    """Cut a vector into the parameters' shapes, in the graph's order."""
    start = 0
    for parameter in graph.parameters:
        stop = start + parameter.value.size
        yield theta[start:stop].reshape(parameter.value.shape)
        start = stop


def _scatter(graph: Graph, theta: Array) -> None:
    """Write a vector into the parameters."""
    for parameter, value in zip(graph.parameters, _split(graph, theta), strict=True):
        parameter.value = value


def _divergence(
    graph: Graph,
    passes: int,
    epsilon: float,
    values: Values,
    gradients: Values | None = None,
    theta: Array | None = None,
) -> DivergenceError:
    """Describe what first became non-finite: a value, else a gradient, else a parameter in the step."""
    arrays: list[tuple[str, str, Array | None]] = [(name, "became", array) for name, array in values.items()]
    if gradients is not None and theta is not None:
        arrays += [(name, "got a gradient of", gradients[name]) for name in reversed(graph.names)]
        stepped = zip(graph.parameters, _split(graph, theta), strict=True)
        arrays += [(graph.names[graph.position(p)], "became", array) for p, array in stepped]
    name, did, array = next((n, d, a) for n, d, a in arrays if a is not None and not np.isfinite(a).all())
    node = graph.nodes[graph.position(name)]
    kind = type(node if node.gate is None else node.gate).__name__
    kept = "The initial weights are kept" if passes == 0 else "The last finite weights are kept, but may be huge"
    return DivergenceError(
        f"training diverged in pass {passes}: node {name!r} ({kind}) {did} {array[~np.isfinite(array)][0]}. {kept}. "
        f"{ADVICE.format(epsilon)}",
        passes,
        name,
    )
