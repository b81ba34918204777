"""How a loss and its gradient are computed, on all data or on some of their rows: from node to node, or captured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np

from gates.arrays import Array
from nngraph.engines.compiled import Compiled
from nngraph.engines.gathering import gather, tables
from nngraph.engines.layout import empty
from nngraph.flat import Flat
from nngraph.graph import Values
from nngraph.nodes import Constant, Node, Random
from nngraph.objective import Objective
from nngraph.program.program import GuardError


class Steps(Protocol):
    """What training asks for at the present theta: the loss, and the gradient of the scaled loss, in `flat`."""

    flat: Flat
    buffer_bytes: int

    def load(self, feeds: Mapping[Node, Array]) -> bool:
        """Take other data of the same shapes; return False if that cannot be done."""

    def taker(self, data: Mapping[Node, Array]) -> Callable[[Array], bool]:
        """Return a function that takes rows of data, given by number, like `load`; the data are known to be good."""

    def draw(self, rng: np.random.Generator) -> None:
        """Draw what is random."""

    def loss(self) -> float:
        """Return the data loss."""

    def differentiate(self) -> None:
        """Write the gradient of the scaled loss, and the statistics, into `flat`; `loss` was called before."""

    def objective(self) -> Objective:
        """Return the objective on the present data."""


class NodeByNode:
    """Steps through the graph, one node at a time."""

    def __init__(self, objective: Objective, flat: Flat) -> None:
        self._objective, self.flat, self.buffer_bytes = objective, flat, 0
        self._values: Values | None = None

    def load(self, feeds: Mapping[Node, Array]) -> bool:
        """Return False: other data are another objective."""
        return False

    def taker(self, data: Mapping[Node, Array]) -> Callable[[Array], bool]:
        """Return a function that takes rows of data."""

        def take(rows: Array) -> bool:
            feeds = {node: array[rows] for node, array in data.items()}
            self._objective = replace(self._objective, feeds={**self._objective.feeds, **feeds})
            return True

        return take

    def draw(self, rng: np.random.Generator) -> None:
        """Draw what is random."""
        drawn = {}
        for node, array in self._objective.feeds.items():
            if isinstance(node, Random):
                drawn[node] = empty(array.shape, array.dtype)
                node.draw(rng, drawn[node])
        self._objective = replace(self._objective, feeds={**self._objective.feeds, **drawn})

    def loss(self) -> float:
        """Return the data loss."""
        self.flat.write()
        self._values = self._objective.forward()
        return self._objective.loss(self._values)

    def differentiate(self) -> None:
        """Write the gradient of the scaled loss, and the statistics."""
        assert self._values is not None  # noqa: S101 - `loss` comes first
        gradients = self._objective.backward(self._values)
        for parameter, part in self.flat.gradients.items():
            gradient = gradients[parameter]
            part[...] = 0 if gradient is None else gradient
        for node, part in self.flat.statistics_of.items():
            part[...] = self._values[node]

    def objective(self) -> Objective:
        """Return the objective on the present data."""
        return self._objective


class Captured:
    """Steps of a compiled program, which writes the gradient while it computes the loss."""

    def __init__(self, compiled: Compiled, flat: Flat, objective: Objective) -> None:
        self.flat, self.buffer_bytes = flat, compiled.buffer_bytes
        self._compiled, self._step, self._objective = compiled, compiled.step, objective
        self._loss = compiled.outputs[0]
        graph = objective.graph
        named = zip(graph.nodes, graph.names, strict=True)
        self._names = {node: name for node, name in named if node.gate is None}
        places = [(node, compiled.inputs.get(name)) for node, name in self._names.items()]
        self._places = {node: place for node, place in places if place is not None}
        self._constants = [(node, place) for node, place in self._places.items() if isinstance(node, Constant)]
        self._random = [(node, place) for node, place in self._places.items() if isinstance(node, Random)]
        # The data of which rows were taken, and which.
        self._taken: tuple[Mapping[Node, Array], Array] | None = None

    def load(self, feeds: Mapping[Node, Array]) -> bool:
        """Take other data of the same shapes; return False if a gate takes another branch on them."""
        self._taken = None
        for node, array in feeds.items():
            place = self._places.get(node)
            if place is None:
                continue
            np.copyto(place, array)
            # A product overflows before the data do: then they are looked at one by one, by who takes them anew.
            if place.dtype.kind == "f":
                flat = place.ravel("K")
                if not math.isfinite(flat.dot(flat)):
                    return False
        return self._reload()

    def _reload(self) -> bool:
        for constant, place in self._constants:
            np.copyto(place, constant.value)
        try:
            self._compiled.load()
        except GuardError:
            return False
        return True

    def taker(self, data: Mapping[Node, Array]) -> Callable[[Array], bool]:
        """Return a function that takes rows of data, given by number, like `load`; the data are known to be finite."""
        copies: list[Callable[[Array], object]] = []
        finish: Callable[[], object] = self._reload

        def take(rows: Array) -> bool:
            nonlocal finish
            if not copies:
                # Only now: to make the tables, other data are written over those that were there.
                pairs, finish = self._tables(data)
                copies.extend(gather(table, place) for table, place in pairs)
            self._taken = data, rows
            for copy in copies:
                copy(rows)
            return finish() is not False

        return take

    def _tables(self, data: Mapping[Node, Array]) -> tuple[list[tuple[Array, Array]], Callable[[], object]]:
        """Return what is gathered when rows are taken, with its places, and what is to be done then."""
        compiled = self._compiled
        if compiled.gathered and not self._constants:
            named = {self._names[node]: array for node, array in data.items() if node in self._places}
            pairs = tables(compiled, named)
            if pairs is not None:
                return pairs, compiled.reload
        return [(array, self._places[node]) for node, array in data.items() if node in self._places], self._reload

    def draw(self, rng: np.random.Generator) -> None:
        """Draw what is random."""
        for node, place in self._random:
            node.draw(rng, place)

    def loss(self) -> float:
        """Return the data loss."""
        self._step()
        loss: float = self._loss.item()
        return loss

    def differentiate(self) -> None:
        """Do nothing: it is done."""

    def objective(self) -> Objective:
        """Return the objective on the present data."""
        feeds = {node: self._places.get(node, array) for node, array in self._objective.feeds.items()}
        if self._taken is not None:
            data, rows = self._taken
            feeds |= {node: array[rows] for node, array in data.items()}
        return replace(self._objective, feeds=feeds)
