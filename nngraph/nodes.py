"""Nodes of a computation graph: what is fed, what is trained, and what a gate computes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from gates.arithmetic import Operators
from gates.arrays import Array, as_array, is_number
from gates.contract import Gate


class GraphError(ValueError):
    """A graph was built, fed or asked in a way that does not fit it."""


class Node(Operators):
    """``Z = gate(inputs)``: one value in a graph. Made by calling a gate on nodes: ``Tanh()(x, name="h")``.

    A node is a description and holds no value; several graphs may share it. To copy or pickle a deep one, take its
    graph: that needs no recursion.

    Attributes
    ----------
    gate : Gate or None
        What computes it; None for the sources: `Input`, `Parameter`, `Constant`, `Random` and `Running`.
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
    """A value that is fed anew each time: ``graph.forward(X=...)`` feeds ``Input("X")``.

    Parameters
    ----------
    name : str
        By which it is fed.
    dtype : {None, int}, default=None
        int for row numbers: what is fed must be integers. Else arrays keep their dtype, and numbers become float64.
    """

    __slots__ = ("dtype",)

    def __init__(self, name: str, dtype: type[int] | None = None) -> None:
        if name is None:
            raise GraphError("an Input needs a name, by which it is fed")
        if dtype not in (None, int):
            raise GraphError(f"the dtype of an Input must be None or int, got {dtype!r}")
        super().__init__(None, (), name)
        self.dtype = dtype

    def convert(self, value: Any) -> Array:
        """Return what is fed as an array: a view where nothing must change."""
        array = as_array(value, f"input {self.name!r}", GraphError)
        if self.dtype is int and array.dtype.kind not in "iu":
            raise GraphError(f"input {self.name!r} must be integers, got {array.dtype}")
        return array.astype(np.float64) if isinstance(value, int) and self.dtype is None else array.view()


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
        what = f"parameter {self.name}" if self.name else "a parameter"
        array = as_array(value, what, GraphError)
        if array.shape != self._value.shape:
            raise GraphError(f"{what} must have shape {self._value.shape}, got {array.shape}")
        self._value[...] = array


class ParameterViews(Sequence[Array]):
    """The arrays of some parameters; assigning to an element writes into the parameter."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self._parameters = parameters

    def __getitem__(self, i: Any) -> Any:
        return [p.value for p in self._parameters[i]] if isinstance(i, slice) else self._parameters[i].value

    def __setitem__(self, i: int, value: Any) -> None:
        self._parameters[operator.index(i)].value = value

    def __iter__(self) -> Iterator[Array]:
        return (p.value for p in self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)

    def __repr__(self) -> str:
        return repr(list(self))


class Constant(Node):
    """A value that stays and gets no gradient. A Python number takes the dtype of the graph it stands in."""

    __slots__ = ("is_number", "value")

    def __init__(self, value: Any, name: str | None = None) -> None:
        super().__init__(None, (), name)
        self.is_number = is_number(value)
        self.value = np.array(as_array(value, "a constant", GraphError))


class Random(Node):
    """A value that training draws anew for every step, in the shape of another node's; afterwards it is a number.

    Parameters
    ----------
    draw : callable
        ``draw(rng, out)`` fills the array `out`, which lies in one piece, from a NumPy Generator.
    like : node
        Whose shape it has.
    value : float, default=0.0
        What it is when nothing is trained: for noise that is added 0, for a factor 1.
    name : str, optional

    Examples
    --------
    Noise on the features, in training only:

    >>> import numpy as np
    >>> from nngraph import Input, Random
    >>> X = Input("X")
    >>> noisy = X + Random(lambda rng, out: np.multiply(rng.standard_normal(out.shape), 0.1, out=out), like=X)
    """

    __slots__ = ("draw", "like", "value")

    def __init__(
        self, draw: Callable[[np.random.Generator, Array], Any], like: Node, value: float = 0.0, name: str | None = None
    ) -> None:
        super().__init__(None, (), name)
        if not callable(draw):
            raise GraphError(f"draw must be a function (rng, out) that fills out, got {draw!r}")
        if not isinstance(like, Node):
            raise GraphError(f"a Random is drawn in the shape of a node, got {like!r}")
        if not is_number(value) or not np.isfinite(value):
            raise GraphError(f"the value of a Random must be a finite number, got {value!r}")
        self.draw, self.like, self.value = draw, like, float(value)


class Running(Node):
    """In training the statistic of a batch; afterwards the running average of what it was.

    After every step ``average <- average + momentum (statistic - average)``.

    Parameters
    ----------
    statistic : node
        What it is in training, such as the mean of the batch, and what gets its gradient.
    value : array-like
        The average before any training, in the statistic's shape; integers become float64.
    momentum : float, default=0.1
        How much of the average a step replaces.
    unbiased : bool, default=False
        Whether a statistic of n rows enters the average times ``n / (n - 1)``, as a variance does.
    name : str, optional
    """

    __slots__ = ("momentum", "unbiased", "value")

    def __init__(
        self, statistic: Node, value: Any, momentum: float = 0.1, *, unbiased: bool = False, name: str | None = None
    ) -> None:
        if not isinstance(statistic, Node):
            raise GraphError(f"a Running averages the value of a node, got {statistic!r}")
        super().__init__(None, (statistic,), name)
        if not is_number(momentum) or isinstance(momentum, bool) or not 0 <= momentum <= 1:
            raise GraphError(f"the momentum of a Running must be between 0 and 1, got {momentum!r}")
        if not isinstance(unbiased, bool):
            raise GraphError(f"unbiased must be True or False, got {unbiased!r}")
        array = as_array(value, "a Running's value", GraphError)
        if not np.isfinite(array).all():
            raise GraphError(f"a Running's value must be finite, got {value!r}")
        self.value = np.array(array, dtype=array.dtype if array.dtype.kind == "f" else np.float64)
        self.momentum, self.unbiased = float(momentum), unbiased


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
