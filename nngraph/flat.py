"""The parameters of a graph in one vector, their gradients in another, and what training averages in a third."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from gates.arrays import Array
from nngraph.graph import Graph
from nngraph.nodes import Parameter, Running

N = TypeVar("N", Parameter, Running)


class Flat:
    """Where training has the parameters, in the graph's order, and what goes with them.

    Attributes
    ----------
    theta, gradient : arrays
        The vectors of the parameters' values and gradients.
    averages, statistics : arrays
        The vectors of the averages of all `Running` nodes, and of what they are in a batch.
    values, gradients, averages_of, statistics_of : dicts from node to array
        Each node's part of theta, gradient, averages and statistics, in its shape: views.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.parameters, self.running = graph.parameters, graph.running
        self.theta, self.values = _joined(self.parameters)
        self.gradient = np.zeros_like(self.theta)
        self.gradients = split(self.gradient, self.parameters)
        self.averages, self.averages_of = _joined(self.running, self.theta.dtype)
        self.statistics = np.zeros_like(self.averages)
        self.statistics_of = split(self.statistics, self.running)
        self._momenta = self._for_each([node.momentum for node in self.running])
        self._unbiased = self._for_each([float(node.unbiased) for node in self.running])

    def _for_each(self, numbers: Sequence[float]) -> Array:
        """Return a vector with a number for every element of the averages."""
        sizes = [node.value.size for node in self.running]
        return np.repeat(np.asarray(numbers, self.averages.dtype), sizes)

    def read(self) -> None:
        """Take the parameters' values, and the averages."""
        for parameter, part in self.values.items():
            part[...] = parameter.value
        for running, part in self.averages_of.items():
            part[...] = running.value

    def write(self) -> None:
        """Give the parameters these values, and the averages."""
        self.write_parameters()
        for running, part in self.averages_of.items():
            running.value[...] = part

    def write_parameters(self) -> None:
        """Give the parameters these values."""
        for parameter, part in self.values.items():
            parameter.value = part

    def average(self, rows: int) -> None:
        """Move the averages towards the statistics of a batch of so many rows."""
        if not self.running:
            return
        # m for the sum over m, m - 1 for what is known of the spread of all from m of them.
        self.statistics += self.statistics * self._unbiased / max(rows - 1, 1)
        self.statistics -= self.averages
        self.statistics *= self._momenta
        self.averages += self.statistics


def _joined(nodes: Sequence[N], dtype: Any = None) -> tuple[Array, dict[N, Array]]:
    """Return the values of nodes as one vector, and its parts."""
    vector = np.concatenate([node.value.ravel() for node in nodes], dtype=dtype) if nodes else np.empty(0)
    return vector, split(vector, nodes)


def split(vector: Array, nodes: Sequence[N]) -> dict[N, Array]:
    """Return each node's part of a vector, in the shape of its value."""
    return {node: vector[place].reshape(node.value.shape) for node, place in places(nodes).items()}


def places(nodes: Sequence[N]) -> dict[N, slice]:
    """Return where each node's part of a vector is."""
    ends = np.cumsum([0, *(node.value.size for node in nodes)]).tolist()
    return dict(zip(nodes, map(slice, ends[:-1], ends[1:]), strict=True))
