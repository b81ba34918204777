"""Where a value that is not finite comes from: the node, the place, the inputs that made it, and the likely cause."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gates.arithmetic import (
    AddGate,
    DivideGate,
    ElementwiseProductGate,
    ExpGate,
    LogGate,
    MultiplyGate,
    PowerGate,
    SubtractGate,
)
from gates.arrays import Array
from gates.contract import ElementwiseGate, Gate
from gates.losses import ClassOutput, OutputGate
from nngraph.graph import Graph
from nngraph.nodes import Constant, Input, Node, Parameter

# A number far from what standardised data and their weights are: those that do well stay below some tens.
HUGE = 1e3

# So many of the products that a matrix product adds up are shown.
SHOWN = 2

# What acts on each element alone, so that the inputs at the place are all that made it.
ELEMENTWISE = (AddGate, DivideGate, ElementwiseGate, ElementwiseProductGate, PowerGate, SubtractGate)


@dataclass(frozen=True)
class Element:
    """One number of an array, ``W1[0, 2] = 1e+160``.

    Attributes
    ----------
    name : str
        The node whose value it is of, or "the gradient of" it.
    place : tuple of int
        Where it stands: row, column.
    value : float
    """

    name: str
    place: tuple[int, ...]
    value: float

    def __str__(self) -> str:
        return f"{self.name}{list(self.place) if self.place else ''} = {self.value:.2g}"


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
        return _trace_of(graph, values, node, _first(wrong), before)
    # Nothing but what was meant: a mask that leaves no class, or hides the class of a target.
    found = next((x for x in graph.outputs if not all_finite(values[x])), None)
    return None if found is None else _trace_of(graph, values, found, _first(~np.isfinite(values[found])), before)


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
        inputs = _makers(node.gate, names, arrays, value, place)
        cause = _cause(node.gate, inputs, value[place], arrays[0].dtype)
        if not cause and _overflowed(node.gate, arrays, value, place):
            cause = _size(graph, values, node, inputs, before)
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
        place = _first(~np.isfinite(gradient))
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
    after: Mapping[Parameter, Array],
    before: Mapping[Parameter, Array] | None = None,
    gradients: Mapping[Any, Any] | None = None,
) -> Trace | None:
    """Return the first parameter that is not finite after a step, with what it was and its gradient, if they are known.

    The gradient is that of the loss alone.
    """
    for parameter, value in after.items():
        if all_finite(value):
            continue
        place = _first(~np.isfinite(value))
        name = graph.names[graph.position(parameter)]
        found, cause = [], "the steps have left the numbers that there are: the rate is too high"
        if before is not None and gradients is not None and gradients[parameter] is not None:
            was, slope = float(before[parameter][place]), float(gradients[parameter][place])
            found = [Element(f"{name} before the step", place, was), Element(f"the gradient of {name}", place, slope)]
            limit = float(np.finfo(value.dtype).max)
            cause = f"the step from {was:.2g} went beyond {limit:.2g}: the rate, or a penalty, is too high"
        return Trace(name, type(parameter).__name__, "became", float(value[place]), place, tuple(found), cause)
    return None


def _size(
    graph: Graph,
    values: Mapping[Any, Any],
    node: Node,
    inputs: Sequence[Element],
    before: Mapping[Parameter, Array] | None,
) -> str:
    """Say why numbers are as large as to leave the dtype: the step before, the weights, or the data."""
    above = [x for x in graph.nodes[: graph.position(node) + 1] if isinstance(x, Parameter | Input)]
    sizes = {x: _largest(values[x]) for x in above if values[x].dtype.kind == "f"}
    worst = max(sizes, key=lambda x: sizes[x], default=None)
    if worst is None or sizes[worst] <= HUGE:
        largest = max((abs(x.value) for x in inputs), default=0.0)
        return f"numbers as large as {largest:.2g} leave the range of {values[node].dtype}"
    name, size = graph.names[graph.position(worst)], sizes[worst]
    if isinstance(worst, Parameter):
        old = math.nan if before is None else _largest(before[worst])
        if size > 2 * old:
            return f"the last steps took {name} from {old:.2g} to {size:.2g}: the rate is too high"
        return f"{name} is as large as {size:.2g}: by a rate that is too high, or from too large a start"
    place = _first(np.abs(values[worst]) == size)
    column = f"column {place[-1]} of " if len(place) > 1 else ""
    return f"{column}{name} goes up to {size:.2g}: it is not scaled to mean 0 and variance 1"


def _first(wrong: Array) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(np.argmax(wrong), wrong.shape))


def _largest(value: Array) -> float:
    """Return the largest magnitude, without those that are not finite."""
    return float(np.abs(value[np.isfinite(value)]).max(initial=0.0))


def _makers(
    gate: Gate, names: Sequence[str], arrays: Sequence[Array], value: Array, place: tuple[int, ...]
) -> tuple[Element, ...]:
    """Return the inputs that made one element of a gate's value."""
    if isinstance(gate, ELEMENTWISE) and np.broadcast_shapes(*(a.shape for a in arrays)) == value.shape:
        return tuple(_at(name, array, place) for name, array in zip(names, arrays, strict=True))
    if isinstance(gate, MultiplyGate) and all(a.ndim == 2 for a in arrays):
        (W, X), (of_W, of_X) = arrays, names
        i, j = place
        products = np.abs(X[i].astype(np.longdouble) * W[:, j])
        largest = [int(k) for k in np.argsort(-products, kind="stable")[:SHOWN]]
        pairs = [(Element(of_X, (i, k), float(X[i, k])), Element(of_W, (k, j), float(W[k, j]))) for k in largest]
        return tuple(element for pair in pairs for element in pair)
    if isinstance(gate, OutputGate):
        return _of_row(gate, names, arrays)
    if arrays and arrays[0].shape == value.shape and place:
        # Along the row: normalisations and the like.
        return (_largest_of(names[0], arrays[0][place[:-1]], place[:-1]),)
    return tuple(_largest_of(name, array) for name, array in zip(names, arrays, strict=True) if array.size)


def _at(name: str, array: Array, place: tuple[int, ...]) -> Element:
    """Return an input's element at a place of the output, to whose shape it was broadcast."""
    own = tuple(0 if n == 1 else i for i, n in zip(place[len(place) - array.ndim :], array.shape, strict=True))
    return Element(name, own, float(array[own]))


def _largest_of(name: str, array: Array, start: tuple[int, ...] = ()) -> Element:
    """Return the element of the largest magnitude; nan counts as such."""
    place = _first(np.nan_to_num(np.abs(array), nan=np.inf) == np.nan_to_num(np.abs(array), nan=np.inf).max())
    return Element(name, (*start, *place), float(array[place]))


def _of_row(gate: OutputGate, names: Sequence[str], arrays: Sequence[Array]) -> tuple[Element, ...]:
    """Return the score and the target of the row with the worst loss."""
    scores, targets = arrays[:2]
    with np.errstate(all="ignore"):
        losses = np.nan_to_num(gate.losses(scores, gate.prepare(scores, targets)), nan=np.inf)
    place = _first(losses == losses.max())
    score = _largest_of(names[0], scores[place], place) if len(place) < scores.ndim else _at(names[0], scores, place)
    of_target = place[: targets.ndim]
    target = _largest_of(names[1], targets[of_target], of_target)
    return score, target


def _cause(gate: Gate, inputs: Sequence[Element], value: Any, dtype: np.dtype[Any]) -> str:
    """Return what arithmetic says of these inputs, nothing if all it says is that they are large."""
    rule = next((rule for kind, rule in CAUSES.items() if isinstance(gate, kind)), None)
    numbers = [x.value for x in inputs]
    if -math.inf in numbers:
        if isinstance(gate, ClassOutput):
            return "a mask hides the class of the target: a score of minus infinity is a probability of 0"
        if value == -math.inf:
            return "a mask leaves no class in this row"
    if np.isnan(value) and any(map(math.isinf, numbers)):
        return "infinity minus infinity, or times zero, is nan"
    return rule(numbers, dtype) if rule is not None else ""


def _of_log(x: Sequence[float], _: np.dtype[Any]) -> str:
    if x[0] > 0:
        return ""
    return f"the logarithm of {'0' if x[0] == 0 else 'a negative number'}: keep what goes in above 0"


def _of_quotient(x: Sequence[float], _: np.dtype[Any]) -> str:
    if x[1]:
        return "" if abs(x[1]) >= 1 else f"division by {x[1]:.2g}, which is nearly 0: keep the divisor away from 0"
    return f"{'0 / 0' if x[0] == 0 else 'division by zero'}: keep the divisor away from 0"


def _of_exp(x: Sequence[float], dtype: np.dtype[Any]) -> str:
    limit = math.log(float(np.finfo(dtype if dtype.kind == "f" else np.float64).max))
    return f"exp({x[0]:.3g}) overflows, as {dtype} ends at exp({limit:.1f}): subtract the largest first"


def _of_power(x: Sequence[float], _: np.dtype[Any]) -> str:
    base, power = x
    if base < 0 and not power.is_integer():
        return "a negative number has no real power that is not whole"
    return "0 to a negative power is a division by zero" if base == 0 and power < 0 else ""


CAUSES: dict[type[Gate], Callable[[Sequence[float], np.dtype[Any]], str]] = {
    LogGate: _of_log,
    DivideGate: _of_quotient,
    ExpGate: _of_exp,
    PowerGate: _of_power,
}


def _overflowed(gate: Gate, arrays: Sequence[Array], value: Array, place: tuple[int, ...]) -> bool:
    """Whether the inputs made it by being large: a thousandth, or less, of them gives something finite."""
    floats = [a.dtype.kind == "f" for a in arrays]
    if isinstance(gate, OutputGate):
        floats[1:] = [False] * len(floats[1:])
    with np.errstate(all="ignore"):
        scale = max((_largest(a) for a, real in zip(arrays, floats, strict=True) if real), default=0.0)
        if scale <= HUGE:
            return False
        small = [(a / a.dtype.type(scale)) if real else a for a, real in zip(arrays, floats, strict=True)]
        try:
            again = np.asarray(gate.forward(*small))
        except Exception:  # noqa: BLE001 - a gate may raise anything on other data; then it is not known
            return False
    return bool(again.shape == value.shape and np.isfinite(again[place]))
