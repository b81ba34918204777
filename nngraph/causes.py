"""What made a number that is not finite: its inputs, and what they say of the cause."""

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
from nngraph.nodes import Input, Node, Parameter

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


def why_large(
    graph: Graph,
    values: Mapping[Any, Any],
    node: Node,
    inputs: Sequence[Element],
    before: Mapping[Parameter, Array] | None,
) -> str:
    """Say why numbers are as large as to leave the dtype: the step before, the weights, or the data."""
    above = [x for x in graph.nodes[: graph.position(node) + 1] if isinstance(x, Parameter | Input)]
    sizes = {x: magnitude(values[x]) for x in above if values[x].dtype.kind == "f"}
    worst = max(sizes, key=lambda x: sizes[x], default=None)
    if worst is None or sizes[worst] <= HUGE:
        largest = max((abs(x.value) for x in inputs), default=0.0)
        return f"numbers as large as {largest:.2g} leave the range of {values[node].dtype}"
    name, size = graph.names[graph.position(worst)], sizes[worst]
    if isinstance(worst, Parameter):
        old = math.nan if before is None else magnitude(before[worst])
        if size > 2 * old:
            return f"the last steps took {name} from {old:.2g} to {size:.2g}: the rate is too high"
        return f"{name} is as large as {size:.2g}: by a rate that is too high, or from too large a start"
    place = first_place(np.abs(values[worst]) == size)
    column = f"column {place[-1]} of " if len(place) > 1 else ""
    return f"{column}{name} goes up to {size:.2g}: it is not scaled to mean 0 and variance 1"


def first_place(wrong: Array) -> tuple[int, ...]:
    """Return where the first true element stands."""
    return tuple(int(i) for i in np.unravel_index(np.argmax(wrong), wrong.shape))


def magnitude(value: Array) -> float:
    """Return the largest magnitude, without those that are not finite."""
    return float(np.abs(value[np.isfinite(value)]).max(initial=0.0))


def makers(
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
        # Element by element, or along the row, as normalisations do: it cannot be told which.
        found = _at(names[0], arrays[0], place), _largest_of(names[0], arrays[0][place[:-1]], place[:-1])
        return found[:1] if found[0].place == found[1].place else found
    return tuple(_largest_of(name, array) for name, array in zip(names, arrays, strict=True) if array.size)


def _at(name: str, array: Array, place: tuple[int, ...]) -> Element:
    """Return an input's element at a place of the output, to whose shape it was broadcast."""
    own = tuple(0 if n == 1 else i for i, n in zip(place[len(place) - array.ndim :], array.shape, strict=True))
    return Element(name, own, float(array[own]))


def _largest_of(name: str, array: Array, start: tuple[int, ...] = ()) -> Element:
    """Return the element of the largest magnitude; nan counts as such."""
    place = first_place(np.nan_to_num(np.abs(array), nan=np.inf) == np.nan_to_num(np.abs(array), nan=np.inf).max())
    return Element(name, (*start, *place), float(array[place]))


def _of_row(gate: OutputGate, names: Sequence[str], arrays: Sequence[Array]) -> tuple[Element, ...]:
    """Return the score and the target of the row with the worst loss."""
    scores, targets = arrays[:2]
    with np.errstate(all="ignore"):
        losses = np.nan_to_num(gate.losses(scores, gate.prepare(scores, targets)), nan=np.inf)
    place = first_place(losses == losses.max())
    score = _largest_of(names[0], scores[place], place) if len(place) < scores.ndim else _at(names[0], scores, place)
    of_target = place[: targets.ndim]
    target = _largest_of(names[1], targets[of_target], of_target)
    return score, target


def arithmetic(gate: Gate, inputs: Sequence[Element], value: Any, dtype: np.dtype[Any]) -> str:
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


def overflowed(gate: Gate, arrays: Sequence[Array], value: Array, place: tuple[int, ...]) -> bool:
    """Whether the inputs made it by being large: a thousandth, or less, of them gives something finite."""
    floats = [a.dtype.kind == "f" for a in arrays]
    if isinstance(gate, OutputGate):
        floats[1:] = [False] * len(floats[1:])
    with np.errstate(all="ignore"):
        scale = max((magnitude(a) for a, real in zip(arrays, floats, strict=True) if real), default=0.0)
        if scale <= HUGE:
            return False
        small = [(a / a.dtype.type(scale)) if real else a for a, real in zip(arrays, floats, strict=True)]
        try:
            again = np.asarray(gate.forward(*small))
        except Exception:  # noqa: BLE001 - a gate may raise anything on other data; then it is not known
            return False
    return bool(again.shape == value.shape and np.isfinite(again[place]))
