"""Nodes of a computation graph: what is fed, what is trained, and what a gate computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gates.arithmetic import Operators
from gates.arrays import Array, as_array, is_number
from gates.contract import Gate


class GraphError(ValueError):
    """A graph was built, fed or asked in a way that does not fit it."""


class Node(Operators):
    """``Z = gate(inputs)``: one value in a graph. Made by calling a gate on nodes: ``Tanh()(x, name="h")``.

    A node is a description and holds no value; several graphs may share it.

    Attributes
    ----------
    gate : Gate or None
        What computes it; None for the sources `Input`, `Parameter` and `Constant`.
    inputs : tuple of nodes
        What it is computed from, in the order of the gate's inputs.
    name : str or None
        The name given to it. A graph names the nameless after their gates.
    """

    __slots__ = ("gate", "inputs", "name")

    def __init__(self, gate: Gate | None, inputs: tuple[Node, ...], name: str | None) -> None:
        if name is not None and not (isinstance(name, str) and name):
            raise GraphError(f"a node's name must be a string that is not empty, got {name!r}")
        self.gate, self.inputs, self.name = gate, inputs, name

    def apply_gate(self, gate: Gate, inputs: Sequence[Any], name: str | None) -> Node:
        """Make the node ``gate(*inputs)``; numbers and arrays among the inputs become constants."""
        return Node(gate, tuple(x if isinstance(x, Node) else Constant(x) for x in inputs), name)

    def __repr__(self) -> str:
        kind = type(self).__name__ if self.gate is None else repr(self.gate)
        return f"<{kind} {self.name!r}>" if self.name else f"<{kind}>"


class Input(Node):
    """A value that is fed anew each time: ``graph.forward(X=...)`` feeds ``Input("X")``."""

    __slots__ = ()

    def __init__(self, name: str) -> None:
        if name is None:
            raise GraphError("an Input needs a name, by which it is fed")
        super().__init__(None, (), name)


class Parameter(Node):
    """A value that training changes. The array is copied; integers become float64.

    Assigning to `value` writes into the same array, so its shape and dtype stay.
    """

    __slots__ = ("_value",)

    def __init__(self, value: Any, name: str | None = None) -> None:
        super().__init__(None, (), name)
        array = as_array(value, "a Parameter's value", GraphError)
        self._value = np.array(array, dtype=array.dtype if array.dtype.kind == "f" else np.float64)

    @property
    def value(self) -> Array:
        return self._value

    @value.setter
    def value(self, value: Any) -> None:
        array = as_array(value, f"parameter {self.name}", GraphError)
        if array.shape != self._value.shape:
            raise GraphError(f"parameter {self.name} must have shape {self._value.shape}, got {array.shape}")
        self._value[...] = array


class Constant(Node):
    """A value that stays and gets no gradient. A Python number takes the dtype of the graph it stands in."""

    __slots__ = ("is_number", "value")

    def __init__(self, value: Any, name: str | None = None) -> None:
        super().__init__(None, (), name)
        self.is_number = is_number(value)
        self.value = np.array(as_array(value, "a constant", GraphError))


def sort(outputs: Sequence[Node]) -> tuple[Node, ...]:
    """Sort topologically, depth first, with a stack of our own: no recursion, linear in nodes and edges.

    Of a node's inputs those that are computed come first and then the sources, so that a chain of layers reads as it
    was written: W1 before W2.
    """
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[tuple[Node, bool]] = [(output, False) for output in reversed(outputs)]
    while stack:
        node, inputs_done = stack.pop()
        if inputs_done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            computed_first = sorted(node.inputs, key=lambda x: x.gate is None)
            stack.extend((x, False) for x in reversed(computed_first) if x not in seen)
    return tuple(order)


def unique_names(nodes: Sequence[Node]) -> list[str]:
    """Return a name for each node: the one it was given, or one after its gate, numbered where there are several."""
    given: dict[str, Node] = {}
    for node in nodes:
        if node.name is not None and given.setdefault(node.name, node) is not node:
            raise GraphError(f"two nodes are called {node.name!r}: {given[node.name]!r} and {node!r}; rename one")
    counts: dict[str, int] = {}
    names = []
    for node in nodes:
        name = node.name
        while name is None:
            kind = type(node if node.gate is None else node.gate).__name__.removesuffix("Gate") or "Gate"
            counts[kind] = counts.get(kind, 0) + 1
            name = kind if counts[kind] == 1 else f"{kind}_{counts[kind]}"
            name = None if name in given else name
        names.append(name)
    return names
