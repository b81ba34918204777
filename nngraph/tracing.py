"""Where a value that is not finite comes from: the node, the place, the inputs that made it, and the likely cause."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gates.arithmetic import DivideGate, PowerGate
from gates.arrays import Array
from gates.contract import ElementwiseGate
from gates.losses import ClassOutput, OutputGate
from nngraph.causes import Element, arithmetic, first_place, makers, overflowed, why_large
from nngraph.graph import Graph
from nngraph.nodes import Constant, Node, Parameter, Running


@dataclass(frozen=True)
class Trace:
    """The first value that is not finite.

    Attributes
    ----------
    node, kind : str
        The name of the node, and what it is: its gate's class, or Parameter, Input, ...
    did : str
        "became", or "got a gradient of".
    value : float
        nan or an infinity.
    place : tuple of int
        Where it stands in the node's value: row, column; empty for a scalar.
    inputs : tuple of Element
        The finite numbers that made it. Of a matrix product the largest, in pairs; of a loss those of the row.
    cause : str
        One sentence on the likely cause; empty where the numbers do not show it.
    """

    node: str
    kind: str
    did: str
    value: float
    place: tuple[int, ...] = ()
    inputs: tuple[Element, ...] = ()
    cause: str = ""

    def __str__(self) -> str:
        where = f" at {list(self.place)}" if self.place else ""
        made = f", from {', '.join(map(str, self.inputs))}" if self.inputs else ""
        cause = f". Likely cause: {self.cause}" if self.cause else ""
        return f"node {self.node!r} ({self.kind}) {self.did} {self.value}{where}{made}{cause}"


class NonFiniteError(ArithmeticError):
    """A prediction or a loss is nan or infinite; the message and the attributes say where that began, and why.

    Predicting raises this instead of returning labels that are made of nan. Training raises its subclass
    `DivergenceError`, so that one ``except NonFiniteError`` is for both. It is no ValueError: the data that were given
    are finite, and it is the arithmetic on the way that is not.

    Attributes
    ----------
    node : str
        The name of the node that first became non-finite.
    place : tuple of int
        Where in its value: row, column.
    inputs : tuple of Element
        The numbers that made it, each with its ``name``, ``place`` and ``value``.
    cause : str
        One sentence on the likely cause; empty where the numbers do not show it.
    """

    def __init__(self, message: str, trace: Trace) -> None:
        super().__init__(message)
        self.trace, self.node = trace, trace.node
        self.place, self.inputs, self.cause = trace.place, trace.inputs, trace.cause

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.trace)


def all_finite(array: Array) -> bool:
    """Whether no number is nan or infinite."""
    # To count is twice as fast as `all` where there are few; a sum of squares would warn where it overflows.
    return array.dtype.kind != "f" or bool(np.count_nonzero(np.isfinite(array)) == array.size)


def predictable(output: OutputGate, scores: Array) -> bool:
    """Whether an output can predict from these scores.

    They are to be finite. Only for an output that predicts classes minus infinity has a meaning, "never this one": a
    mask. Where the classes of a row compete, one of them must be left.
    """
    if all_finite(scores):
        return True
    if not isinstance(output, ClassOutput):
        return False
    finite = np.isfinite(scores)
    return bool((finite | np.isneginf(scores)).all() and (not output.per_row or finite.any(axis=-1).all()))


def trace(graph: Graph, values: Mapping[Any, Any], before: Mapping[Parameter, Array] | None = None) -> Trace | None:
    """Return the first node, in the order of computation, that makes what is not finite of what is.

    An infinity in a `Constant` is there on purpose, as in a mask, and so is what comes of it, unless that is nan.

    Parameters
    ----------
    graph : Graph
    values : Values, or mapping from node
        Of all nodes.
    before : mapping from parameter to array, optional
        What the parameters were before the last steps.
    """
    meant: set[Node] = set()
    for node in graph.nodes:
        value = values[node]
        if all_finite(value):
            continue
        wrong = ~np.isfinite(value)
        if isinstance(node, Constant) or not meant.isdisjoint(node.inputs):
            wrong = np.isnan(value)
            if not wrong.any():
                meant.add(node)
                continue
        return _trace_of(graph, values, node, first_place(wrong), before)
    # Nothing but what was meant: a mask that leaves no class, or hides the class of a target.
    found = next((x for x in graph.outputs if not all_finite(values[x])), None)
    return None if found is None else _trace_of(graph, values, found, first_place(~np.isfinite(values[found])), before)


def _trace_of(
    graph: Graph,
    values: Mapping[Any, Any],
    node: Node,
    place: tuple[int, ...],
    before: Mapping[Parameter, Array] | None,
) -> Trace:
    """Describe one element that is not finite."""
    value = values[node]
    kind = type(node if node.gate is None else node.gate).__name__
    name = graph.names[graph.position(node)]
    inputs: tuple[Element, ...] = ()
    cause = ""
    if node.gate is not None:
        arrays = [values[x] for x in node.inputs]
        names = [graph.names[graph.position(x)] for x in node.inputs]
        inputs = makers(node.gate, names, arrays, value, place)
        cause = arithmetic(node.gate, inputs, value[place], arrays[0].dtype)
        if not cause and overflowed(node.gate, arrays, value, place):
            cause = why_large(graph, values, node, inputs, before)
            if value.dtype == np.float32:
                cause += f" (float32 ends at {np.finfo(np.float32).max:.2g})"
    elif isinstance(node, Parameter) and before is not None and np.isfinite(before[node][place]):
        inputs = (Element(f"{name} before the last steps", place, float(before[node][place])),)
        cause = "the steps left the numbers that there are: the rate is too high, or the gradients explode"
    return Trace(name, kind, "became", float(value[place]), place, inputs, cause)


def trace_gradient(graph: Graph, values: Mapping[Any, Any], gradients: Mapping[Any, Any]) -> Trace | None:
    """Return the first node, from the outputs down, whose gradient is not finite, with what its reader made it of."""
    for node in reversed(graph.nodes):
        gradient = gradients[node]
        if gradient is None or all_finite(gradient):
            continue
        place = first_place(~np.isfinite(gradient))
        name, bad = graph.names[graph.position(node)], float(gradient[place])
        kind = type(node if node.gate is None else node.gate).__name__
        readers = (r for r in graph.nodes if node in r.inputs and r.gate is not None and gradients[r] is not None)
        reader = next(readers, None)
        found = [Element(name, place, float(values[node][place]))]
        if reader is None:
            return Trace(name, kind, "got a gradient of", bad, place, tuple(found))
        title = graph.names[graph.position(reader)]
        dZ = gradients[reader]
        size = float(np.abs(dZ).max())
        if dZ.shape == gradient.shape:
            found.append(Element(f"the gradient of {title}", place, float(dZ[place])))
        gate = type(reader.gate).__name__
        if size > math.sqrt(np.finfo(dZ.dtype).max):
            cause = f"the gradient that arrives at {title!r} is as large as {size:.2g}"
        elif isinstance(reader.gate, ElementwiseGate | PowerGate | DivideGate):
            cause = f"the slope of {gate} (node {title!r}) is not finite at {found[0].value:.2g}"
        else:
            cause = f"the backward of {gate} (node {title!r}) makes it of gradients up to {size:.2g}"
        return Trace(name, kind, "got a gradient of", bad, place, tuple(found), cause)
    return None


def trace_step(
    graph: Graph,
    after: Mapping[Any, Array],
    before: Mapping[Parameter, Array] | None = None,
    gradients: Mapping[Any, Any] | None = None,
) -> Trace | None:
    """Return the first parameter or running average that is not finite after a step.

    With what a parameter was and its gradient, if they are known.

    The gradient is that of the loss alone.
    """
    for parameter, value in after.items():
        if all_finite(value):
            continue
        place = first_place(~np.isfinite(value))
        name = graph.names[graph.position(parameter)]
        found, cause = [], "the steps have left the numbers that there are: the rate is too high"
        if isinstance(parameter, Running):
            cause = "the statistics of the batches are too large to be averaged: scale the data"
        elif before is not None and gradients is not None and gradients[parameter] is not None:
            was, slope = float(before[parameter][place]), float(gradients[parameter][place])
            found = [Element(f"{name} before the step", place, was), Element(f"the gradient of {name}", place, slope)]
            limit = float(np.finfo(value.dtype).max)
            cause = f"the step from {was:.2g} went beyond {limit:.2g}: the rate, or a penalty, is too high"
        return Trace(name, type(parameter).__name__, "became", float(value[place]), place, tuple(found), cause)
    return None
