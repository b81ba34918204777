"""Gradient descent on a loss graph: the objective, the loop, and what happens when it diverges."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gates.contract import Array
from nngraph.graph import Graph, Values
from nngraph.nodes import Parameter


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
        return self.graph.forward(self.feeds)

    def loss(self, values: Values) -> float:
        """Return the data loss, neither scaled nor penalised."""
        return float(values[self.graph.outputs[0]])

    def value(self, values: Values) -> float:
        """Return J."""
        weights = [p.value for p in self.graph.parameters if p.value.ndim >= 2]
        return self.scale * self.loss(values) + self.reg_lambda / 2 * sum(float((W * W).sum()) for W in weights)

    def gradient(self, gradients: Values) -> list[Array]:
        """Return dJ/dp for every parameter p, from the graph's gradients at an upstream gradient of `scale`."""
        return [_penalised(p, gradients[p], self.reg_lambda) for p in self.graph.parameters]


def _penalised(parameter: Parameter, gradient: Array | None, reg_lambda: float) -> Array:
    value = parameter.value
    if gradient is None:
        gradient = np.zeros_like(value)
    return gradient + reg_lambda * value if value.ndim >= 2 else gradient


def gradient_descent(
    objective: Objective,
    num_passes: int,
    epsilon: float,
    history: list[float],
    report: Callable[[int, float], None],
) -> None:
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

    Raises
    ------
    DivergenceError
        If a value or gradient is not finite; the parameters are those of the last finite loss.

    Warns
    -----
    UserWarning
        If interrupted (Ctrl-C): the parameters are those of the last complete pass.
    """
    graph = objective.graph
    start = max(len(history) - 1, 0)
    # One assignment moves on to the next pass, so that an interrupt finds the old state or the new one, whole.
    passes, theta = state = 0, _flat([p.value for p in graph.parameters])
    last_finite = theta
    try:
        while True:
            passes, theta = state
            values = objective.forward()
            loss = objective.loss(values)
            if not np.isfinite(loss):
                state = max(passes - 1, 0), last_finite
                raise _divergence(graph, _first_non_finite(values.items()), "became", passes, epsilon)
            history[start + passes :] = [loss]
            report(passes, loss)
            if passes == num_passes:
                break
            gradients = graph.backward(objective.scale)
            gradient = _flat(objective.gradient(gradients))
            stepped = theta - epsilon * gradient
            if not np.isfinite(stepped).all():
                backwards = ((name, gradients[name]) for name in reversed(graph.names))
                names = (graph.names[graph.position(p)] for p in graph.parameters)
                if found := _first_non_finite(backwards):
                    raise _divergence(graph, found, "got a gradient of", passes, epsilon)
                found = _first_non_finite(zip(names, _split(graph, stepped), strict=True))
                raise _divergence(graph, found, "became", passes, epsilon)
            last_finite, state = theta, (passes + 1, stepped)
            _scatter(graph, stepped)
    except KeyboardInterrupt:
        _scatter(graph, state[1])
        history[start + state[0] :] = [objective.loss(objective.forward())]
        warnings.warn(
            f"Training was interrupted after {state[0]} of {num_passes} passes; the model keeps what it learned.",
            stacklevel=3,
        )
    finally:
        _scatter(graph, state[1])


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


def _first_non_finite(arrays: Iterable[tuple[str, Array | None]]) -> tuple[str, float] | None:
    """Return the name of the first array that holds nan or infinity, and that value."""
    for name, array in arrays:
        if array is not None and not np.isfinite(array).all():
            return name, float(array[~np.isfinite(array)][0])
    return None


def _divergence(graph: Graph, found: Any, did: str, passes: int, epsilon: float) -> DivergenceError:
    name, value = found
    node = graph.nodes[graph.position(name)]
    kind = type(node if node.gate is None else node.gate).__name__
    kept = "The initial weights are kept" if passes == 0 else "The last finite weights are kept"
    return DivergenceError(
        f"training diverged in pass {passes}: node {name!r} ({kind}) {did} {value}. {kept}. "
        f"Use a smaller epsilon (it was {epsilon:g}), or scale the data so that its columns have mean 0 and variance 1",
        passes,
        name,
    )
